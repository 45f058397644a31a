import COpenSSL
public import KeyCustody

/// An RSA key pair in memory, by libcrypto: somebody outside the token who receives wrapped keys.
public final class RSAKeyPair {
    private let key: OpaquePointer

    public struct Failure: Error {
        public let call: String
    }

    /// Makes a key of `bits` with exponent 65537.
    public init(bits: Int = 2048) throws {
        guard let context = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, nil) else { throw Failure(call: "EVP_PKEY_CTX_new_id") }
        defer { EVP_PKEY_CTX_free(context) }
        var made: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) > 0, EVP_PKEY_CTX_set_rsa_keygen_bits(context, Int32(bits)) > 0,
            EVP_PKEY_generate(context, &made) > 0, let made
        else { throw Failure(call: "EVP_PKEY_generate") }
        key = made
    }

    deinit { EVP_PKEY_free(key) }

    public func publicKey() throws -> RSAPublicKey {
        RSAPublicKey(modulus: try number("n"), exponent: try number("e"))
    }

    /// Opens RSAES-OAEP with SHA-1 and MGF1-SHA-1 (RFC 8017, 7.1.2), no label.
    public func openOAEPSHA1(_ blob: [UInt8]) throws -> [UInt8] {
        guard let context = EVP_PKEY_CTX_new(key, nil) else { throw Failure(call: "EVP_PKEY_CTX_new") }
        defer { EVP_PKEY_CTX_free(context) }
        var length = Int(EVP_PKEY_get_size(key))
        var plain = [UInt8](repeating: 0, count: length)
        guard EVP_PKEY_decrypt_init(context) > 0, EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) > 0,
            EVP_PKEY_decrypt(context, &plain, &length, blob, blob.count) > 0
        else { throw Failure(call: "EVP_PKEY_decrypt") }
        return Array(plain.prefix(length))
    }

    private func number(_ name: String) throws -> [UInt8] {
        var number: OpaquePointer?
        guard EVP_PKEY_get_bn_param(key, name, &number) > 0, let number else {
            throw Failure(call: "EVP_PKEY_get_bn_param")
        }
        defer { BN_free(number) }
        var bytes = [UInt8](repeating: 0, count: Int(BN_num_bits(number) + 7) / 8)
        BN_bn2bin(number, &bytes)
        return bytes
    }
}
