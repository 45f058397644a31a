import ByteCoding
import CPKCS11
import Glibc
import KeyCustody

/// A list of attributes to hand to the module (`CK_ATTRIBUTE` array, PKCS #11 base v2.40, 4.1).
struct Template {
    enum Value {
        case flag(Bool)
        case number(CK_ULONG)
        case bytes([UInt8])
        case secret(SecretBytes)

        var length: Int {
            switch self {
            case .flag: MemoryLayout<CK_BBOOL>.size
            case .number: MemoryLayout<CK_ULONG>.size
            case .bytes(let bytes): bytes.count
            case .secret(let secret): secret.count
            }
        }
    }

    private(set) var attributes: [(type: CK_ATTRIBUTE_TYPE, value: Value)]

    init(_ attributes: [(type: CK_ATTRIBUTE_TYPE, value: Value)]) { self.attributes = attributes }

    /// Whether it makes an object that outlives the session.
    var isPersistent: Bool {
        attributes.contains { if case (CKA_TOKEN, .flag(true)) = $0 { true } else { false } }
    }

    mutating func append(_ type: CK_ATTRIBUTE_TYPE, _ value: Value) { attributes.append((type, value)) }

    /// Runs `body` with the attributes in C's shape, in memory that is wiped afterwards.
    func withAttributes(_ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, CK_ULONG) -> CK_RV) -> CK_RV {
        let slot = MemoryLayout<CK_ULONG>.size
        // Every value begins at a multiple of a CK_ULONG, so that numbers are aligned.
        let size = attributes.reduce(0) { $0 + ($1.value.length + slot - 1) / slot * slot }
        return withUnsafeTemporaryAllocation(byteCount: size, alignment: slot) { values in
            defer { if let start = values.baseAddress { explicit_bzero(start, values.count) } }
            return withUnsafeTemporaryAllocation(of: CK_ATTRIBUTE.self, capacity: attributes.count) { list in
                var offset = 0
                for (index, attribute) in attributes.enumerated() {
                    let length = attribute.value.length
                    let place = UnsafeMutableRawBufferPointer(rebasing: values[offset..<offset + length])
                    attribute.value.write(to: place)
                    list.initializeElement(
                        at: index,
                        to: CK_ATTRIBUTE(
                            type: attribute.type, pValue: place.baseAddress, ulValueLen: CK_ULONG(length)))
                    offset += (length + slot - 1) / slot * slot
                }
                return body(list.baseAddress, CK_ULONG(attributes.count))
            }
        }
    }
}

extension Template.Value {
    fileprivate func write(to place: UnsafeMutableRawBufferPointer) {
        switch self {
        case .flag(let flag): place.storeBytes(of: CK_BBOOL(flag ? CK_TRUE : CK_FALSE), as: CK_BBOOL.self)
        case .number(let number): place.storeBytes(of: number, as: CK_ULONG.self)
        case .bytes(let bytes): place.copyBytes(from: bytes)
        case .secret(let secret): secret.withBytes { place.copyBytes(from: $0) }
        }
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
        case .other(let number): number
        }
    }

    /// Whether the length is not given by the type, so that `CKA_VALUE_LEN` must say it.
    var hasFreeLength: Bool {
        switch self {
        case .aes, .generic: true
        case .des2, .des3, .rsa, .other: false
        }
    }

    /// The mechanism that makes such a key.
    var generation: PKCS11Mechanism? {
        switch self {
        case .aes: .aesKeyGeneration
        case .des2: .des2KeyGeneration
        case .des3: .des3KeyGeneration
        case .generic: .genericSecretKeyGeneration
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
        attributes = [
            (CKA_CLASS, .number(CKO_SECRET_KEY)),
            (CKA_KEY_TYPE, .number(key.type.keyType)),
            (CKA_TOKEN, .flag(key.label != nil)),
            (CKA_PRIVATE, .flag(true)),
            (CKA_SENSITIVE, .flag(sensitive)),
            (CKA_EXTRACTABLE, .flag(key.extractable)),
        ]
        for (usage, type) in KeyUsage.attributeTypes { append(type, .flag(key.usage.contains(usage))) }
        if withLength, key.type.hasFreeLength { append(CKA_VALUE_LEN, .number(CK_ULONG(clamping: key.type.length))) }
        if let label = key.label {
            append(CKA_LABEL, .bytes(Array(label.utf8)))
            append(CKA_ID, .bytes(Array(label.utf8)))
        }
    }

    /// Somebody else's RSA public key, a session object.
    init(_ key: RSAPublicKey, usage: KeyUsage) {
        attributes = [
            (CKA_CLASS, .number(CKO_PUBLIC_KEY)),
            (CKA_KEY_TYPE, .number(CKK_RSA)),
            (CKA_TOKEN, .flag(false)),
            (CKA_PRIVATE, .flag(false)),
            (CKA_ENCRYPT, .flag(usage.contains(.encrypt))),
            (CKA_VERIFY, .flag(usage.contains(.verify))),
            (CKA_WRAP, .flag(usage.contains(.wrap))),
            (CKA_MODULUS, .bytes(key.modulus)),
            (CKA_PUBLIC_EXPONENT, .bytes(key.exponent)),
        ]
    }

    /// The persistent secret keys, of all labels or of one.
    static func persistentSecretKeys(label: String? = nil) -> Template {
        var template = Template([(CKA_CLASS, .number(CKO_SECRET_KEY)), (CKA_TOKEN, .flag(true))])
        if let label { template.append(CKA_LABEL, .bytes(Array(label.utf8))) }
        return template
    }
}
