/// A telephone number as gateways write it, made E.164.
public enum MSISDN {
    /// Takes `+233244000111`, `233244000111` and `00233244000111`, with spaces or hyphens in between. A number without
    /// its country (`0244000111`) is nobody's: two countries could mean two people by it.
    /// - Returns: `+` and 8 to 15 digits (ITU-T E.164, 6.2.1), or `nil`.
    public static func normalized(_ text: some StringProtocol) -> String? {
        guard text.utf8.count <= 32 else { return nil }
        var digits = text.utf8.filter { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "-") }
        if digits.first == UInt8(ascii: "+") {
            digits.removeFirst()
        } else if digits.starts(with: "00".utf8) {
            digits.removeFirst(2)
        }
        guard (8...15).contains(digits.count), digits.first != UInt8(ascii: "0"),
            digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return "+" + String(decoding: digits, as: UTF8.self)
    }
}
