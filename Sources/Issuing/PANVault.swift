public import CardData
public import KeyCustody
public import PaymentPorts

/// PANs at rest: sealed under the PAN key, found by an HMAC, opened only inside a session's batch.
public enum PANVault {
    /// HMAC-SHA-256 of the PAN's digits under the PAN index key: 32 bytes.
    public static func index(of pan: PAN, in session: any KeySession) throws(KeyStoreError) -> [UInt8] {
        try session.sign(Array(pan.digits.utf8), with: try session.key(.panIndex), .hmacSHA256)
    }

    /// IV (12) ‖ AES-256-GCM ciphertext ‖ tag (16), bound to the card's identifier.
    public static func seal(_ pan: PAN, for card: CardID, in session: any KeySession) throws(KeyStoreError) -> [UInt8] {
        let iv = try session.random(ivLength)
        let cipher = Cipher.aesGCM(iv: iv, additionalData: Array(card.rawValue.utf8))
        return iv + (try session.encrypt(Array(pan.digits.utf8), with: try session.key(.pan), cipher))
    }

    /// The PAN in `sealed`.
    /// - Throws: `KeyStoreError` when it was changed or belongs to another card.
    public static func open(
        _ sealed: [UInt8], for card: CardID, in session: any KeySession
    ) throws(KeyStoreError) -> PAN {
        let cipher = Cipher.aesGCM(
            iv: Array(sealed.prefix(ivLength)), additionalData: Array(card.rawValue.utf8))
        let digits = try session.decrypt(Array(sealed.dropFirst(ivLength)), with: try session.key(.pan), cipher)
        do {
            return try PAN(String(decoding: digits, as: UTF8.self))
        } catch {
            throw KeyStoreError(
                .invalidCiphertext, call: "opening the PAN of \(card)", key: IssuerKey.pan.label,
                advice: "The ledger's record is damaged: run 'ecard ledger verify'")
        }
    }

    private static let ivLength = 12
}
