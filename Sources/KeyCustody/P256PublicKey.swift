public import ByteCoding
import Crypto
import Foundation

/// The public half of a P-256 key pair (NIST SP 800-186, 3.2.1.3: secp256r1): a point that was seen to lie on the curve and
/// not at infinity, as SP 800-56A revision 3, 5.6.2.3.4 asks before any use. The curve has no other points to be afraid of:
/// its cofactor is 1.
public struct P256PublicKey: Hashable, Sendable {
    /// Uncompressed: 04 ‖ x ‖ y, 65 bytes (SEC 1, 2.3.3).
    public let point: [UInt8]

    /// The x-coordinate alone, 32 bytes, big-endian: what both (x, y) and (x, −y) are known by (RFC 6090, 4.2).
    public var x: [UInt8] { Array(point[1..<33]) }
    /// The y-coordinate, 32 bytes, big-endian.
    public var y: [UInt8] { Array(point[33...]) }

    /// - Parameter point: 65 bytes that begin with 04.
    /// - Returns: `nil` for any other length or form, and for what is no point of the curve.
    public init?(point: [UInt8]) {
        guard point.count == 65, point[0] == 0x04,
            let key = try? P256.KeyAgreement.PublicKey(x963Representation: point)
        else { return nil }
        self.init(key.x963Representation)
    }

    /// One of the two points with this x-coordinate: the one with the even y.
    /// - Parameter x: 32 bytes.
    /// - Returns: `nil` when no point of the curve has it.
    public init?(x: [UInt8]) {
        guard x.count == 32, let key = try? P256.KeyAgreement.PublicKey(compressedRepresentation: [0x02] + x) else {
            return nil
        }
        self.init(key.x963Representation)
    }

    /// What belongs to a private key from outside.
    /// - Parameter privateKey: the scalar, 32 bytes big-endian, 1 to n − 1.
    public init?(privateKey: SecretBytes) {
        guard
            let key = privateKey.withBytes({ try? P256.KeyAgreement.PrivateKey(rawRepresentation: Data(buffer: $0)) })
        else { return nil }
        self.init(key.publicKey.x963Representation)
    }

    private init(_ x963: Data) { point = Array(x963) }

    /// Whether `signature` is this key's over the SHA-256 of `message`: ES256 (FIPS 186-5, 6.4.2; RFC 7518, 3.4).
    /// - Parameter signature: r ‖ s, 64 bytes; of another length it is not.
    public func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        guard let key = try? P256.Signing.PublicKey(x963Representation: point),
            let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature)
        else { return false }
        return key.isValidSignature(signature, for: message)
    }
}

extension KeySession {
    /// The public half of a key pair, after the private half has shown that it is its own: by an agreement with a key made
    /// here, or by a signature. A token keeps the public half as an object of its own, which whoever can write to the token
    /// could replace; what is sealed to a stranger's key is the stranger's.
    /// - Throws: ``KeyStoreError`` `.failed` when the two do not belong together; `.notPermitted` for a key that may neither
    ///   derive nor sign.
    public func provenPublicKey(of key: KeyHandle) throws(KeyStoreError) -> P256PublicKey {
        let claimed = try publicKey(of: key)
        let attributes = try attributes(of: key)
        let isProven: Bool
        if attributes.usage.contains(.derive) {
            let own = P256.KeyAgreement.PrivateKey(compactRepresentable: false)
            guard let peer = P256PublicKey(point: Array(own.publicKey.x963Representation)),
                let other = try? P256.KeyAgreement.PublicKey(x963Representation: claimed.point),
                let expected = try? own.sharedSecretFromKeyAgreement(with: other)
            else { throw Self.unproven(attributes.label) }
            let secret = try sharedSecret(of: key, with: peer)
            isProven = expected.withUnsafeBytes { SecretBytes(Array($0)) == secret }
        } else {
            isProven = claimed.verifies(try signature(of: claimed.point, with: key), of: claimed.point)
        }
        guard isProven else { throw Self.unproven(attributes.label) }
        return claimed
    }

    /// ES256 over `message`: the SHA-256 is computed here, since tokens need not know `CKM_ECDSA_SHA256`.
    /// - Returns: r ‖ s, 64 bytes.
    public func signature(of message: [UInt8], with key: KeyHandle) throws(KeyStoreError) -> [UInt8] {
        try signature(ofDigest: Array(SHA256.hash(data: message)), with: key)
    }

    private static func unproven(_ label: String) -> KeyStoreError {
        KeyStoreError(
            .failed, call: "prove a public key", key: label,
            advice: "The token's public key is not that of its private key: somebody replaced it. Restore the token "
                + "from its copy, or rotate the key")
    }
}
