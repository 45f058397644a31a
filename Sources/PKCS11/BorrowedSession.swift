import ByteCoding
import CPKCS11
import KeyCustody

/// The session of one batch: knows which keys the batch may use, names them in errors, and notices when the session or
/// its login is gone.
final class BorrowedSession {
    /// Where a key came from decides who ends it.
    enum Origin {
        /// The store's working copy of a persistent key.
        case working(tokenObject: CK_OBJECT_HANDLE)
        /// A session object made by this batch.
        case made
        /// A persistent key made by this batch.
        case persistent
    }

    struct HeldKey {
        let origin: Origin
        /// What the batch knows of it; `nil` for working copies, which are asked when it matters.
        let template: KeyTemplate?
        /// A persistent key's label, or how a session object came to be: `derived`.
        private let word: String

        /// A working copy of the persistent key with `label`.
        init(label: String, tokenObject: CK_OBJECT_HANDLE) {
            origin = .working(tokenObject: tokenObject)
            template = nil
            word = label
        }

        /// A key that this batch made.
        init(_ template: KeyTemplate, _ verb: String) {
            origin = template.label == nil ? .made : .persistent
            self.template = template
            word = template.label ?? verb
        }

        /// For messages: the label, or `derived 3DES (2 keys)`.
        var name: String {
            guard case .made = origin, let template else { return word }
            return "\(word) \(template.type)"
        }
    }

    /// In bytes; the longest that an HMAC test vector has is 131.
    private static let longestKey = 4096

    let connection: Connection
    let pooled: PooledSession
    /// A number is honoured only if this batch got it: modules may give a destroyed key's number to another key.
    var held: [KeyHandle: HeldKey] = [:]
    private var isOver = false
    /// The error that showed that session, login or working copies are gone.
    private(set) var loss: KeyStoreError?
    /// The last error of any call.
    private var failure: KeyStoreError?
    /// Whether a call may have left an operation open in the session, which would refuse the next batch.
    private(set) var isInDoubt = false
    /// Whether the batch made or destroyed a persistent key, or may have.
    var changedPersistentKeys = false

    init(_ connection: Connection, _ session: PooledSession) {
        self.connection = connection
        pooled = session
    }

    /// Destroys what the batch made and left, or finds out that session, login or working copies are gone.
    func end() {
        isOver = true
        if loss == nil, let failure, connection.isLost(pooled) { loss = failure }
        // After a loss the session is not lent again: what is left dies with it.
        guard loss == nil else { return }
        for (key, holding) in held {
            // What cannot be destroyed dies with its session at the latest.
            if case .made = holding.origin { try? pooled.session.destroy(key.rawValue) }
        }
        held = [:]
    }

    // MARK: Bookkeeping

    /// Refuses a key this batch did not get.
    func require(_ key: KeyHandle, _ call: String) throws(KeyStoreError) {
        if held[key] == nil || isOver { throw unknownKey(call) }
    }

    private func unknownKey(_ call: String) -> KeyStoreError {
        KeyStoreError(
            .keyNotFound, call: call,
            advice: isOver
                ? "The session was used after its batch ended"
                : "The handle is of a key that was destroyed or belongs to another batch: ask for the key by its label")
    }

    func requireRunning(_ call: String) throws(KeyStoreError) {
        if isOver { throw unknownKey(call) }
    }

    /// Makes calls; an error names the keys they are about.
    func call<Result>(
        about key: KeyHandle? = nil, _ other: KeyHandle? = nil,
        _ body: (borrowing Session) throws(PKCS11Error) -> Result
    ) throws(KeyStoreError) -> Result {
        do throws(PKCS11Error) {
            return try body(pooled.session)
        } catch {
            let holdings = [key, other].compactMap { key in key.flatMap { held[$0] } }
            // A working copy can only vanish with the session that owns it, or through another program.
            let lostCopy = error.code.meansNoSuchObject && holdings.contains(where: \.isWorkingCopy)
            throw failed(error, holdings.map(\.name), isLoss: lostCopy)
        }
    }

    /// Makes calls for a key that is to be made; an error names it.
    func call<Result>(
        making template: KeyTemplate, _ body: (borrowing Session) throws(PKCS11Error) -> Result
    ) throws(KeyStoreError) -> Result {
        do throws(PKCS11Error) {
            return try body(pooled.session)
        } catch {
            throw failed(error, [template.label ?? template.type.description])
        }
    }

    /// Describes a call's error, and notes when it means that the session is gone.
    func failed(_ error: PKCS11Error, _ names: [String], isLoss: Bool = false) -> KeyStoreError {
        let described = KeyStoreError(error, key: names.isEmpty ? nil : names.joined(separator: "' and '"))
        failure = described
        if error.code.leavesSessionInDoubt { isInDoubt = true }
        if isLoss || error.code.meansLoss { loss = described }
        if error.code.meansSessionGone { pooled.session.abandon() }
        return described
    }

    func adopt(_ object: CK_OBJECT_HANDLE, _ template: KeyTemplate, _ verb: String) -> KeyHandle {
        let key = KeyHandle(rawValue: object)
        held[key] = HeldKey(template, verb)
        return key
    }

    /// Checks a template for a new key, and that its label is free.
    func prepare(_ template: KeyTemplate, _ call: String) throws(KeyStoreError) {
        try requireRunning(call)
        guard (1...Self.longestKey).contains(template.type.length) else {
            throw KeyStoreError(
                .invalidArgument, call: call, key: template.label,
                advice: "A secret key has 1 to \(Self.longestKey) bytes, not \(template.type.length)")
        }
        guard let label = template.label else { return }
        guard !template.extractable else {
            throw KeyStoreError(
                .notPermitted, call: call, key: label, advice: "A persistent key is never extractable: leave it out")
        }
        let taken = try self.call { session throws(PKCS11Error) in
            try session.find(.persistentSecretKeys(label: label), limit: 1)
        }
        guard taken.isEmpty else {
            throw KeyStoreError(
                .invalidArgument, call: call, key: label,
                advice: "A key with this label exists; two would be ambiguous. Take another label or destroy it first")
        }
        changedPersistentKeys = true
    }

    // MARK: Keys that stay

    func key(_ label: String) throws(KeyStoreError) -> KeyHandle {
        try requireRunning("find key '\(label)'")
        let found = try call { _ throws(PKCS11Error) in try connection.workingKey(label) }
        switch found {
        case .none:
            throw KeyStoreError(
                .keyNotFound, call: "C_FindObjects", key: label,
                advice: "\(connection.token) has no secret key with this label")
        case .several:
            throw KeyStoreError(
                .keyNotFound, call: "C_FindObjects", key: label,
                advice: "More than one key of \(connection.token) has this label: destroy or rename the others")
        case .one(let working):
            let key = KeyHandle(rawValue: working.object)
            if held[key] == nil {
                held[key] = HeldKey(label: label, tokenObject: working.tokenObject)
            }
            return key
        }
    }

    func keys(prefix: String) throws(KeyStoreError) -> [KeyAttributes] {
        try requireRunning("C_FindObjectsInit")
        return try call { session throws(PKCS11Error) in
            var keys: [KeyAttributes] = []
            for object in try session.find(.persistentSecretKeys()) {
                do throws(PKCS11Error) {
                    let attributes = try session.keyAttributes(of: object)
                    if attributes.label.utf8.starts(with: prefix.utf8) { keys.append(attributes) }
                } catch  where error.code.meansNoSuchObject {
                    // Destroyed by somebody else since the list was made.
                    continue
                }
            }
            return keys.sorted { $0.label < $1.label }
        }
    }

    func attributes(of key: KeyHandle) throws(KeyStoreError) -> KeyAttributes {
        try require(key, "C_GetAttributeValue")
        return try call(about: key) { session throws(PKCS11Error) in
            let holding = held[key]
            var attributes = try session.keyAttributes(of: holding?.tokenObject ?? key.rawValue)
            // SoftHSM does not know the length of a key it unwrapped; the batch does.
            if let type = holding?.template?.type, attributes.type.length == 0 { attributes.type = type }
            return attributes
        }
    }
}

extension BorrowedSession.HeldKey {
    var isWorkingCopy: Bool { if case .working = origin { true } else { false } }

    /// The persistent key behind a working copy: its attributes are the true ones, a copy's say less.
    var tokenObject: CK_OBJECT_HANDLE? { if case .working(let object) = origin { object } else { nil } }
}
