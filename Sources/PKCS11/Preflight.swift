public import KeyCustody

/// What a token can really do of all that this toolkit needs.
///
/// A mechanism that is listed may still fail, and one that answers may answer wrongly, so each is executed and compared
/// with a known answer (``PKCS11KeyStore/preflight()``). Only session objects are made; nothing stays in the token.
public struct Preflight: Hashable, Sendable {
    /// One thing that was tried.
    public struct Row: Hashable, Sendable {
        /// What it is needed for, `card key derivation (EMV option A)`.
        public let capability: String
        /// The mechanism or call behind it, `CKM_DES3_ECB_ENCRYPT_DATA`.
        public let mechanism: String
        /// What came of it.
        public let result: Result
        /// What the toolkit cannot do on a token without it.
        public let ability: Ability
    }

    /// What came of one trial.
    public enum Result: Hashable, Sendable {
        /// Executed, and the answer is the known one.
        case works
        /// The token refused, with this code.
        case missing(code: String)
        /// The token did something else than the standard says.
        case wrong(String)
        /// The token lacks it; what is done instead.
        case workedAround(String)
    }

    /// In the order they were tried: ciphers, MACs, derivation, wrapping, making, key pairs, walls, quirks.
    public let rows: [Row]

    /// Whether everything works or is worked around.
    public var passed: Bool { failures.isEmpty }

    /// The rows that stop the toolkit from working on this token.
    public var failures: [Row] { rows.filter { $0.result.isFailure } }

    /// What each ability lacks; an ability that lacks nothing is one the token has.
    public var abilities: [(ability: Ability, failures: [Row])] {
        Ability.allCases.map { ability in (ability, failures.filter { $0.ability == ability }) }
    }
}

extension Preflight.Result {
    /// Whether the token cannot be used for what was tried.
    public var isFailure: Bool {
        switch self {
        case .works, .workedAround: false
        case .missing, .wrong: true
        }
    }
}

extension Preflight.Result: CustomStringConvertible {
    public var description: String {
        switch self {
        case .works: "works"
        case .missing(let code): "missing: \(code)"
        case .wrong(let what): "WRONG: \(what)"
        case .workedAround(let how): "worked around: \(how)"
        }
    }
}

extension PKCS11KeyStore {
    /// Executes every mechanism the toolkit needs and compares with known answers.
    ///
    /// - Throws: ``KeyStoreError`` when the token cannot be reached; what it lacks is in the rows.
    public func preflight() async throws -> Preflight {
        try await withSession { session in
            guard let session = session as? BorrowedSession else { return Preflight(rows: []) }
            return Preflight(rows: try Probe.all.map { try $0.row(on: session) })
        }
    }
}

/// One thing to try.
struct Probe: Sendable {
    let ability: Preflight.Ability
    let capability: String
    let mechanism: String
    let run: @Sendable (BorrowedSession) throws(KeyStoreError) -> Preflight.Result

    init(
        _ ability: Preflight.Ability, _ capability: String, _ mechanism: PKCS11Mechanism,
        _ run: @escaping @Sendable (BorrowedSession) throws(KeyStoreError) -> Preflight.Result
    ) {
        self.init(ability, capability, mechanism.description, run)
    }

    init(
        _ ability: Preflight.Ability, _ capability: String, _ mechanism: String,
        _ run: @escaping @Sendable (BorrowedSession) throws(KeyStoreError) -> Preflight.Result
    ) {
        self.ability = ability
        self.capability = capability
        self.mechanism = mechanism
        self.run = run
    }

    func row(on session: BorrowedSession) throws(KeyStoreError) -> Preflight.Row {
        func row(_ result: Preflight.Result) -> Preflight.Row {
            Preflight.Row(capability: capability, mechanism: mechanism, result: result, ability: ability)
        }
        do throws(KeyStoreError) {
            let result = try run(session)
            // A lost session says nothing about the mechanism.
            if let loss = session.loss { throw loss }
            return row(result)
        } catch {
            if session.loss != nil { throw error }
            return row(.missing(code: error.code.isEmpty ? error.description : "\(error.call) answered \(error.code)"))
        }
    }
}

// MARK: Attributes of the keys that are there

extension Preflight {
    /// Something about a key that is not as it was made to be.
    public struct Finding: Hashable, Sendable, CustomStringConvertible {
        /// The key's label.
        public let label: String
        /// `may also encrypt`
        public let problem: String
        public var description: String { "key '\(label)': \(problem)" }
    }

    /// Compares what a token says of its keys with what they should be.
    ///
    /// - Parameters:
    ///   - keys: from ``KeySession/keys(prefix:)``.
    ///   - expected: persistent templates; a key is matched by its label.
    ///   - importable: labels of keys that a key ceremony may have brought in: that these were not made in the token is
    ///     no finding.
    /// - Returns: nothing when all is well. Keys that nobody expects are not looked at.
    public static func checkAttributes(
        of keys: [KeyAttributes], against expected: [KeyTemplate], importable: Set<String> = []
    ) -> [Finding] {
        expected.flatMap { template -> [Finding] in
            let label = template.label ?? ""
            let found = keys.filter { $0.label == label }
            guard let key = found.first else { return [Finding(label: label, problem: "is not in the token")] }
            var problems = found.count > 1 ? ["\(found.count) keys bear this label"] : []
            problems += Self.problems(of: key, template, isImportable: importable.contains(label))
            return problems.map { Finding(label: label, problem: $0) }
        }
    }

    private static func problems(of key: KeyAttributes, _ template: KeyTemplate, isImportable: Bool) -> [String] {
        var problems: [String] = []
        if key.type != template.type { problems.append("is \(key.type), not \(template.type)") }
        if !key.sensitive { problems.append("can be read: CKA_SENSITIVE is false") }
        if key.extractable { problems.append("can leave the token: CKA_EXTRACTABLE is true") }
        let extra = key.usage.subtracting(template.usage)
        if !extra.isEmpty { problems.append("may also \(extra)") }
        let lacking = template.usage.subtracting(key.usage)
        if !lacking.isEmpty { problems.append("may not \(lacking)") }
        if !key.local {
            if !isImportable { problems.append("was not made in the token: CKA_LOCAL is false") }
        } else {
            if !key.alwaysSensitive { problems.append("could once be read: CKA_ALWAYS_SENSITIVE is false") }
            if !key.neverExtractable { problems.append("could once leave: CKA_NEVER_EXTRACTABLE is false") }
        }
        if !key.persistent { problems.append("is a session object: CKA_TOKEN is false") }
        return problems
    }
}
