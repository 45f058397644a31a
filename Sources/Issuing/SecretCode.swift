import ByteCoding
import KeyCustody
import PaymentPorts

/// The code that takes the place of a printed CVV: 3 to 8 decimal digits only the holder knows.
///
/// Of a code the issuer keeps an HMAC-SHA-256 under the code key, over a random salt, the card and the version: a stolen
/// table is worthless without the HSM, and a hash cannot be moved to another card or an older version.
public enum SecretCode {
    /// Digits a code may have.
    public static let lengths = 3...8
    /// Digits of a code unless told otherwise.
    public static let defaultLength = 6
    /// Wrong attempts that lock a code unless told otherwise.
    public static let defaultFailureLimit = 3

    static let saltLength = 16
    static let digestLength = 32

    /// Random digits, each equally likely, from the store's generator.
    static func random(digits count: Int, in session: any KeySession) throws(KeyStoreError) -> SecretBytes {
        var digits = try session.randomDigits(count)
        return SecretBytes(wiping: &digits)
    }

    /// The keyed hash of `code`.
    /// - Parameter keyVersion: of the code key.
    static func digest(
        of code: SecretBytes, card: CardID, version: Int, salt: [UInt8], keyVersion: Int, in session: any KeySession
    ) throws(KeyStoreError) -> [UInt8] {
        var input = message(code, card: card, version: version, salt: salt)
        defer { SecretBytes.wipe(&input) }
        return try session.sign(input, with: try session.key(.code, keyVersion), .hmacSHA256)
    }

    /// Whether `code` is the one of `record`.
    static func verify(_ code: SecretBytes, against record: CodeRecord, in session: any KeySession)
        throws(KeyStoreError)
        -> Bool
    {
        try Check(code, against: record).isRight(in: session)
    }

    /// A code beside the record that it is compared with. Everything that the HSM is given is written here, by one thread:
    /// what came from the database would be read slower by the HSM's than what was made for nobody.
    final class Check: @unchecked Sendable {
        // @unchecked, and not watched by the runtime: written in init and deinit alone.
        @exclusivity(unchecked) private var input: [UInt8]
        private let digest: [UInt8]
        private let label: String

        init(_ code: SecretBytes, against record: CodeRecord) {
            input = SecretCode.message(code, card: record.card, version: record.version, salt: record.salt)
            digest = record.digest.withUnsafeBufferPointer { Array($0) }
            label = IssuerKey.code.label(record.keyVersion)
        }

        deinit { SecretBytes.wipe(&input) }

        /// Whether it is the code; compared inside the HSM.
        func isRight(in session: any KeySession) throws(KeyStoreError) -> Bool {
            try session.verify(digest, of: input, with: try session.key(label), .hmacSHA256)
        }
    }

    /// Where there is nothing to compare with, the same work with the same result as a wrong code: a record no code fits,
    /// since its digest is no HMAC of anything with more than negligible probability.
    static func nobody(keyVersion: Int) -> CodeRecord {
        CodeRecord(
            card: CardID(rawValue: "card_0000000000000000"), version: 1, salt: [UInt8](repeating: 0, count: saltLength),
            digest: [UInt8](repeating: 0, count: digestLength), digits: defaultLength, state: .active, failures: 0,
            failureLimit: defaultFailureLimit, expiresAt: nil, issuedAt: Timestamp(milliseconds: 0),
            keyVersion: keyVersion)
    }

    /// `ecard code 1` ‖ card ‖ 0 ‖ version (4) ‖ salt (16) ‖ code. The identifier has a fixed alphabet without zero bytes.
    private static func message(_ code: SecretBytes, card: CardID, version: Int, salt: [UInt8]) -> [UInt8] {
        let length = label.utf8.count + card.rawValue.utf8.count + 1 + 4 + salt.count + code.count
        var message: [UInt8] = []
        // All of it at once: memory that was outgrown would keep the code.
        message.reserveCapacity(length)
        message += label.utf8
        message += card.rawValue.utf8
        message.append(0)
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: version).bigEndian) { message += $0 }
        message += salt
        code.withBytes { message += $0 }
        return message
    }

    private static let label = "ecard code 1"
}

extension KeySession {
    /// ASCII decimal digits, each equally likely, from the store's generator.
    func randomDigits(_ count: Int) throws(KeyStoreError) -> [UInt8] {
        var digits: [UInt8] = []
        while digits.count < count {
            // 250 is the largest multiple of ten in a byte: what lies above would favour low digits.
            for byte in try random(2 * count) where byte < 250 && digits.count < count {
                digits.append(0x30 + byte % 10)
            }
        }
        return digits
    }
}
