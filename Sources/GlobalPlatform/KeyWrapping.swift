public import KeyCustody

/// Card keys encrypted under a card's K-DEK, inside the HSM (Amendment D v1.2, 6.2.8 and 7.2).
public enum KeyWrapping {
    /// Keys for one encrypted data grouping of STORE DATA, as DGI 8000.
    ///
    /// The first key is wrapped with a zero IV and each next one with the last block of the one before: the result is
    /// byte for byte the AES-CBC of the keys' concatenation, without padding.
    /// - Parameters:
    ///   - keys: extractable 16-byte keys: two-key triple DES or AES-128.
    ///   - dataEncryptionKey: K-DEK, from ``StaticKeys/key(_:in:)``.
    /// - Returns: 16 bytes a key.
    public static func wrapForStoreData(
        keys: [KeyHandle], under dataEncryptionKey: KeyHandle, in session: any KeySession
    ) throws -> [UInt8] {
        try keys.reduce(into: []) { wrapped, key in
            let iv = wrapped.isEmpty ? zeroBlock : Array(wrapped.suffix(16))
            wrapped += try wrap(key, under: dataEncryptionKey, iv: iv, in: session)
        }
    }

    /// A key for PUT KEY, where every key begins at a zero IV.
    /// - Returns: 16 bytes.
    public static func wrapForPutKey(
        _ key: KeyHandle, under dataEncryptionKey: KeyHandle, in session: any KeySession
    ) throws -> [UInt8] {
        try wrap(key, under: dataEncryptionKey, iv: zeroBlock, in: session)
    }

    private static let zeroBlock = [UInt8](repeating: 0, count: 16)

    private static func wrap(
        _ key: KeyHandle, under wrappingKey: KeyHandle, iv: [UInt8], in session: any KeySession
    ) throws -> [UInt8] {
        let type = try session.attributes(of: key).type
        // Longer keys would be more than one block each, and 24 bytes are no whole number of blocks.
        guard type == .des2 || type == .aes(bytes: 16) else {
            throw GlobalPlatformError(
                .keyNotWrappable, "\(type), only 16-byte keys go under a card's K-DEK",
                advice: "Give the card a two-key triple DES or AES-128 key.")
        }
        let wrapped = try session.wrap(key, under: wrappingKey, .aesCBC(iv: iv))
        guard wrapped.count == 16 else {
            throw GlobalPlatformError(
                .keyNotWrappable, "the token wrapped a 16-byte key to \(wrapped.count) bytes",
                advice: "The token pads CKM_AES_CBC: run the preflight.")
        }
        return wrapped
    }
}
