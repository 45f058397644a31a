/// A symmetric cipher as the store runs it. No padding is added: lengths are the caller's to get right.
public enum Cipher: Hashable, Sendable {
    /// `CKM_DES3_ECB`, whole 8-byte blocks.
    case des3ECB
    /// `CKM_DES3_CBC`, 8-byte `iv`.
    case des3CBC(iv: [UInt8])
    /// `CKM_AES_ECB`, whole 16-byte blocks.
    case aesECB
    /// `CKM_AES_CBC`, 16-byte `iv`.
    case aesCBC(iv: [UInt8])
    /// `CKM_AES_GCM`, 12-byte `iv`, 128-bit tag behind the ciphertext.
    case aesGCM(iv: [UInt8], additionalData: [UInt8])
}

/// A message authentication code as the store runs it.
public enum MACAlgorithm: Hashable, Sendable {
    /// `CKM_SHA256_HMAC`, 32 bytes.
    case hmacSHA256
    /// `CKM_AES_CMAC`, 16 bytes (NIST SP 800-38B).
    case aesCMAC
    /// `CKM_DES3_CMAC`, 8 bytes.
    case des3CMAC
}

/// A way to make one key from another inside the store.
public enum Derivation: Hashable, Sendable {
    /// `CKM_DES3_ECB_ENCRYPT_DATA`: the new key is `data` (whole 8-byte blocks) encrypted under the base key.
    case des3ECBEncrypt([UInt8])
    /// `CKM_AES_ECB_ENCRYPT_DATA`: the new key is `data` (whole 16-byte blocks) encrypted under the base key.
    case aesECBEncrypt([UInt8])
}

/// A way to move a key out of the store, encrypted.
public enum WrapMethod: Hashable, Sendable {
    /// `CKM_AES_KEY_WRAP` (RFC 3394).
    case aesKeyWrap
    /// `CKM_AES_CBC` without padding, 16-byte `iv`; for keys of whole blocks.
    case aesCBC(iv: [UInt8])
    /// `CKM_RSA_PKCS_OAEP` with SHA-1 and MGF1-SHA-1 (RFC 8017, 7.1).
    case rsaOAEPSHA1
}

/// How a key check value is computed. They differ by key type and by who asks.
public enum KeyCheckValueKind: Hashable, Sendable {
    /// First 3 bytes of eight zero bytes encrypted (ANSI X9.24-1, for DES keys).
    case desZeros
    /// First 3 bytes of sixteen zero bytes encrypted (PKCS #11 `CKA_CHECK_VALUE` for AES).
    case aesZeros
    /// First 5 bytes of the CMAC over sixteen zero bytes (ANSI X9.24-1-2017, Annex A, for AES keys).
    case aesCMAC
    /// First 3 bytes of sixteen bytes `01` encrypted (GlobalPlatform Amendment D, 4.1.4).
    case globalPlatformAES
    /// First 3 bytes of the HMAC of zero bytes of data, for HMAC keys, which no standard gives a check value.
    case hmacEmpty
}
