/// A name as embossed or typed, and how two of them are compared.
public struct CardholderName: Hashable, Sendable {
    public let text: String

    /// - Throws: ``CardDataError`` when empty, longer than 64 characters, or containing control characters.
    public init(_ text: some StringProtocol) throws(CardDataError) {
        let trimmed = String(text.split(separator: " ").joined(separator: " "))
        guard !trimmed.isEmpty, trimmed.count <= 64, trimmed.unicodeScalars.allSatisfy({ $0.value >= 0x20 }) else {
            throw CardDataError(.name, "1 to 64 printable characters wanted")
        }
        self.text = trimmed
    }

    /// Tag 5F20: 2 to 26 characters of the common character set, `SURNAME/GIVEN` as on a card. A name with no letter
    /// that has a Latin one is ` /`, as cards without a name have it (EMV Book 3, Annex A; ISO/IEC 7813).
    public var embossed: [UInt8] {
        var parts = folded.split(separator: " ")
        let surname = parts.popLast() ?? " "
        let text = parts.isEmpty ? "\(surname)/" : "\(surname)/\(parts.joined(separator: " "))"
        return Array(text.utf8.prefix(26))
    }

    /// Upper case, accents taken off, everything but letters and digits turned into single spaces.
    public var folded: String {
        let plain = text.uppercased().unicodeScalars.flatMap { scalar -> [Character] in
            Array(CardholderName.fold(scalar))
        }
        return String(plain).split(separator: " ").joined(separator: " ")
    }

    /// Whether both name the same person as issuers compare names: folded, order of the parts ignored, initials
    /// standing for the names they begin.
    public func matches(_ other: CardholderName) -> Bool {
        var rest = other.folded.split(separator: " ")
        let mine = folded.split(separator: " ")
        // Names of which folding leaves nothing would all be alike.
        guard !mine.isEmpty else { return text == other.text }
        guard mine.count == rest.count else { return false }
        for part in mine.sorted(by: { $0.count > $1.count }) {
            let found =
                rest.firstIndex(of: part)
                ?? rest.firstIndex { ($0.count == 1 || part.count == 1) && $0.first == part.first }
            guard let index = found else { return false }
            rest.remove(at: index)
        }
        return true
    }

    private static func fold(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "A"..."Z", "0"..."9": String(scalar)
        case "Ɛ": "E"
        case "Ɔ": "O"
        case "Ŋ": "N"
        case "Ø": "O"
        case "Æ": "AE"
        case "Œ": "OE"
        case "Ł": "L"
        case "Đ", "Ð": "D"
        case "Þ": "TH"
        case "'", "’", ".": ""
        default: decomposedBase(scalar)
        }
    }

    // The first scalar of a canonical decomposition without Foundation: comparing under canonical equivalence.
    private static func decomposedBase(_ scalar: Unicode.Scalar) -> String {
        if scalar.properties.generalCategory == .nonspacingMark { return "" }
        for base in baseLetters {
            for mark in combiningMarks where Character(String(base) + String(mark)) == Character(scalar) {
                return String(base)
            }
        }
        return " "
    }

    private static let baseLetters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ".unicodeScalars)
    private static let combiningMarks = (0x0300...0x0331).compactMap { Unicode.Scalar($0) }
}

extension CardholderName: CustomStringConvertible {
    public var description: String { text }
}
