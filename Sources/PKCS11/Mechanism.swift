import CPKCS11
import KeyCustody

/// A cryptographic mechanism by its number (`CK_MECHANISM_TYPE`, PKCS #11 v2.40 current mechanisms).
public struct PKCS11Mechanism: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }

    /// `CKM_RSA_PKCS_OAEP`
    public static let rsaPKCSOAEP = Self(rawValue: CKM_RSA_PKCS_OAEP)
    /// `CKM_DES2_KEY_GEN`
    public static let des2KeyGeneration = Self(rawValue: CKM_DES2_KEY_GEN)
    /// `CKM_DES3_KEY_GEN`
    public static let des3KeyGeneration = Self(rawValue: CKM_DES3_KEY_GEN)
    /// `CKM_DES3_ECB`
    public static let des3ECB = Self(rawValue: CKM_DES3_ECB)
    /// `CKM_DES3_CBC`
    public static let des3CBC = Self(rawValue: CKM_DES3_CBC)
    /// `CKM_DES3_CMAC`
    public static let des3CMAC = Self(rawValue: CKM_DES3_CMAC)
    /// `CKM_SHA256_HMAC`
    public static let sha256HMAC = Self(rawValue: CKM_SHA256_HMAC)
    /// `CKM_GENERIC_SECRET_KEY_GEN`
    public static let genericSecretKeyGeneration = Self(rawValue: CKM_GENERIC_SECRET_KEY_GEN)
    /// `CKM_AES_KEY_GEN`
    public static let aesKeyGeneration = Self(rawValue: CKM_AES_KEY_GEN)
    /// `CKM_AES_ECB`
    public static let aesECB = Self(rawValue: CKM_AES_ECB)
    /// `CKM_AES_CBC`
    public static let aesCBC = Self(rawValue: CKM_AES_CBC)
    /// `CKM_AES_GCM`
    public static let aesGCM = Self(rawValue: CKM_AES_GCM)
    /// `CKM_AES_CMAC`
    public static let aesCMAC = Self(rawValue: CKM_AES_CMAC)
    /// `CKM_DES3_ECB_ENCRYPT_DATA`
    public static let des3ECBEncryptData = Self(rawValue: CKM_DES3_ECB_ENCRYPT_DATA)
    /// `CKM_AES_ECB_ENCRYPT_DATA`
    public static let aesECBEncryptData = Self(rawValue: CKM_AES_ECB_ENCRYPT_DATA)
    /// `CKM_EC_KEY_PAIR_GEN`
    public static let ecKeyPairGeneration = Self(rawValue: CKM_EC_KEY_PAIR_GEN)
    /// `CKM_ECDSA`
    public static let ecdsa = Self(rawValue: CKM_ECDSA)
    /// `CKM_ECDH1_DERIVE`
    public static let ecdh1Derive = Self(rawValue: CKM_ECDH1_DERIVE)
    /// `CKM_AES_KEY_WRAP`
    public static let aesKeyWrap = Self(rawValue: CKM_AES_KEY_WRAP)

    /// The name in the standard, where this toolkit uses the mechanism.
    private static let names: [Self: String] = [
        .rsaPKCSOAEP: "CKM_RSA_PKCS_OAEP", .des2KeyGeneration: "CKM_DES2_KEY_GEN",
        .des3KeyGeneration: "CKM_DES3_KEY_GEN", .des3ECB: "CKM_DES3_ECB", .des3CBC: "CKM_DES3_CBC",
        .des3CMAC: "CKM_DES3_CMAC", .sha256HMAC: "CKM_SHA256_HMAC",
        .genericSecretKeyGeneration: "CKM_GENERIC_SECRET_KEY_GEN", .aesKeyGeneration: "CKM_AES_KEY_GEN",
        .aesECB: "CKM_AES_ECB", .aesCBC: "CKM_AES_CBC", .aesGCM: "CKM_AES_GCM", .aesCMAC: "CKM_AES_CMAC",
        .des3ECBEncryptData: "CKM_DES3_ECB_ENCRYPT_DATA", .aesECBEncryptData: "CKM_AES_ECB_ENCRYPT_DATA",
        .aesKeyWrap: "CKM_AES_KEY_WRAP", .ecKeyPairGeneration: "CKM_EC_KEY_PAIR_GEN", .ecdsa: "CKM_ECDSA",
        .ecdh1Derive: "CKM_ECDH1_DERIVE",
    ]
}

extension PKCS11Mechanism: CustomStringConvertible {
    /// `CKM_AES_CMAC`, or the number of one without a name here.
    public var description: String { Self.names[self] ?? "mechanism 0x" + String(rawValue, radix: 16, uppercase: true) }
}

extension PKCS11Mechanism {
    /// Runs `body` with this mechanism without a parameter.
    func withPointer(_ body: (UnsafeMutablePointer<CK_MECHANISM>) -> CK_RV) -> CK_RV {
        var mechanism = CK_MECHANISM(mechanism: rawValue, pParameter: nil, ulParameterLen: 0)
        return body(&mechanism)
    }

    /// Runs `body` with this mechanism and plain bytes, such as an IV, as its parameter.
    func withPointer(bytes: [UInt8], _ body: (UnsafeMutablePointer<CK_MECHANISM>) -> CK_RV) -> CK_RV {
        bytes.withUnsafeBytes { parameter in
            var mechanism = CK_MECHANISM(
                mechanism: rawValue, pParameter: UnsafeMutableRawPointer(mutating: parameter.baseAddress),
                ulParameterLen: CK_ULONG(parameter.count))
            return body(&mechanism)
        }
    }

    /// Runs `body` with this mechanism and a parameter structure.
    func withPointer<Parameter>(
        structure: Parameter, _ body: (UnsafeMutablePointer<CK_MECHANISM>) -> CK_RV
    ) -> CK_RV {
        var structure = structure
        return withUnsafeMutableBytes(of: &structure) { parameter in
            var mechanism = CK_MECHANISM(
                mechanism: rawValue, pParameter: parameter.baseAddress, ulParameterLen: CK_ULONG(parameter.count))
            return body(&mechanism)
        }
    }
}

extension [UInt8] {
    /// Runs `body` with a pointer that C declares mutable and does not write through.
    fileprivate func withConstPointer(_ body: (UnsafeMutablePointer<UInt8>?) -> CK_RV) -> CK_RV {
        withUnsafeBufferPointer { body(UnsafeMutablePointer(mutating: $0.baseAddress)) }
    }
}

extension Cipher {
    var mechanism: PKCS11Mechanism {
        switch self {
        case .des3ECB: .des3ECB
        case .des3CBC: .des3CBC
        case .aesECB: .aesECB
        case .aesCBC: .aesCBC
        case .aesGCM: .aesGCM
        }
    }

    /// How much longer the ciphertext is than the plaintext: the tag of GCM.
    var overhead: Int { if case .aesGCM = self { 16 } else { 0 } }

    func withMechanism(_ body: (UnsafeMutablePointer<CK_MECHANISM>) -> CK_RV) -> CK_RV {
        switch self {
        case .des3ECB, .aesECB: return mechanism.withPointer(body)
        case .des3CBC(let iv), .aesCBC(let iv): return mechanism.withPointer(bytes: iv, body)
        case .aesGCM(let iv, let additionalData):
            return iv.withConstPointer { ivPointer in
                additionalData.withConstPointer { additionalPointer in
                    let parameters = CK_GCM_PARAMS(
                        pIv: ivPointer, ulIvLen: CK_ULONG(iv.count), ulIvBits: CK_ULONG(iv.count * 8),
                        pAAD: additionalPointer, ulAADLen: CK_ULONG(additionalData.count), ulTagBits: 128)
                    return mechanism.withPointer(structure: parameters, body)
                }
            }
        }
    }
}

extension MACAlgorithm {
    var mechanism: PKCS11Mechanism {
        switch self {
        case .hmacSHA256: .sha256HMAC
        case .aesCMAC: .aesCMAC
        case .des3CMAC: .des3CMAC
        }
    }

    /// Length of the tag in bytes.
    var tagLength: Int {
        switch self {
        case .hmacSHA256: 32
        case .aesCMAC: 16
        case .des3CMAC: 8
        }
    }
}

extension Derivation {
    var mechanism: PKCS11Mechanism {
        switch self {
        case .des3ECBEncrypt: .des3ECBEncryptData
        case .aesECBEncrypt: .aesECBEncryptData
        }
    }

    /// PKCS #11 v2.40 current mechanisms, 2.16: the data goes by `CK_KEY_DERIVATION_STRING_DATA`.
    func withMechanism(_ body: (UnsafeMutablePointer<CK_MECHANISM>) -> CK_RV) -> CK_RV {
        switch self {
        case .des3ECBEncrypt(let data), .aesECBEncrypt(let data):
            data.withConstPointer { pointer in
                let parameters = CK_KEY_DERIVATION_STRING_DATA(pData: pointer, ulLen: CK_ULONG(data.count))
                return mechanism.withPointer(structure: parameters, body)
            }
        }
    }
}

extension P256PublicKey {
    /// PKCS #11 v2.40 current mechanisms, 2.3.6: the other side's point by `CK_ECDH1_DERIVE_PARAMS`, nothing done to the
    /// secret (`CKD_NULL`).
    func withMechanism(_ body: (UnsafeMutablePointer<CK_MECHANISM>) -> CK_RV) -> CK_RV {
        point.withConstPointer { pointer in
            let parameters = CK_ECDH1_DERIVE_PARAMS(
                kdf: CKD_NULL, ulSharedDataLen: 0, pSharedData: nil, ulPublicDataLen: CK_ULONG(point.count),
                pPublicData: pointer)
            return PKCS11Mechanism.ecdh1Derive.withPointer(structure: parameters, body)
        }
    }
}

extension WrapMethod {
    var mechanism: PKCS11Mechanism {
        switch self {
        case .aesKeyWrap: .aesKeyWrap
        case .aesCBC: .aesCBC
        case .rsaOAEPSHA1: .rsaPKCSOAEP
        }
    }

    func withMechanism(_ body: (UnsafeMutablePointer<CK_MECHANISM>) -> CK_RV) -> CK_RV {
        switch self {
        case .aesKeyWrap: mechanism.withPointer(body)
        case .aesCBC(let iv): mechanism.withPointer(bytes: iv, body)
        case .rsaOAEPSHA1:
            mechanism.withPointer(
                structure: CK_RSA_PKCS_OAEP_PARAMS(
                    hashAlg: CKM_SHA_1, mgf: CK_RSA_PKCS_MGF_TYPE(CKG_MGF1_SHA1), source: CKZ_DATA_SPECIFIED,
                    pSourceData: nil, ulSourceDataLen: 0),
                body)
        }
    }
}
