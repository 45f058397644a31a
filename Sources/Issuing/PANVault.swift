public import CardData
public import KeyCustody
public import PaymentPorts

/// PANs at rest: sealed under the PAN key, found by an HMAC, opened only inside a session's batch.
public enum PANVault {
    /// HMAC-SHA-256 of the PAN's digits under a version of the PAN index key: 32 bytes.
    public static func index(
        of pan: PAN, keyVersion: Int, in session: any KeySession
    ) throws(KeyStoreError) -> [UInt8] {
        try session.sign(Array(pan.digits.utf8), with: try session.key(.panIndex, keyVersion), .hmacSHA256)
    }

    /// IV (12) ‖ AES-256-GCM ciphertext ‖ tag (16), bound to the card's identifier.
    public static func seal(
        _ pan: PAN, for card: CardID, keyVersion: Int, in session: any KeySession
    ) throws(KeyStoreError) -> [UInt8] {
        let iv = try session.random(ivLength)
        let cipher = Cipher.aesGCM(iv: iv, additionalData: Array(card.rawValue.utf8))
        return iv + (try session.encrypt(Array(pan.digits.utf8), with: try session.key(.pan, keyVersion), cipher))
    }

    /// The PAN in `sealed`.
    /// - Throws: `KeyStoreError` when it was changed or belongs to another card.
    public static func open(
        _ sealed: [UInt8], for card: CardID, keyVersion: Int, in session: any KeySession
    ) throws(KeyStoreError) -> PAN {
        let cipher = Cipher.aesGCM(
            iv: Array(sealed.prefix(ivLength)), additionalData: Array(card.rawValue.utf8))
        let key = try session.key(.pan, keyVersion)
        let digits: [UInt8]
        do throws(KeyStoreError) {
            digits = try session.decrypt(Array(sealed.dropFirst(ivLength)), with: key, cipher)
        } catch {
            throw error.kind == .invalidCiphertext ? damaged(card, keyVersion, error.call, error.code) : error
        }
        do {
            return try PAN(String(decoding: digits, as: UTF8.self))
        } catch {
            throw damaged(card, keyVersion, "what it opened to is no PAN", "")
        }
    }

    private static func damaged(_ card: CardID, _ keyVersion: Int, _ call: String, _ code: String) -> KeyStoreError {
        KeyStoreError(
            .invalidCiphertext, call: "the sealed PAN of \(card), \(call)", code: code,
            key: IssuerKey.pan.label(keyVersion),
            advice: "The ledger's record is damaged: run 'ecard ledger verify'")
    }

    /// The PAN of a card.
    public static func pan(of card: Card, in session: any KeySession) throws(KeyStoreError) -> PAN {
        try open(card.panSealed, for: card.id, keyVersion: card.keys.pan, in: session)
    }

    private static let ivLength = 12
}
