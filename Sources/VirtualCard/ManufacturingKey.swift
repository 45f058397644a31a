import ByteCoding
import COpenSSL

/// The RSA-2048 key that a blank chip makes, so that its first keys can come in wrapped (RFC 8017, 7.1).
struct ManufacturingKey {
    static let bits: Int32 = 2048

    /// PKCS #1 RSAPrivateKey, DER.
    let encoded: SecretBytes

    init(encoded: SecretBytes) { self.encoded = encoded }

    /// Makes a new key; takes about a tenth of a second.
    static func generate() throws(CryptoFailure) -> ManufacturingKey {
        guard let context = EVP_PKEY_CTX_new_from_name(nil, "RSA", nil) else {
            throw CryptoFailure(call: "EVP_PKEY_CTX_new_from_name")
        }
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_CTX_set_rsa_keygen_bits(context, bits) == 1,
            EVP_PKEY_generate(context, &key) == 1, let key
        else { throw CryptoFailure(call: "EVP_PKEY_generate") }
        defer { EVP_PKEY_free(key) }
        let length = i2d_PrivateKey(key, nil)
        guard length > 0 else { throw CryptoFailure(call: "i2d_PrivateKey") }
        var der = [UInt8](repeating: 0, count: Int(length))
        let written = der.withUnsafeMutableBufferPointer { buffer in
            var end = buffer.baseAddress
            return i2d_PrivateKey(key, &end)
        }
        guard written == length else { throw CryptoFailure(call: "i2d_PrivateKey") }
        return ManufacturingKey(encoded: SecretBytes(wiping: &der))
    }

    /// The modulus (256 bytes) and the public exponent, big-endian.
    func publicComponents() throws(CryptoFailure) -> (modulus: [UInt8], exponent: [UInt8]) {
        let key = try load()
        defer { EVP_PKEY_free(key) }
        return (try number(OSSL_PKEY_PARAM_RSA_N, of: key), try number(OSSL_PKEY_PARAM_RSA_E, of: key))
    }

    /// Opens an RSA-OAEP blob (SHA-1, MGF1-SHA-1, empty label).
    /// - Returns: `nil` when the blob is not for this key or was changed.
    func open(_ blob: [UInt8]) throws(CryptoFailure) -> SecretBytes? {
        let key = try load()
        defer { EVP_PKEY_free(key) }
        guard let context = EVP_PKEY_CTX_new_from_pkey(nil, key, nil) else {
            throw CryptoFailure(call: "EVP_PKEY_CTX_new_from_pkey")
        }
        defer { EVP_PKEY_CTX_free(context) }
        guard EVP_PKEY_decrypt_init(context) == 1,
            EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1,
            EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha1()) == 1,
            EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha1()) == 1
        else { throw CryptoFailure(call: "EVP_PKEY_decrypt_init") }
        var clear = [UInt8](repeating: 0, count: Int(ManufacturingKey.bits / 8))
        var length = clear.count
        let opened = EVP_PKEY_decrypt(context, &clear, &length, blob, blob.count) == 1
        ERR_clear_error()
        defer { SecretBytes.wipe(&clear) }
        return opened ? SecretBytes(clear.prefix(length)) : nil
    }

    private func load() throws(CryptoFailure) -> OpaquePointer {
        let key = encoded.withBytes { bytes in
            var start = bytes.baseAddress
            return d2i_AutoPrivateKey(nil, &start, bytes.count)
        }
        guard let key else { throw CryptoFailure(call: "d2i_AutoPrivateKey") }
        return key
    }

    private func number(_ name: String, of key: OpaquePointer) throws(CryptoFailure) -> [UInt8] {
        var number: OpaquePointer?
        guard EVP_PKEY_get_bn_param(key, name, &number) == 1, let number else {
            throw CryptoFailure(call: "EVP_PKEY_get_bn_param")
        }
        defer { BN_free(number) }
        var bytes = [UInt8](repeating: 0, count: Int(BN_num_bits(number) + 7) / 8)
        BN_bn2bin(number, &bytes)
        return bytes
    }
}
