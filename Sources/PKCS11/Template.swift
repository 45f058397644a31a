import ByteCoding
import CPKCS11
import KeyCustody

/// A list of attributes to hand to the module (`CK_ATTRIBUTE` array, PKCS #11 base v2.40, 4.1).
struct Template {
    /// A value that fits a `CK_ULONG`; a flag is its first byte.
    private struct Scalar {
        let value: CK_ULONG
        let length: Int
        let type: CK_ATTRIBUTE_TYPE
    }

    private var scalars: [Scalar] = []
    /// Where in `bytes` each of the longer values stands.
    private var strings: [(type: CK_ATTRIBUTE_TYPE, place: Range<Int>)] = []
    private var bytes: [UInt8] = []
    /// `CKA_VALUE`; handed over where it is, never copied.
    var secret: SecretBytes?
    /// Whether it makes an object that outlives the session.
    private(set) var isPersistent = false

    mutating func append(_ type: CK_ATTRIBUTE_TYPE, _ flag: Bool) {
        scalars.append(
            Scalar(value: CK_ULONG(littleEndian: flag ? 1 : 0), length: MemoryLayout<CK_BBOOL>.size, type: type))
        if type == CKA_TOKEN { isPersistent = flag }
    }

    mutating func append(_ type: CK_ATTRIBUTE_TYPE, _ number: CK_ULONG) {
        scalars.append(Scalar(value: number, length: MemoryLayout<CK_ULONG>.size, type: type))
    }

    mutating func append(_ type: CK_ATTRIBUTE_TYPE, _ string: [UInt8]) {
        strings.append((type, bytes.count..<bytes.count + string.count))
        bytes += string
    }

    /// Runs `body` with the attributes in C's shape. C declares their values mutable and does not write to them.
    func withAttributes(_ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, CK_ULONG) -> CK_RV) -> CK_RV {
        guard let secret else { return withAttributes(nil, body) }
        return secret.withBytes { withAttributes($0, body) }
    }

    private func withAttributes(
        _ secret: UnsafeBufferPointer<UInt8>?, _ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, CK_ULONG) -> CK_RV
    ) -> CK_RV {
        let count = scalars.count + strings.count + (secret == nil ? 0 : 1)
        return scalars.withUnsafeBufferPointer { scalars in
            bytes.withUnsafeBufferPointer { bytes in
                withUnsafeTemporaryAllocation(of: CK_ATTRIBUTE.self, capacity: count) { list in
                    // The value is the first field.
                    for index in scalars.indices {
                        let value = scalars.baseAddress.map { $0 + index }
                        list.initializeElement(
                            at: index, to: Self.attribute(scalars[index].type, value, scalars[index].length))
                    }
                    for (index, string) in zip(scalars.count..., strings) {
                        let value = bytes.baseAddress.map { $0 + string.place.lowerBound }
                        list.initializeElement(at: index, to: Self.attribute(string.type, value, string.place.count))
                    }
                    if let secret {
                        list.initializeElement(
                            at: count - 1, to: Self.attribute(CKA_VALUE, secret.baseAddress, secret.count))
                    }
                    return body(list.baseAddress, CK_ULONG(count))
                }
            }
        }
    }

    private static func attribute(
        _ type: CK_ATTRIBUTE_TYPE, _ value: UnsafeRawPointer?, _ length: Int
    ) -> CK_ATTRIBUTE {
        CK_ATTRIBUTE(type: type, pValue: UnsafeMutableRawPointer(mutating: value), ulValueLen: CK_ULONG(length))
    }
}

extension KeyUsage {
    /// Each usage with the attribute that grants it.
    static let attributeTypes: [(usage: KeyUsage, type: CK_ATTRIBUTE_TYPE)] = [
        (.encrypt, CKA_ENCRYPT), (.decrypt, CKA_DECRYPT), (.sign, CKA_SIGN), (.verify, CKA_VERIFY),
        (.wrap, CKA_WRAP), (.unwrap, CKA_UNWRAP), (.derive, CKA_DERIVE),
    ]
}

extension KeyType {
    /// `CKA_KEY_TYPE`
    var keyType: CK_KEY_TYPE {
        switch self {
        case .aes: CKK_AES
        case .des2: CKK_DES2
        case .des3: CKK_DES3
        case .generic: CKK_GENERIC_SECRET
        case .rsa: CKK_RSA
        case .p256: CKK_EC
        case .other(let number): number
        }
    }

    /// Whether the length is not given by the type, so that `CKA_VALUE_LEN` must say it.
    var hasFreeLength: Bool {
        switch self {
        case .aes, .generic: true
        case .des2, .des3, .rsa, .p256, .other: false
        }
    }

    /// The mechanism that makes such a key.
    var generation: PKCS11Mechanism? {
        switch self {
        case .aes: .aesKeyGeneration
        case .des2: .des2KeyGeneration
        case .des3: .des3KeyGeneration
        case .generic: .genericSecretKeyGeneration
        case .p256: .ecKeyPairGeneration
        case .rsa, .other: nil
        }
    }
}

extension Template {
    /// A secret key: sensitive, and of all uses only those asked for. A use not named is denied in so many words,
    /// because what a module grants by default is its own affair (PKCS #11 base v2.40, 4.9).
    ///
    /// - Parameter withLength: whether `CKA_VALUE_LEN` belongs in: for generation and derivation, not where the value
    ///   itself comes along.
    init(_ key: KeyTemplate, withLength: Bool, sensitive: Bool = true) {
        scalars.reserveCapacity(14)
        append(CKA_CLASS, CKO_SECRET_KEY)
        append(CKA_KEY_TYPE, key.type.keyType)
        append(CKA_TOKEN, key.label != nil)
        append(CKA_PRIVATE, true)
        append(CKA_SENSITIVE, sensitive)
        append(CKA_EXTRACTABLE, key.extractable)
        for (usage, type) in KeyUsage.attributeTypes { append(type, key.usage.contains(usage)) }
        if withLength, key.type.hasFreeLength { append(CKA_VALUE_LEN, CK_ULONG(clamping: key.type.length)) }
        name(key.label)
    }

    /// `CKA_EC_PARAMS` of P-256: the object identifier 1.2.840.10045.3.1.7 (PKCS #11 v2.40 current mechanisms, 2.3.3).
    static let p256Curve: [UInt8] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07]

    /// The private half of a key pair: sensitive, never extractable, for the one use asked for.
    init(privateHalf key: KeyTemplate) {
        append(CKA_CLASS, CKO_PRIVATE_KEY)
        append(CKA_KEY_TYPE, CKK_EC)
        append(CKA_TOKEN, key.label != nil)
        append(CKA_PRIVATE, true)
        append(CKA_SENSITIVE, true)
        append(CKA_EXTRACTABLE, false)
        // A private key has these uses and no others (base v2.40, 4.8).
        for (usage, type) in KeyUsage.attributeTypes where [.decrypt, .sign, .unwrap, .derive].contains(usage) {
            append(type, key.usage.contains(usage))
        }
        name(key.label)
    }

    /// The public half of a key pair. No use is granted: it is there to be read.
    init(publicHalf key: KeyTemplate) {
        append(CKA_CLASS, CKO_PUBLIC_KEY)
        append(CKA_KEY_TYPE, CKK_EC)
        append(CKA_TOKEN, key.label != nil)
        append(CKA_PRIVATE, false)
        for type in [CKA_ENCRYPT, CKA_VERIFY, CKA_WRAP, CKA_DERIVE] { append(type, false) }
        append(CKA_EC_PARAMS, Self.p256Curve)
        name(key.label)
    }

    private mutating func name(_ label: String?) {
        guard let label else { return }
        append(CKA_LABEL, Array(label.utf8))
        append(CKA_ID, Array(label.utf8))
    }

    /// What ``Session/sharedSecret(of:with:)`` reads and destroys: the only object of ours that can be read.
    static var sharedSecret: Template {
        Template(KeyTemplate(.generic(bytes: 32), [], extractable: true), withLength: true, sensitive: false)
    }

    /// Somebody else's RSA public key, a session object.
    init(_ key: RSAPublicKey, usage: KeyUsage) {
        append(CKA_CLASS, CKO_PUBLIC_KEY)
        append(CKA_KEY_TYPE, CKK_RSA)
        append(CKA_TOKEN, false)
        append(CKA_PRIVATE, false)
        append(CKA_ENCRYPT, usage.contains(.encrypt))
        append(CKA_VERIFY, usage.contains(.verify))
        append(CKA_WRAP, usage.contains(.wrap))
        append(CKA_MODULUS, key.modulus)
        append(CKA_PUBLIC_EXPONENT, key.exponent)
    }

    /// What makes a copy a session object.
    static var sessionCopy: Template {
        var template = Template()
        template.append(CKA_TOKEN, false)
        return template
    }

    /// The classes of the keys that must stay: secret keys, and private halves of key pairs.
    static let secretClasses: [CK_OBJECT_CLASS] = [CKO_SECRET_KEY, CKO_PRIVATE_KEY]

    /// The persistent keys of a class, of all labels or of one.
    static func persistentKeys(_ class: CK_OBJECT_CLASS, label: String? = nil) -> Template {
        var template = Template()
        template.append(CKA_CLASS, `class`)
        template.append(CKA_TOKEN, true)
        if let label { template.append(CKA_LABEL, Array(label.utf8)) }
        return template
    }
}
