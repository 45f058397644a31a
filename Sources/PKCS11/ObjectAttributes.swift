import CPKCS11
import KeyCustody

extension Session {
    /// What the token says of a key (`C_GetAttributeValue`).
    ///
    /// What it does not say counts as the worse: not sensitive, extractable.
    func keyAttributes(of object: CK_OBJECT_HANDLE) throws(PKCS11Error) -> KeyAttributes {
        let types: [CK_ATTRIBUTE_TYPE] =
            [
                CKA_LABEL, CKA_KEY_TYPE, CKA_VALUE_LEN, CKA_MODULUS_BITS, CKA_EC_PARAMS, CKA_SENSITIVE, CKA_EXTRACTABLE,
                CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_LOCAL, CKA_TOKEN,
            ] + KeyUsage.attributeTypes.map(\.type)
        let values = try attributes(types, of: object)
        func flag(_ type: CK_ATTRIBUTE_TYPE, unsaid: Bool = false) -> Bool {
            values[type].map { $0.contains { $0 != 0 } } ?? unsaid
        }
        func number(_ type: CK_ATTRIBUTE_TYPE) -> UInt? {
            values[type].flatMap { bytes in
                bytes.count == MemoryLayout<CK_ULONG>.size
                    ? bytes.withUnsafeBytes { $0.loadUnaligned(as: CK_ULONG.self) } : nil
            }
        }
        return KeyAttributes(
            label: String(decoding: values[CKA_LABEL] ?? [], as: UTF8.self),
            type: KeyType(
                number(CKA_KEY_TYPE), length: number(CKA_VALUE_LEN), modulusBits: number(CKA_MODULUS_BITS),
                curve: values[CKA_EC_PARAMS]),
            usage: KeyUsage.attributeTypes.reduce(into: []) { if flag($1.type) { $0.insert($1.usage) } },
            sensitive: flag(CKA_SENSITIVE),
            extractable: flag(CKA_EXTRACTABLE, unsaid: true),
            alwaysSensitive: flag(CKA_ALWAYS_SENSITIVE),
            neverExtractable: flag(CKA_NEVER_EXTRACTABLE),
            local: flag(CKA_LOCAL),
            persistent: flag(CKA_TOKEN))
    }
}

extension KeyType {
    /// From `CKA_KEY_TYPE`, `CKA_VALUE_LEN`, `CKA_MODULUS_BITS` and `CKA_EC_PARAMS`.
    fileprivate init(_ type: UInt?, length: UInt?, modulusBits: UInt?, curve: [UInt8]?) {
        let bytes = Int(clamping: length ?? 0)
        self =
            switch type {
            case CKK_AES: .aes(bytes: bytes)
            case CKK_DES2: .des2
            case CKK_DES3: .des3
            case CKK_GENERIC_SECRET, CKK_SHA256_HMAC: .generic(bytes: bytes)
            case CKK_RSA: .rsa(bits: Int(clamping: modulusBits ?? 0))
            case CKK_EC where curve == Template.p256Curve: .p256
            case let other: .other(other ?? UInt.max)
            }
    }
}
