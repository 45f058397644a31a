import ByteCoding
public import KeyCustody
public import PaymentPorts

/// The keys that may come from elsewhere, by a key ceremony: those an issuer shares with a scheme or a processor. All
/// others are made in the token and nowhere else.
public enum ImportableKey: String, CaseIterable, Sendable {
    /// IMK-AC: issuer master key for application cryptograms.
    case imkAC = "imk-ac"
    /// IMK-SMI: issuer master key for secure messaging integrity.
    case imkSMI = "imk-smi"
    /// IMK-SMC: issuer master key for secure messaging confidentiality.
    case imkSMC = "imk-smc"
    /// KMC: master key of the card manager keys.
    case kmc
    /// CVK pair A ‖ B: its card values take the place of those of the CVK seed.
    case cvk

    /// Bytes of the key and of each component.
    public static let length = 16

    /// What the key is for, in words.
    public var purpose: String { issuerKey?.purpose ?? "card verification key, both halves" }

    /// The same key as `init` makes it in the token, which makes no CVK but a seed of one.
    public var issuerKey: IssuerKey? { IssuerKey(rawValue: rawValue) }

    /// Two-key triple DES, or AES-128.
    public var isDES: Bool { self != .kmc }

    /// The label of a version in the token.
    public func label(_ version: Int) -> String { IssuerKey.labelPrefix + rawValue + ".\(version)" }

    /// The key whose label this is; `nil` for one that is always made in the token.
    public init?(label: String) {
        let found = Self.allCases.first { key in Self.version(of: label, key.rawValue) != nil }
        if let found {
            self = found
        } else if Self.version(of: label, Self.leftHalf) != nil {
            self = .cvk
        } else {
            return nil
        }
    }

    private static let leftHalf = "cvk-left"

    /// The objects that the key becomes in the token, the one whose label is ``label(_:)`` first.
    ///
    /// The CVK is two objects, A‖A‖A and A‖B‖A, since a card value is single DES under A and triple DES under both; they
    /// need no derivation, and three-key triple DES is a type that every token has.
    func objects(_ version: Int, _ value: SecretBytes) -> [(template: KeyTemplate, value: SecretBytes)] {
        let templates = templates(version)
        guard self == .cvk else { return templates.map { ($0, value) } }
        var left = value.withBytes { [UInt8](leftThrice: $0) }
        var pair = value.withBytes { [UInt8](wholeAndLeft: $0) }
        return Array(zip(templates, [SecretBytes(wiping: &pair), SecretBytes(wiping: &left)]))
    }

    /// How the objects of a version are made, and what preflight holds them to.
    public func templates(_ version: Int) -> [KeyTemplate] {
        guard let issuerKey else {
            return [Self.cardValueHalf(label(version)), Self.cardValueHalf(Self.leftLabel(version))]
        }
        return [issuerKey.template(version)]
    }

    /// How the object with this label is made.
    public static func template(label: String) -> KeyTemplate? {
        guard let key = ImportableKey(label: label), let version = label.split(separator: ".").last.flatMap({ Int($0) })
        else { return nil }
        return key.templates(version).first { $0.label == label }
    }

    /// The label by which the transcript of a ceremony names what this object is a part of.
    public static func transcribedLabel(of label: String) -> String {
        let left = IssuerKey.labelPrefix + leftHalf + "."
        return label.hasPrefix(left) ? IssuerKey.labelPrefix + cvk.rawValue + "." + label.dropFirst(left.count) : label
    }

    private static func cardValueHalf(_ label: String) -> KeyTemplate {
        KeyTemplate(persistent: label, .des3, .encrypt)
    }

    static func leftLabel(_ version: Int) -> String { IssuerKey.labelPrefix + leftHalf + ".\(version)" }

    private static func version(of label: String, _ name: String) -> Int? {
        let prefix = IssuerKey.labelPrefix + name + "."
        guard label.hasPrefix(prefix), let version = Int(label.dropFirst(prefix.count)), version > 0 else { return nil }
        return version
    }

    /// The versions of which anything is in the token, ascending.
    public func versions(in session: any KeySession) throws(KeyStoreError) -> [Int] {
        let labels = try session.keys(prefix: IssuerKey.labelPrefix).map(\.label)
        var found = labels.compactMap { Self.version(of: $0, rawValue) }
        if self == .cvk { found += labels.compactMap { Self.version(of: $0, Self.leftHalf) } }
        return Set(found).sorted()
    }
}
