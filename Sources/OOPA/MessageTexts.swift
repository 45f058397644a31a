import Yams

/// What is written to people, as data: `Resources/messages.yaml`.
public struct MessageTexts: Sendable {
    /// Each of them is there in every language.
    public enum Key: String, CaseIterable, Sendable {
        case test, notice
        case oneTimeCode = "one-time-code"
        case held, paid, returned
        case heldSubject = "held-subject"
        case paidSubject = "paid-subject"
        case returnedSubject = "returned-subject"
        case mailEnd = "mail-end"
        case receipt, merchant, amount, captured, refunded, card, time, reference, order, details, status
        case statusAuthorized = "status-authorized"
        case statusCaptured = "status-captured"
        case statusRefunded = "status-refunded"
        case testPayment = "test-payment"
    }

    /// By their codes, in the file's order.
    public let languages: [String]
    private let texts: [String: [Key: String]]

    /// Of the room's own resource.
    public static let standard = Result<MessageTexts, any Error> {
        try MessageTexts(yaml: String(decoding: PackageResources.messages_yaml, as: UTF8.self), file: "messages.yaml")
    }

    /// - Throws: ``TelephoneTextsError`` with the language and the text that is missing or that nobody asks for.
    init(yaml: String, file: String) throws {
        let source: Source
        do {
            source = try YAMLDecoder().decode(Source.self, from: yaml)
        } catch {
            throw TelephoneTextsError(place: file, problem: "\(error)")
        }
        guard !source.languages.isEmpty else { throw TelephoneTextsError(place: file, problem: "a language wanted") }
        var texts: [String: [Key: String]] = [:]
        for language in source.languages {
            let unknown = Set(language.texts.keys).subtracting(Key.allCases.map(\.rawValue)).sorted()
            guard unknown.isEmpty else {
                throw TelephoneTextsError(
                    place: "\(file): \(language.code).\(unknown[0])", problem: "nobody writes a text of that name")
            }
            texts[language.code] = try Dictionary(
                uniqueKeysWithValues: Key.allCases.map { key in
                    guard let text = language.texts[key.rawValue], !text.isEmpty else {
                        throw TelephoneTextsError(
                            place: "\(file): \(language.code).\(key.rawValue)", problem: "is missing")
                    }
                    return (key, text)
                })
        }
        languages = source.languages.map(\.code)
        self.texts = texts
    }

    /// A text with its values put in; in the first language there is for one that nobody wrote.
    public func text(_ key: Key, in language: String, _ values: [String: String] = [:]) -> String {
        TelephoneTexts.filled((texts[language] ?? texts[languages[0]])?[key] ?? "", values)
    }

    private struct Source: Decodable {
        let languages: [Entry]

        struct Entry: Decodable {
            let code: String
            let texts: [String: String]
        }
    }
}
