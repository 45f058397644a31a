import ByteCoding
import KeyCustody
import PaymentPorts

/// Codes between their making and their delivery: sealed under the delivery key, opened only inside the HSM.
enum MailerVault {
    /// IV (12) ‖ AES-256-GCM ciphertext ‖ tag (16), bound to mailer, card and version.
    static func seal(
        _ code: SecretBytes, as id: MailerID, for record: CodeRecord, lifetime: Int64, keyVersion: Int,
        in session: any KeySession
    ) throws(KeyStoreError) -> Mailer {
        let iv = try session.random(ivLength)
        let cipher = Cipher.aesGCM(iv: iv, additionalData: label(id, record.card, record.version))
        var clear = code.exposedCopy()
        defer { SecretBytes.wipe(&clear) }
        let sealed = iv + (try session.encrypt(clear, with: try session.key(.delivery, keyVersion), cipher))
        return Mailer(
            id: id, card: record.card, version: record.version, sealed: sealed, place: nil, sealedAt: record.issuedAt,
            expiresAt: record.issuedAt.adding(seconds: lifetime), keyVersion: keyVersion)
    }

    /// - Throws: `KeyStoreError` when it was changed or belongs to another card.
    static func open(_ mailer: Mailer, in session: any KeySession) throws(KeyStoreError) -> SecretBytes {
        let cipher = Cipher.aesGCM(
            iv: Array(mailer.sealed.prefix(ivLength)), additionalData: label(mailer.id, mailer.card, mailer.version))
        var clear = try session.decrypt(
            Array(mailer.sealed.dropFirst(ivLength)), with: try session.key(.delivery, mailer.keyVersion), cipher)
        return SecretBytes(wiping: &clear)
    }

    private static let ivLength = 12

    /// Identifiers have a fixed alphabet without zero bytes.
    private static func label(_ id: MailerID, _ card: CardID, _ version: Int) -> [UInt8] {
        Array("ecard mailer 1".utf8) + [0] + Array(id.rawValue.utf8) + [0] + Array(card.rawValue.utf8) + [0]
            + UInt32(truncatingIfNeeded: version).bigEndianBytes
    }
}
