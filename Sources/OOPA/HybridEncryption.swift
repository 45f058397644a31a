import ByteCoding
import Crypto
import Foundation
import KeyCustody

/// HPKE, hybrid public key encryption (RFC 9180), as far as a sealed code needs it: base mode, one message (6.1), with
/// HKDF-SHA256 and AES-128-GCM. swift-crypto's own takes no private key that is somewhere else: here the agreement is the
/// token's.
enum HybridEncryption {
    /// What was sealed does not open: it was changed, cut, made for another key or for another purpose.
    struct Refusal: Error {}

    /// Key encapsulation over P-256 (RFC 9180, 4.1). Both agree on the same secret; they differ in how a public key is
    /// written, and thereby in all that is derived.
    enum KEM: UInt16, CaseIterable {
        /// DHKEM(P-256, HKDF-SHA256): the point uncompressed, 65 bytes.
        case p256 = 0x0010
        /// DHKEM(CP-256, HKDF-SHA256): the x-coordinate alone, 32 bytes (draft-irtf-cfrg-dnhpke, 4.1). The secret is an
        /// x-coordinate too, which is the same for y and −y: so either y will do (RFC 6090, 4.2).
        case compactP256 = 0x0013

        /// Nenc and Npk.
        var length: Int {
            switch self {
            case .p256: 65
            case .compactP256: 32
            }
        }

        /// SerializePublicKey
        func bytes(_ key: P256PublicKey) -> [UInt8] {
            switch self {
            case .p256: key.point
            case .compactP256: key.x
            }
        }

        /// DeserializePublicKey, with the check that the point is on the curve.
        func publicKey(_ bytes: [UInt8]) -> P256PublicKey? {
            switch self {
            case .p256: P256PublicKey(point: bytes)
            case .compactP256: P256PublicKey(x: bytes)
            }
        }
    }

    /// Key and nonce of an AEAD (RFC 9180, 7.3).
    struct AEAD {
        let id: UInt16
        let keyLength: Int
        let nonceLength: Int

        static let aes128GCM = AEAD(id: 0x0001, keyLength: 16, nonceLength: 12)
        static let tagLength = 16
    }

    // MARK: One message

    /// SealBase
    /// - Returns: encapsulated key ‖ ciphertext ‖ tag.
    static func seal(
        _ message: SecretBytes, to recipient: P256PublicKey, _ kem: KEM, info: [UInt8], associatedData: [UInt8],
        ephemeral: P256.KeyAgreement.PrivateKey = .init(compactRepresentable: false)
    ) throws -> [UInt8] {
        let (sharedSecret, encapsulated) = try encapsulate(to: recipient, kem, ephemeral: ephemeral)
        let (key, nonce) = schedule(sharedSecret, kem, .aes128GCM, info: info)
        let box = try message.withBytes { bytes in
            try AES.GCM.seal(
                // Not copied: the message stays where it is wiped.
                bytes, using: key, nonce: AES.GCM.Nonce(data: nonce),
                authenticating: associatedData)
        }
        return encapsulated + box.ciphertext + box.tag
    }

    /// OpenBase
    /// - Parameters:
    ///   - sealed: encapsulated key ‖ ciphertext ‖ tag.
    ///   - agree: ECDH of the recipient's private key with this point.
    /// - Throws: ``Refusal``, or what `agree` throws.
    static func open(
        _ sealed: [UInt8], of recipient: P256PublicKey, _ kem: KEM, info: [UInt8], associatedData: [UInt8],
        agree: (P256PublicKey) throws -> SecretBytes
    ) throws -> SecretBytes {
        guard sealed.count >= kem.length + AEAD.tagLength else { throw Refusal() }
        let sharedSecret = try decapsulate(Array(sealed.prefix(kem.length)), of: recipient, kem, agree: agree)
        let (key, nonce) = schedule(sharedSecret, kem, .aes128GCM, info: info)
        let ciphertext = sealed[kem.length..<(sealed.count - AEAD.tagLength)]
        guard
            let box = try? AES.GCM.SealedBox(
                nonce: AES.GCM.Nonce(data: nonce), ciphertext: ciphertext, tag: sealed.suffix(AEAD.tagLength)),
            var clear = try? AES.GCM.open(box, using: key, authenticating: associatedData)
        else { throw Refusal() }
        defer { clear.resetBytes(in: clear.startIndex..<clear.endIndex) }
        return SecretBytes(clear)
    }

    // MARK: Key encapsulation (4.1)

    /// Encap
    static func encapsulate(
        to recipient: P256PublicKey, _ kem: KEM, ephemeral: P256.KeyAgreement.PrivateKey
    ) throws -> (sharedSecret: SymmetricKey, encapsulated: [UInt8]) {
        let other = try P256.KeyAgreement.PublicKey(x963Representation: recipient.point)
        guard let own = P256PublicKey(point: Array(ephemeral.publicKey.x963Representation)) else { throw Refusal() }
        let encapsulated = kem.bytes(own)
        let secret = try ephemeral.sharedSecretFromKeyAgreement(with: other).withUnsafeBytes {
            SecretBytes(Array($0))
        }
        return (extractAndExpand(secret, kem, encapsulated + kem.bytes(recipient)), encapsulated)
    }

    /// Decap
    static func decapsulate(
        _ encapsulated: [UInt8], of recipient: P256PublicKey, _ kem: KEM,
        agree: (P256PublicKey) throws -> SecretBytes
    ) throws -> SymmetricKey {
        guard let sender = kem.publicKey(encapsulated) else { throw Refusal() }
        return extractAndExpand(try agree(sender), kem, encapsulated + kem.bytes(recipient))
    }

    private static func extractAndExpand(_ secret: SecretBytes, _ kem: KEM, _ context: [UInt8]) -> SymmetricKey {
        let suite = Array("KEM".utf8) + kem.rawValue.bigEndianBytes
        let key = secret.withBytes { labeledExtract(suite, salt: [], "eae_prk", $0) }
        return labeledExpand(suite, key, "shared_secret", context, length: 32)
    }

    // MARK: Key schedule (5.1), base mode

    static func schedule(
        _ sharedSecret: SymmetricKey, _ kem: KEM, _ aead: AEAD, info: [UInt8]
    ) -> (key: SymmetricKey, nonce: [UInt8]) {
        // KDF 0x0001: HKDF-SHA256.
        let suite = Array("HPKE".utf8) + kem.rawValue.bigEndianBytes + [0x00, 0x01] + aead.id.bigEndianBytes
        let none = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
        let context =
            [0x00] + Array(labeledExtract(suite, salt: [], "psk_id_hash", none))
            + info.withUnsafeBufferPointer { Array(labeledExtract(suite, salt: [], "info_hash", $0)) }
        let secret = sharedSecret.withUnsafeBytes { labeledExtract(suite, salt: Array($0), "secret", none) }
        return (
            labeledExpand(suite, secret, "key", context, length: aead.keyLength),
            labeledExpand(suite, secret, "base_nonce", context, length: aead.nonceLength).withUnsafeBytes { Array($0) }
        )
    }

    // MARK: Labels (4)

    private static let version = Array("HPKE-v1".utf8)

    private static func labeledExtract(
        _ suite: [UInt8], salt: [UInt8], _ label: String, _ keyMaterial: UnsafeBufferPointer<UInt8>
    ) -> HashedAuthenticationCode<SHA256> {
        var labeled = version + suite + Array(label.utf8)
        // All at once: memory that was outgrown would keep the secret.
        labeled.reserveCapacity(labeled.count + keyMaterial.count)
        labeled.append(contentsOf: keyMaterial)
        defer { SecretBytes.wipe(&labeled) }
        return HKDF<SHA256>.extract(inputKeyMaterial: SymmetricKey(data: labeled), salt: salt)
    }

    private static func labeledExpand(
        _ suite: [UInt8], _ key: some ContiguousBytes, _ label: String, _ info: [UInt8], length: Int
    ) -> SymmetricKey {
        HKDF<SHA256>.expand(
            pseudoRandomKey: key,
            info: UInt16(truncatingIfNeeded: length).bigEndianBytes + version + suite + Array(label.utf8) + info,
            outputByteCount: length)
    }
}
