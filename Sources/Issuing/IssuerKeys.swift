public import KeyCustody
public import PaymentPorts

extension IssuerKey {
    /// What every label of ours begins with.
    public static let labelPrefix = "ecard."

    /// Versions of a key at most: a chip names its master key's in one byte, the DKI (derivation key index).
    public static let versions = 1...255

    /// The label of a version in the token: `ecard.imk-ac.1`.
    public func label(_ version: Int) -> String {
        guard Self.versions.contains(version), let own = Self.labels.first(where: { $0.key == self }) else {
            return madeLabel(version)
        }
        return own.labels[version - Self.versions.lowerBound]
    }

    private func madeLabel(_ version: Int) -> String { "\(Self.labelPrefix)\(rawValue).\(version)" }

    /// Of every key and version. Made once: every use of a key asks for it by its label.
    private static let labels = allCases.map { key in (key: key, labels: versions.map { key.madeLabel($0) }) }

    /// The key and version that a label names; `nil` for a label that is not ours.
    public static func parse(label: String) -> (key: IssuerKey, version: Int)? {
        let parts = label.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let key = IssuerKey(rawValue: String(parts[1])), let version = Int(parts[2]),
            versions.contains(version), key.label(version) == label
        else { return nil }
        return (key, version)
    }

    /// How the key is made, and what preflight holds it to.
    public func template(_ version: Int) -> KeyTemplate {
        let label = label(version)
        return switch self {
        case .storage: KeyTemplate(persistent: label, .aes(bytes: 32), [.wrap, .unwrap])
        case .pan, .delivery: KeyTemplate(persistent: label, .aes(bytes: 32), [.encrypt, .decrypt])
        case .panIndex, .code, .audit: KeyTemplate(persistent: label, .generic(bytes: 32), [.sign, .verify])
        case .codeSeal: KeyTemplate(persistent: label, .p256, .derive)
        case .cvkSeed: KeyTemplate(persistent: label, .des3, .derive)
        case .imkAC, .imkSMI, .imkSMC: KeyTemplate(persistent: label, .des2, .derive)
        case .kmc: KeyTemplate(persistent: label, .aes(bytes: 16), .derive)
        }
    }

    /// The check value that fits the key's type and use; `nil` where the only way to one would be a use the key
    /// does not have.
    public var checkValueKind: KeyCheckValueKind? {
        switch self {
        case .storage, .codeSeal: nil
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
        case .codeSeal: "opens codes that were sealed to the issuer"
        case .audit: "seals the audit chain"
        case .cvkSeed: "seed of the card verification key"
        case .imkAC: "master key for application cryptograms"
        case .imkSMI: "master key for script integrity"
        case .imkSMC: "master key for script confidentiality"
        case .kmc: "master key of card manager keys"
        }
    }

    /// Whether an issuer may do without this version until 'ecard init' makes it: one of before there were mailers has no
    /// delivery key, and nothing that was sealed by one; one of before online payments has no key pair for their codes.
    public func mayBeLacking(_ version: Int) -> Bool { (self == .delivery || self == .codeSeal) && version == 1 }

    /// Makes the keys in use that are missing: for a new issuer, the first version of each.
    /// - Returns: the labels of the keys made; empty when all were there.
    public static func createMissing(
        _ versions: KeyVersions = KeyVersions(), in session: any KeySession
    ) throws(KeyStoreError) -> [String] {
        let missing = try missing(versions, in: session)
        for (key, version) in missing { _ = try session.generate(key.template(version)) }
        return missing.map { $0.key.label($0.version) }
    }

    /// The keys in use that are not in the token.
    public static func missing(
        _ versions: KeyVersions, in session: any KeySession
    ) throws(KeyStoreError) -> [(key: IssuerKey, version: Int)] {
        let present = Set(try session.keys(prefix: labelPrefix).map(\.label))
        return allCases.flatMap { key in
            versions.live(key).filter { !present.contains(key.label($0)) }.map { (key, $0) }
        }
    }
}

extension KeySession {
    /// The working copy of a version of an issuer key. One that this process did not know yet is looked for in the token.
    public func key(_ key: IssuerKey, _ version: Int) throws(KeyStoreError) -> KeyHandle {
        try self.key(key.label(version))
    }
}
