/// Binary-coded decimal: one digit a nibble (EMV Book 3, 4.3, formats `n` and `cn`).
public enum BCD {
    /// Format `n`: right-justified, padded with leading zeros to `length` bytes.
    /// - Returns: `nil` when `digits` has a character that is no digit, or more than `2 × length` digits.
    @inlinable
    public static func numeric(_ digits: some StringProtocol, length: Int) -> [UInt8]? {
        numeric(ascii: digits.utf8, length: length)
    }

    /// Format `n` of digits in ASCII.
    @inlinable
    public static func numeric(ascii digits: some Collection<UInt8>, length: Int) -> [UInt8]? {
        var place = 2 * length - digits.count
        guard place >= 0 else { return nil }
        // `[UInt8](repeating:count:)` asks the runtime for metadata each time (docs/performance.md).
        var bytes = Array(repeatElement(UInt8(0), count: length))
        for digit in digits {
            guard isDigit(digit) else { return nil }
            bytes[place / 2] |= (digit - UInt8(ascii: "0")) << (place % 2 == 0 ? 4 : 0)
            place += 1
        }
        return bytes
    }

    /// Format `n` of a number.
    /// - Returns: `nil` when the number is negative or does not fit `length` bytes.
    public static func numeric(_ number: Int64, length: Int) -> [UInt8]? {
        number < 0 ? nil : numeric(String(number), length: length)
    }

    /// Format `cn`: left-justified, padded with trailing `F` to whole bytes (or to `length` bytes if given).
    public static func compressed(_ digits: some StringProtocol, length: Int? = nil) -> [UInt8]? {
        guard digits.utf8.allSatisfy(isDigit) else { return nil }
        let nibbles = length.map { 2 * $0 } ?? (digits.utf8.count + 1) / 2 * 2
        guard digits.utf8.count <= nibbles else { return nil }
        return [UInt8](hex: digits + String(repeating: "F", count: nibbles - digits.utf8.count))
    }

    /// The digits of `bytes`, trailing `F` padding removed.
    /// - Returns: `nil` when a nibble before the padding is no decimal digit.
    public static func digits(_ bytes: some Collection<UInt8>) -> String? {
        var text = ""
        var padding = false
        for byte in bytes {
            for nibble in [byte >> 4, byte & 0x0F] {
                if nibble == 0x0F { padding = true; continue }
                guard !padding, nibble <= 9 else { return nil }
                text.append(Character(Unicode.Scalar(UInt8(ascii: "0") + nibble)))
            }
        }
        return text
    }

    /// The number in `bytes`, format `n`.
    /// - Returns: `nil` when a nibble is no decimal digit or the number is beyond `Int64`.
    public static func number(_ bytes: some Collection<UInt8>) -> Int64? {
        guard !bytes.isEmpty else { return nil }
        var number: Int64 = 0
        for byte in bytes {
            let (high, low) = (byte >> 4, byte & 0x0F)
            guard high <= 9, low <= 9 else { return nil }
            let (hundreds, overflow) = number.multipliedReportingOverflow(by: 100)
            let (sum, tooLarge) = hundreds.addingReportingOverflow(Int64(10 * high + low))
            guard !overflow, !tooLarge else { return nil }
            number = sum
        }
        return number
    }

    @usableFromInline
    static func isDigit(_ character: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character) }
}
