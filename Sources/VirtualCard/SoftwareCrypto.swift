import ByteCoding
import COpenSSL

/// libcrypto gave up: no memory, or a provider is missing. Nothing a command's bytes can cause.
struct CryptoFailure: Error {
    /// The libcrypto function that failed.
    let call: String
}

/// The chip's AES, from libcrypto. Blocks are 16 bytes; no padding is added or removed.
enum AES {
    static let blockSize = 16

    static func encryptECB(_ data: [UInt8], key: SecretBytes) throws(CryptoFailure) -> [UInt8] {
        try EVP.run(EVP_aes_128_ecb(), key: key, iv: [], data: data, encrypt: true)
    }

    static func encryptCBC(_ data: [UInt8], key: SecretBytes, iv: [UInt8]) throws(CryptoFailure) -> [UInt8] {
        try EVP.run(EVP_aes_128_cbc(), key: key, iv: iv, data: data, encrypt: true)
    }

    static func decryptCBC(_ data: [UInt8], key: SecretBytes, iv: [UInt8]) throws(CryptoFailure) -> [UInt8] {
        try EVP.run(EVP_aes_128_cbc(), key: key, iv: iv, data: data, encrypt: false)
    }

    /// CMAC of any number of bytes, 16 bytes (NIST SP 800-38B).
    static func cmac(_ data: [UInt8], key: SecretBytes) throws(CryptoFailure) -> [UInt8] {
        let zero = [UInt8](repeating: 0, count: blockSize)
        let subkey1 = doubled(try encryptECB(zero, key: key))
        let remainder = data.count % blockSize
        let isWhole = remainder == 0 && !data.isEmpty
        let lastLength = data.isEmpty ? 0 : (isWhole ? blockSize : remainder)
        var last = Array(data.suffix(lastLength))
        if !isWhole { last += [0x80] + [UInt8](repeating: 0, count: blockSize - lastLength - 1) }
        last = last.xor(isWhole ? subkey1 : doubled(subkey1))
        return Array(try encryptCBC(data.dropLast(lastLength) + last, key: key, iv: zero).suffix(blockSize))
    }

    /// Key check value: three bytes of sixteen `01` encrypted (GlobalPlatform Amendment D, 4.1.4).
    static func checkValue(_ key: SecretBytes) throws(CryptoFailure) -> [UInt8] {
        Array(try encryptECB([UInt8](repeating: 1, count: blockSize), key: key).prefix(3))
    }

    /// Multiplication by x in GF(2¹²⁸) (SP 800-38B, 6.1).
    private static func doubled(_ block: [UInt8]) -> [UInt8] {
        var result = block.indices.map { index in
            block[index] << 1 | (index + 1 < block.count ? block[index + 1] >> 7 : 0)
        }
        if block[0] & 0x80 != 0 { result[blockSize - 1] ^= 0x87 }
        return result
    }
}

/// Cryptography that payment cards still use and nobody should choose anew.
enum Insecure {
    /// Two-key triple DES. Blocks are 8 bytes; no padding is added or removed.
    enum TripleDES {
        static let blockSize = 8

        static func encryptECB(_ data: [UInt8], key: SecretBytes) throws(CryptoFailure) -> [UInt8] {
            try EVP.run(EVP_des_ede_ecb(), key: key, iv: [], data: data, encrypt: true)
        }

        /// Key check value: three bytes of eight zero bytes encrypted (ANSI X9.24-1).
        static func checkValue(_ key: SecretBytes) throws(CryptoFailure) -> [UInt8] {
            Array(try encryptECB([UInt8](repeating: 0, count: blockSize), key: key).prefix(3))
        }
    }

    /// The retail MAC: ISO/IEC 9797-1 algorithm 3 with DES and padding method 2, 8 bytes (EMV Book 2, A1.2.1).
    ///
    /// libcrypto's default provider has no single DES: the left half K runs as triple DES under K‖K.
    /// - Parameter key: 16 bytes.
    static func retailMAC(_ data: [UInt8], key: SecretBytes) throws(CryptoFailure) -> [UInt8] {
        let size = TripleDES.blockSize
        let padded = data + [0x80] + [UInt8](repeating: 0, count: size - 1 - data.count % size)
        let left = key.withBytes { SecretBytes(Array($0.prefix(size)) + Array($0.prefix(size))) }
        let zero = [UInt8](repeating: 0, count: size)
        let head = Array(padded.dropLast(size))
        let chained =
            head.isEmpty
            ? zero : Array(try EVP.run(EVP_des_ede_cbc(), key: left, iv: zero, data: head, encrypt: true).suffix(size))
        return try TripleDES.encryptECB(chained.xor(Array(padded.suffix(size))), key: key)
    }
}

/// One cipher pass over whole blocks.
private enum EVP {
    static func run(
        _ cipher: OpaquePointer?, key: SecretBytes, iv: [UInt8], data: [UInt8], encrypt: Bool
    ) throws(CryptoFailure) -> [UInt8] {
        guard let context = EVP_CIPHER_CTX_new() else { throw CryptoFailure(call: "EVP_CIPHER_CTX_new") }
        defer { EVP_CIPHER_CTX_free(context) }
        let size = Int(EVP_CIPHER_get_block_size(cipher))
        guard key.count == Int(EVP_CIPHER_get_key_length(cipher)), iv.count == Int(EVP_CIPHER_get_iv_length(cipher)),
            data.count % size == 0
        else { throw CryptoFailure(call: "EVP_CipherInit_ex2: a key, IV or data of the wrong length") }
        let started = key.withBytes { EVP_CipherInit_ex2(context, cipher, $0.baseAddress, iv, encrypt ? 1 : 0, nil) }
        guard started == 1 else { throw CryptoFailure(call: "EVP_CipherInit_ex2") }
        EVP_CIPHER_CTX_set_padding(context, 0)
        var output = [UInt8](repeating: 0, count: data.count + size)
        var written: Int32 = 0
        guard EVP_CipherUpdate(context, &output, &written, data, Int32(data.count)) == 1, Int(written) == data.count
        else {
            throw CryptoFailure(call: "EVP_CipherUpdate")
        }
        output.removeLast(size)
        return output
    }
}

/// Random bytes from libcrypto's generator, seeded by the kernel.
func randomBytes(_ count: Int) throws(CryptoFailure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    guard RAND_bytes(&bytes, Int32(count)) == 1 else { throw CryptoFailure(call: "RAND_bytes") }
    return bytes
}
