import ByteCoding
import CardData

/// What a person or a card gives: the value or an error that does not repeat it, and the value reads back.
extension FuzzTarget {
    static let cardData = FuzzTarget("card-data", limit: 512) { bytes in
        var reader = ByteReader(bytes)
        let choice = reader.below(6)
        let input = reader.everything()
        let text = String(decoding: input, as: UTF8.self)
        switch choice {
        case 0: try checkPAN(text)
        case 1: if let pan = try? PAN(compressedNumeric: input) { try checkPAN(pan.digits) }
        case 2: try checkTrack2(input)
        case 3: try checkExpiry(text)
        case 4: try checkName(text)
        default: try checkMoney(text)
        }
    }

    private static func checkPAN(_ text: String) throws {
        let pan: PAN
        do throws(CardDataError) {
            pan = try PAN(text)
        } catch {
            return try require(text.utf8.count < 8 || !error.description.contains(text), "the error repeats the number")
        }
        try require(pan.digits == text, "the digits changed")
        try require((try? PAN(compressedNumeric: pan.compressedNumeric)) == pan, "tag 5A does not come back")
        for shown in ["\(pan)", String(reflecting: pan), "\(Mirror(reflecting: pan).children.map(\.value))"] {
            try require(!shown.contains(pan.digits), "the number prints in whole")
        }
    }

    private static func checkTrack2(_ bytes: [UInt8]) throws {
        guard let track = try? Track2(bytes) else { return }
        try require((try? Track2(track.encoded)) == track, "track 2 does not come back")
        try require(track.encoded.count <= 19, "track 2 of \(track.encoded.count) bytes, at most 19 can be")
        try require(!"\(track)".contains(track.pan.digits), "the number prints in whole")
    }

    private static func checkExpiry(_ text: String) throws {
        if let date = try? ExpiryDate(yymm: text) { try require(date.yymm == text, "\(text) became \(date.yymm)") }
        guard let date = try? ExpiryDate(typed: text) else { return }
        try require((try? ExpiryDate(typed: date.printed)) == date, "\(date.printed) does not come back")
        try require((try? ExpiryDate(yymm: date.yymm)) == date, "\(date.yymm) does not come back")
        try require(
            BCD.digits(date.applicationExpirationDate)?.hasPrefix(date.yymm) == true, "tag 5F24 is another month")
    }

    private static func checkName(_ text: String) throws {
        // Two names with a line between them, to compare.
        let names = text.split(separator: "\n", maxSplits: 1).compactMap { try? CardholderName($0) }
        for name in names {
            try require((try? CardholderName(name.text)) == name, "the name does not come back")
            try require(name.text.utf8.count <= 256, "a name of \(name.text.utf8.count) bytes")
            try require((2...26).contains(name.embossed.count), "tag 5F20 of \(name.embossed.count) bytes")
            try require(name.embossed.allSatisfy { (0x20...0x7E).contains($0) }, "tag 5F20 has other characters")
            try require(name.matches(name), "a name is not like itself")
            if let folded = try? CardholderName(name.folded) {
                try require(folded.folded == name.folded, "folding twice gives another name")
            }
        }
        guard names.count == 2 else { return }
        try require(names[0].matches(names[1]) == names[1].matches(names[0]), "A is like B, and B not like A")
    }

    private static func checkMoney(_ text: String) throws {
        let parts = text.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, let currency = try? Currency(parts[0]) else { return }
        try require((try? Currency(numeric: currency.numeric)) == currency, "\(currency): the number is another's")
        guard let money = try? Money(payment: parts[1], currency: currency) else { return }
        try require((1...Money.maximumMinorUnits).contains(money.minorUnits), "\(money) is no payment")
        try require((try? Money(payment: money.decimal, currency: currency)) == money, "\(money) does not come back")
    }
}
