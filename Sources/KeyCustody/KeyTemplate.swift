/// What a key is made of.
public enum KeyType: Hashable, Sendable {
    /// AES with 16, 24 or 32 bytes.
    case aes(bytes: Int)
    /// Two-key triple DES, 16 bytes.
    case des2
    /// Three-key triple DES, 24 bytes.
    case des3
    /// Bytes for HMAC.
    case generic(bytes: Int)
    /// An RSA key, by modulus length in bits. Only ever somebody else's public key.
    case rsa(bits: Int)
    /// A P-256 key pair (secp256r1), named by its private half: for one use, ECDH (``KeyUsage/derive``) or ECDSA
    /// (``KeyUsage/sign``).
    case p256
    /// A type this toolkit does not use, by the store's own number (PKCS #11 `CK_KEY_TYPE`).
    case other(UInt)

    /// Length in bytes of the key value (of the modulus for RSA, of the private scalar for P-256; 0 when not known).
    public var length: Int {
        switch self {
        case .aes(let bytes), .generic(let bytes): bytes
        case .des2: 16
        case .des3: 24
        case .rsa(let bits): (bits + 7) / 8
        case .p256: 32
        case .other: 0
        }
    }
}

extension KeyType: CustomStringConvertible {
    public var description: String {
        switch self {
        case .aes(let bytes): "AES-\(bytes * 8)"
        case .des2: "3DES (2 keys)"
        case .des3: "3DES (3 keys)"
        case .generic(let bytes): "HMAC (\(bytes * 8) bits)"
        case .rsa(let bits): "RSA-\(bits)"
        case .p256: "P-256"
        case .other(let number): "key type \(number)"
        }
    }
}

/// What a key may be used for: the boolean attributes of PKCS #11 v2.40, 4.4 and 4.9.
public struct KeyUsage: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `CKA_ENCRYPT`
    public static let encrypt = KeyUsage(rawValue: 1 << 0)
    /// `CKA_DECRYPT`
    public static let decrypt = KeyUsage(rawValue: 1 << 1)
    /// `CKA_SIGN`
    public static let sign = KeyUsage(rawValue: 1 << 2)
    /// `CKA_VERIFY`
    public static let verify = KeyUsage(rawValue: 1 << 3)
    /// `CKA_WRAP`
    public static let wrap = KeyUsage(rawValue: 1 << 4)
    /// `CKA_UNWRAP`
    public static let unwrap = KeyUsage(rawValue: 1 << 5)
    /// `CKA_DERIVE`
    public static let derive = KeyUsage(rawValue: 1 << 6)
}

extension KeyUsage: CustomStringConvertible {
    public var description: String {
        let names: [(KeyUsage, String)] = [
            (.encrypt, "encrypt"), (.decrypt, "decrypt"), (.sign, "sign"), (.verify, "verify"), (.wrap, "wrap"),
            (.unwrap, "unwrap"), (.derive, "derive"),
        ]
        return names.filter { contains($0.0) }.map(\.1).joined(separator: "+")
    }
}

/// How a key is to be made. Secret and private keys are always sensitive; a persistent one, and any private one, is never
/// extractable.
public struct KeyTemplate: Hashable, Sendable {
    public var type: KeyType
    public var usage: KeyUsage
    /// `CKA_LABEL` of a persistent key; `nil` makes a session object.
    public var label: String?
    /// Whether the key may leave its store wrapped under another. For card keys on their way into a chip, alone.
    public var extractable: Bool

    /// A session object.
    public init(_ type: KeyType, _ usage: KeyUsage, extractable: Bool = false) {
        self.type = type
        self.usage = usage
        self.extractable = extractable
        label = nil
    }

    /// A persistent key: sensitive, never extractable.
    public init(persistent label: String, _ type: KeyType, _ usage: KeyUsage) {
        self.type = type
        self.usage = usage
        self.label = label
        extractable = false
    }
}

/// What a store says of a key.
public struct KeyAttributes: Hashable, Sendable {
    public var label: String
    public var type: KeyType
    public var usage: KeyUsage
    /// `CKA_SENSITIVE`: the value cannot be read.
    public var sensitive: Bool
    /// `CKA_EXTRACTABLE`: the value can be wrapped.
    public var extractable: Bool
    /// `CKA_ALWAYS_SENSITIVE`
    public var alwaysSensitive: Bool
    /// `CKA_NEVER_EXTRACTABLE`
    public var neverExtractable: Bool
    /// `CKA_LOCAL`: made inside the store.
    public var local: Bool
    /// `CKA_TOKEN`: outlives the session.
    public var persistent: Bool

    public init(
        label: String, type: KeyType, usage: KeyUsage, sensitive: Bool, extractable: Bool, alwaysSensitive: Bool,
        neverExtractable: Bool, local: Bool, persistent: Bool
    ) {
        self.label = label
        self.type = type
        self.usage = usage
        self.sensitive = sensitive
        self.extractable = extractable
        self.alwaysSensitive = alwaysSensitive
        self.neverExtractable = neverExtractable
        self.local = local
        self.persistent = persistent
    }
}

/// An RSA public key: modulus and exponent, big-endian without leading zeros.
public struct RSAPublicKey: Hashable, Sendable {
    public let modulus: [UInt8]
    public let exponent: [UInt8]

    public init(modulus: [UInt8], exponent: [UInt8]) {
        self.modulus = modulus
        self.exponent = exponent
    }
}
