public import KeyCustody

/// The issuer's keys: one key, one use, all made inside the token and never leaving it (docs/custody.md).
public enum IssuerKey: String, CaseIterable, Sendable {
    /// Wraps key populations that live outside the token.
    case storage
    /// Seals PANs at rest (AES-GCM).
    case pan
    /// Indexes PANs (HMAC), so that a card is found without opening any PAN.
    case panIndex = "pan-index"
    /// Hashes secret codes.
    case code
    /// Seals codes on their way to their holders (AES-GCM).
    case delivery
    /// Seals the audit chain.
    case audit
    /// Seed of the CVK (card verification key) halves.
    case cvkSeed = "cvk-seed"
    /// IMK-AC: issuer master key for application cryptograms.
    case imkAC = "imk-ac"
    /// IMK-SMI: issuer master key for secure messaging integrity.
    case imkSMI = "imk-smi"
    /// IMK-SMC: issuer master key for secure messaging confidentiality.
    case imkSMC = "imk-smc"
    /// KMC: master key of the card manager keys.
    case kmc

    /// The label in the token.
    public var label: String { "ecard.\(rawValue).1" }

    /// What every label of ours begins with.
    public static let labelPrefix = "ecard."

    /// How the key is made, and what preflight holds it to.
    public var template: KeyTemplate {
        switch self {
        case .storage: KeyTemplate(persistent: label, .aes(bytes: 32), [.wrap, .unwrap])
        case .pan, .delivery: KeyTemplate(persistent: label, .aes(bytes: 32), [.encrypt, .decrypt])
        case .panIndex, .code, .audit: KeyTemplate(persistent: label, .generic(bytes: 32), [.sign, .verify])
        case .cvkSeed: KeyTemplate(persistent: label, .des3, .derive)
        case .imkAC, .imkSMI, .imkSMC: KeyTemplate(persistent: label, .des2, .derive)
        case .kmc: KeyTemplate(persistent: label, .aes(bytes: 16), .derive)
        }
    }

    /// The check value that fits the key's type and use; `nil` where the only way to one would be a use the key
    /// does not have.
    public var checkValueKind: KeyCheckValueKind? {
        switch self {
        case .storage: nil
        case .pan, .delivery, .kmc: .aesZeros
        case .panIndex, .code, .audit: .hmacEmpty
        case .cvkSeed, .imkAC, .imkSMI, .imkSMC: .desZeros
        }
    }

    /// What the key is for, in words.
    public var purpose: String {
        switch self {
        case .storage: "wraps key populations kept outside the token"
        case .pan: "seals PANs at rest"
        case .panIndex: "indexes PANs"
        case .code: "hashes secret codes"
        case .delivery: "seals codes on their way to their holders"
        case .audit: "seals the audit chain"
        case .cvkSeed: "seed of the card verification key"
        case .imkAC: "master key for application cryptograms"
        case .imkSMI: "master key for script integrity"
        case .imkSMC: "master key for script confidentiality"
        case .kmc: "master key of card manager keys"
        }
    }

    /// Makes the keys that are missing.
    /// - Returns: the keys made; empty when all were there.
    public static func createMissing(in session: any KeySession) throws(KeyStoreError) -> [IssuerKey] {
        let present = Set(try session.keys(prefix: labelPrefix).map(\.label))
        let missing = allCases.filter { !present.contains($0.label) }
        for key in missing { _ = try session.generate(key.template) }
        return missing
    }

    /// The keys that are not there.
    public static func missing(in session: any KeySession) throws(KeyStoreError) -> [IssuerKey] {
        let present = Set(try session.keys(prefix: labelPrefix).map(\.label))
        return allCases.filter { !present.contains($0.label) }
    }
}

extension KeySession {
    /// The working copy of an issuer key.
    public func key(_ key: IssuerKey) throws(KeyStoreError) -> KeyHandle { try self.key(key.label) }
}
