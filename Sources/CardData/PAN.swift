import ByteCoding

/// Why a value a person or a card gave is refused. The text never repeats the value.
public struct CardDataError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Field: String, Sendable {
        case pan = "PAN", expiry, serviceCode = "service code", track2 = "track 2", amount, currency, name
    }

    public let field: Field
    public let reason: String

    public init(_ field: Field, _ reason: String) {
        self.field = field
        self.reason = reason
    }

    public var description: String { "\(field.rawValue): \(reason)" }
}

/// A primary account number: 12 to 19 digits that pass Luhn (ISO/IEC 7812-1).
///
/// Printing shows the first six and last four digits (PCI DSS 3.4.1); ``digits`` is the named way to the rest.
public struct PAN: Hashable, Sendable {
    /// The whole number. For the HSM, the chip and the payment message only.
    public let digits: String

    /// - Throws: ``CardDataError`` when the length is not 12 to 19, a character is no digit, or the check digit fails.
    public init(_ digits: some StringProtocol) throws(CardDataError) {
        guard (12...19).contains(digits.utf8.count) else {
            throw CardDataError(.pan, "\(digits.utf8.count) characters, 12 to 19 digits wanted")
        }
        guard digits.utf8.allSatisfy(isDigit) else { throw CardDataError(.pan, "a character that is no digit") }
        guard PAN.luhnSum(String(digits).utf8) % 10 == 0 else {
            throw CardDataError(.pan, "the check digit (Luhn) is wrong: a digit was mistyped")
        }
        self.digits = String(digits)
    }

    /// The number that `prefix` and `account` make with the check digit computed.
    /// - Parameters:
    ///   - prefix: the issuer identification number, 6 or 8 digits.
    ///   - account: the digits between prefix and check digit.
    public init(issuer prefix: String, account: String) throws(CardDataError) {
        let body = prefix + account
        guard body.utf8.allSatisfy(isDigit) else { throw CardDataError(.pan, "a character that is no digit") }
        let sum = PAN.luhnSum((body + "0").utf8)
        try self.init(body + String((10 - sum % 10) % 10))
    }

    /// The first six digits.
    public var issuerIdentification: String { String(digits.prefix(6)) }

    /// First six and last four digits, the rest `*`.
    public var masked: String {
        digits.prefix(6) + String(repeating: "*", count: digits.utf8.count - 10) + digits.suffix(4)
    }

    /// The number as it stands in tag 5A: compressed numeric, padded with `F` to whole bytes.
    public var compressedNumeric: [UInt8] { BCD.compressed(digits) ?? [] }

    /// From tag 5A.
    public init(compressedNumeric bytes: some Collection<UInt8>) throws(CardDataError) {
        guard let digits = BCD.digits(bytes) else { throw CardDataError(.pan, "a nibble that is no digit") }
        try self.init(digits)
    }

    /// The sum of the digits, every second one from the right doubled (ISO/IEC 7812-1, Annex B).
    static func luhnSum(_ digits: some BidirectionalCollection<UInt8>) -> Int {
        var sum = 0
        for (index, character) in digits.reversed().enumerated() {
            let digit = Int(character) - 0x30
            let doubled = index % 2 == 1 ? 2 * digit : digit
            sum += doubled > 9 ? doubled - 9 : doubled
        }
        return sum
    }
}

/// Whether an ASCII character is `0` to `9`. `Int(_:)` would take a sign, too.
func isDigit(_ character: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character) }

extension PAN: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { masked }
    public var debugDescription: String { masked }
    public var customMirror: Mirror { Mirror(self, children: ["masked": masked]) }
}
