import ByteCoding
public import CardData
import Crypto
public import KeyCustody

/// A card's own key, derived from an issuer master key (IMK) inside the HSM (EMV 4.4 Book 2, Annex A1.4).
///
/// The IMK needs the usage `derive` and nothing else. The key that comes out is a session object; the caller destroys
/// it (`KeySession.using`).
public enum CardMasterKey {
    /// The two ways from PAN and PAN sequence number to sixteen bytes.
    public enum Option: String, Sendable, CaseIterable {
        /// A1.4.1: the rightmost sixteen digits of PAN ‖ PAN sequence number.
        case a = "A"
        /// A1.4.2: for PANs of more than sixteen digits, their SHA-1 made decimal; the same as ``a`` for shorter ones.
        case b = "B"
    }

    /// For authorization: session keys are derived from it, and nothing else is done with it.
    public static let authorization = KeyTemplate(.des2, [.derive])

    /// For personalization: it leaves the HSM wrapped under the card's own key-encryption key, and is good for
    /// nothing else.
    public static let personalization = KeyTemplate(.des2, [], extractable: true)

    /// Derives a card's key.
    /// - Parameters:
    ///   - issuerKey: IMK-AC, IMK-SMI or IMK-SMC, a two-key or three-key DES key.
    ///   - sequenceNumber: tag 5F34, 0 to 99; 0 where the card has none.
    ///   - template: what the new key may do: ``authorization`` or ``personalization``.
    public static func derive(
        from issuerKey: KeyHandle, pan: PAN, sequenceNumber: Int, option: Option = .a,
        as template: KeyTemplate = authorization, in session: any KeySession
    ) throws(KeyStoreError) -> KeyHandle {
        let data = try diversificationData(pan: pan, sequenceNumber: sequenceNumber, option: option)
        return try session.derive(template, from: issuerKey, by: .des3ECBEncrypt(data))
    }

    /// The sixteen bytes that are encrypted under the IMK: Y ‖ (Y ⊕ FF…FF).
    /// - Throws: `.invalidArgument` when the sequence number is not 0 to 99.
    public static func diversificationData(
        pan: PAN, sequenceNumber: Int, option: Option
    ) throws(KeyStoreError) -> [UInt8] {
        try diversificationData(digits: pan.digits, sequenceNumber: sequenceNumber, option: option)
    }

    /// The same for digits that are no PAN: published vectors fail Luhn.
    static func diversificationData(
        digits: String, sequenceNumber: Int, option: Option
    ) throws(KeyStoreError) -> [UInt8] {
        guard (0...99).contains(sequenceNumber) else {
            throw KeyStoreError(
                .invalidArgument, call: "card master key derivation",
                advice: "The PAN sequence number is \(sequenceNumber); tag 5F34 holds 0 to 99.")
        }
        var all: [UInt8] = []
        all.reserveCapacity(digits.utf8.count + 2)
        all += digits.utf8
        all.append(UInt8(ascii: "0") + UInt8(sequenceNumber / 10))
        all.append(UInt8(ascii: "0") + UInt8(sequenceNumber % 10))
        let y =
            option == .b && digits.utf8.count > 16
            ? decimalizedHash(all) : BCD.numeric(ascii: all.suffix(16), length: 8)
        guard let y else {
            throw KeyStoreError(
                .invalidArgument, call: "card master key derivation", advice: "A PAN holds decimal digits only.")
        }
        return y + y.map { $0 ^ 0xFF }
    }

    /// The sixteen digits that SHA-1 over the packed digits gives: its decimal nibbles from the left, then its
    /// letters as 0–5 (A1.4.2, steps 1 to 3).
    private static func decimalizedHash(_ digits: [UInt8]) -> [UInt8]? {
        guard let packed = BCD.numeric(ascii: digits, length: (digits.count + 1) / 2) else { return nil }
        let hash = Array(Insecure.SHA1.hash(data: packed))
        return BCD.numeric(CardValueInput.decimalize(hash, digits: 16), length: 8)
    }
}
