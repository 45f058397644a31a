import FoundationEssentials
import PaymentPorts

/// Where a dialogue on a telephone stands: what is on its screen, so what its next input means. It holds no code.
struct DialoguePosition: Codable, Equatable {
    enum Place: Codable, Equatable {
        case menu
        /// Payments from the screen's first line on, and how many of them it shows.
        case payments([String], shown: Int)
        /// The payment whose prompt is shown.
        case prompt(String)
        case receipts
        /// Cards to block, in the same way.
        case cards([String], shown: Int)
        case confirmBlock(String)
        case languages
        /// Nothing is asked any more.
        case over
    }

    var place: Place
    var language: String
    /// The gateway's count of the last request taken, where it counts.
    var sequence: Int?
    /// Whether the last input did something that must not be done twice.
    var hasActed = false

    var bytes: [UInt8] {
        get throws { Array(try JSONEncoder().encode(self)) }
    }

    init(place: Place, language: String, sequence: Int?, hasActed: Bool = false) {
        self.place = place
        self.language = language
        self.sequence = sequence
        self.hasActed = hasActed
    }

    /// - Throws: when it was written by another version: the dialogue then begins again.
    init(bytes: [UInt8]) throws {
        self = try JSONDecoder().decode(DialoguePosition.self, from: Data(bytes))
    }
}

/// A screen and what its next input will mean.
struct DialogueScreen {
    let place: DialoguePosition.Place
    let text: USSDText
    var language: String?

    var continues: Bool { place != .over }

    init(_ place: DialoguePosition.Place, _ text: USSDText, language: String? = nil) {
        self.place = place
        self.text = text
        self.language = language
    }
}

/// An answer as a session keeps it, word for word; empty while its input is being acted on.
enum KeptAnswer {
    static func bytes(_ answer: USSDAnswer) -> [UInt8] {
        Array(((answer.continues ? "+" : "-") + answer.text.text).utf8)
    }

    static func answer(_ bytes: [UInt8], limit: USSDLimit) -> USSDAnswer? {
        guard let first = bytes.first,
            let text = try? USSDText(String(decoding: bytes.dropFirst(), as: UTF8.self), limit: limit)
        else { return nil }
        return USSDAnswer(text: text, continues: first == UInt8(ascii: "+"))
    }
}
