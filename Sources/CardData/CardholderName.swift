/// A name as embossed or typed, and how two of them are compared.
public struct CardholderName: Hashable, Sendable {
    public let text: String

    /// - Throws: ``CardDataError`` when empty, longer than 64 characters, or with a character that is not printed: a
    ///   control character, a line separator, or one that changes the direction of writing.
    public init(_ text: some StringProtocol) throws(CardDataError) {
        // What a ledger gives back is mostly plain already.
        let plain = text.utf8
        if (1...64).contains(plain.count), Self.isPlain(plain) {
            self.text = String(text)
            return
        }
        let trimmed = String(text.split(separator: " ").joined(separator: " "))
        guard !trimmed.isEmpty, trimmed.count <= 64, trimmed.unicodeScalars.allSatisfy(CardholderName.isPrinted) else {
            throw CardDataError(.name, "1 to 64 printable characters wanted")
        }
        self.text = trimmed
    }

    /// Printed ASCII characters, spaces only between others and one at a time.
    private static func isPlain(_ bytes: some Sequence<UInt8>) -> Bool {
        var last: UInt8 = 0x20
        for byte in bytes {
            guard (0x20...0x7E).contains(byte), byte != 0x20 || last != 0x20 else { return false }
            last = byte
        }
        return last != 0x20
    }

    private static func isPrinted(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator, .surrogate: false
        default: !scalar.properties.isBidiControl
        }
    }

    /// Tag 5F20: 2 to 26 characters of the common character set, `SURNAME/GIVEN` as on a card; ` /` for a name that
    /// has none of them.
    public var embossed: [UInt8] {
        var parts = folded.split(separator: " ").map { $0.utf8.filter { $0 < 0x80 } }.filter { !$0.isEmpty }
        guard let surname = parts.popLast() else { return Array(" /".utf8) }
        return Array((surname + Array("/".utf8) + parts.joined(separator: Array(" ".utf8))).prefix(26))
    }

    /// Upper case, accents taken off, letters of the Latin alphabet beyond A–Z spelled with it; everything but letters
    /// and digits turned into single spaces. Letters of other alphabets stay.
    public var folded: String {
        let plain = text.uppercased().unicodeScalars.map { CardholderName.fold($0) }.joined()
        return plain.split(separator: " ").joined(separator: " ")
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
        case "Ɛ", "Ə": "E"
        case "Ɔ", "Ø": "O"
        case "Ŋ": "N"
        case "Ɓ": "B"
        case "Ƒ": "F"
        case "Ɣ": "G"
        case "Ƙ": "K"
        case "Ʋ": "V"
        case "Ƴ": "Y"
        case "Æ": "AE"
        case "Œ": "OE"
        case "Ł": "L"
        case "Đ", "Ð", "Ɖ", "Ɗ": "D"
        case "Þ": "TH"
        case "'", "’", "‘", "ʼ", "ʻ", ".": ""
        default: spelled(scalar)
        }
    }

    private static func spelled(_ scalar: Unicode.Scalar) -> String {
        if let base = baseOf[Character(scalar)] { return base }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark: return ""
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .otherLetter, .modifierLetter, .decimalNumber:
            return String(scalar)
        default: return " "
        }
    }

    /// The letter under every letter with one mark, and with the second one that Vietnamese and Yoruba have. Characters
    /// are equal when canonically equivalent, so composing finds what decomposing would.
    private static let baseOf: [Character: String] = {
        let marks = (0x0300...0x0331).compactMap { Unicode.Scalar($0) }
        let second = [0x0300, 0x0301, 0x0303, 0x0304, 0x0309, 0x0323].compactMap { Unicode.Scalar($0) }
        let first: Set<UInt32> = [0x0302, 0x0304, 0x0306, 0x0308, 0x031B, 0x0323]
        var table: [Character: String] = [:]
        for base in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" {
            for mark in marks {
                let marked = String(base) + String(mark)
                table[Character(marked)] = String(base)
                for other in second where first.contains(mark.value) {
                    table[Character(marked + String(other))] = String(base)
                }
            }
        }
        return table
    }()
}

extension CardholderName: CustomStringConvertible {
    public var description: String { text }
}
