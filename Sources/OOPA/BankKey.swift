public import KeyCustody

/// The bank's keys, in a token of its own under a PIN of its own: whoever has the issuer's has none of these, and the other
/// way round. One key, one use, all made inside and never leaving. Each has versions, as the issuer's have.
public enum BankKey: String, CaseIterable, Sendable {
    /// Seals the bank's audit chain (HMAC-SHA-256).
    case audit
    /// Digests of what must be recognised again: merchants' requests, callbacks (HMAC-SHA-256).
    case index
    /// Seals the secrets that webhooks are signed with (AES-256-GCM).
    case webhook
    /// Signs the record of each payment (ES256). Its public half is for everybody.
    case evidence

    /// What every label of the bank's begins with. The issuer's begin with another word, so that one token can hold both.
    public static let labelPrefix = "ecard-bank."

    /// The label of a version in the token: `ecard-bank.audit.1`.
    public func label(_ version: Int) -> String { "\(Self.labelPrefix)\(rawValue).\(version)" }

    /// How the key is made.
    public func template(_ version: Int) -> KeyTemplate {
        let label = label(version)
        return switch self {
        case .audit, .index: KeyTemplate(persistent: label, .generic(bytes: 32), [.sign, .verify])
        case .webhook: KeyTemplate(persistent: label, .aes(bytes: 32), [.encrypt, .decrypt])
        case .evidence: KeyTemplate(persistent: label, .p256, .sign)
        }
    }

    /// What the key is for, in words.
    public var purpose: String {
        switch self {
        case .audit: "seals the bank's audit chain"
        case .index: "recognises requests and callbacks again"
        case .webhook: "seals the secrets of webhooks"
        case .evidence: "signs the record of each payment"
        }
    }

    /// The first versions that are not in the token.
    public static func missing(in session: any KeySession) throws(KeyStoreError) -> [BankKey] {
        let present = Set(try session.keys(prefix: labelPrefix).map(\.label))
        return allCases.filter { !present.contains($0.label(1)) }
    }

    /// Makes the keys that are missing.
    /// - Returns: their labels; empty when all were there.
    public static func createMissing(in session: any KeySession) throws(KeyStoreError) -> [String] {
        let missing = try missing(in: session)
        for key in missing { _ = try session.generate(key.template(1)) }
        return missing.map { $0.label(1) }
    }
}

extension KeySession {
    /// The working copy of a version of a bank key.
    public func key(_ key: BankKey, _ version: Int) throws(KeyStoreError) -> KeyHandle {
        try self.key(key.label(version))
    }
}
