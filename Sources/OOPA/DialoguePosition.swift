import PaymentPorts

/// Where a dialogue on a telephone stands: what is on its screen, so what its next input means. It holds no code.
struct DialoguePosition: Equatable {
    enum Place: Equatable {
        case menu
        /// Payments from the screen's first line on, and how many of them it shows.
        case payments([String], shown: Int)
        /// The payment whose prompt is shown.
        case prompt(String)
        case receipts
        /// Cards to block, in the same way.
        case cards([String], shown: Int)
        case confirmBlock(String)
        /// Payments to cancel, in the same way.
        case uncollected([String], shown: Int)
        case confirmCancel(String)
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

    init(place: Place, language: String, sequence: Int?, hasActed: Bool = false) {
        self.place = place
        self.language = language
        self.sequence = sequence
        self.hasActed = hasActed
    }
}

extension DialoguePosition.Place {
    /// The one payment that is shown.
    var payment: PaymentID? {
        switch self {
        case .prompt(let payment), .confirmCancel(let payment): PaymentID(rawValue: payment)
        default: nil
        }
    }
}

// MARK: As a session keeps it

extension DialoguePosition {
    /// Words with spaces between: the form's number, whether it acted, the sequence or `-`, the language, the place's name, and
    /// what belongs to the place. Identifiers and languages have no spaces.
    var bytes: [UInt8] {
        let head = [Self.form, hasActed ? "acted" : "shown", sequence.map(String.init) ?? "-", language]
        return Array((head + place.words).joined(separator: " ").utf8)
    }

    /// `nil` for what another version wrote: the dialogue then begins again.
    init?(bytes: [UInt8]) {
        let words = String(decoding: bytes, as: UTF8.self).split(separator: " ").map(String.init)
        guard words.count >= 5, words[0] == Self.form, ["acted", "shown"].contains(words[1]),
            let place = Place(words: words.dropFirst(4))
        else { return nil }
        let sequence = words[2] == "-" ? nil : Int(words[2])
        guard sequence != nil || words[2] == "-" else { return nil }
        self.init(place: place, language: words[3], sequence: sequence, hasActed: words[1] == "acted")
    }

    private static let form = "2"
}

extension DialoguePosition.Place {
    fileprivate var words: [String] {
        switch self {
        case .menu: ["menu"]
        case .payments(let payments, let shown): ["payments", String(shown)] + payments
        case .prompt(let payment): ["prompt", payment]
        case .receipts: ["receipts"]
        case .cards(let cards, let shown): ["cards", String(shown)] + cards
        case .confirmBlock(let card): ["block", card]
        case .uncollected(let payments, let shown): ["uncollected", String(shown)] + payments
        case .confirmCancel(let payment): ["cancel", payment]
        case .languages: ["languages"]
        case .over: ["over"]
        }
    }

    fileprivate init?(words: ArraySlice<String>) {
        let rest = Array(words.dropFirst())
        switch (words.first, rest.count) {
        case ("menu", 0): self = .menu
        case ("prompt", 1): self = .prompt(rest[0])
        case ("receipts", 0): self = .receipts
        case ("block", 1): self = .confirmBlock(rest[0])
        case ("cancel", 1): self = .confirmCancel(rest[0])
        case ("languages", 0): self = .languages
        case ("over", 0): self = .over
        case (let list?, 1...):
            guard let shown = Int(rest[0]), shown >= 0 else { return nil }
            let listed = Array(rest.dropFirst())
            switch list {
            case "payments": self = .payments(listed, shown: shown)
            case "cards": self = .cards(listed, shown: shown)
            case "uncollected": self = .uncollected(listed, shown: shown)
            default: return nil
            }
        default: return nil
        }
    }
}

/// A screen and what its next input will mean.
struct DialogueScreen {
    let place: DialoguePosition.Place
    let text: USSDText
    var language: String?
    /// Whether the session has it already, by the commit that showed it.
    var isKept = false

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
