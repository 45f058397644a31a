import ByteCoding
import PaymentPorts
import Yams

/// What telephones show, as data: `Resources/telephone.yaml`, or a file of the bank's own.
public struct TelephoneTexts: Sendable {
    /// Each of them is there in every language.
    enum Key: String, CaseIterable {
        case prompt, test
        case wrongCode = "wrong-code"
        case wrongCodeUncounted = "wrong-code-uncounted"
        case notUnderstood = "not-understood"
        case menu, payments, receipts, block, language, cancel
        case choosePayment = "choose-payment"
        case chooseCard = "choose-card"
        case chooseLanguage = "choose-language"
        case line, more, back, leave, nothing
        case paid, held, declined, refused, review, processing, over
        case inDoubt = "in-doubt"
        case confirmBlock = "confirm-block"
        case confirmCancel = "confirm-cancel"
        case cancelled
        case blocked
        case noCard = "no-card"
        case tooMany = "too-many"
        case forbidden
        case unavailable, bye
    }

    /// What the menu offers.
    enum Offer: String, Decodable, CaseIterable {
        case payments, receipts, block, language, cancel

        var label: Key {
            switch self {
            case .payments: .payments
            case .receipts: .receipts
            case .block: .block
            case .language: .language
            case .cancel: .cancel
            }
        }
    }

    struct Language: Sendable {
        let code: String
        /// Of itself: `Français`.
        let name: String
        /// The longest form first.
        fileprivate let texts: [Key: [String]]
    }

    let menu: [Offer]
    let languages: [Language]
    private let plain: [Unicode.Scalar: String]

    /// Of the room's own resource.
    public static let standard = Result {
        try TelephoneTexts(
            yaml: String(decoding: PackageResources.telephone_yaml, as: UTF8.self), file: "telephone.yaml")
    }

    /// - Throws: ``TelephoneTextsError`` with the language and the text that is missing, has an unknown place for a value,
    ///   or is too long for the shortest screen.
    public init(yaml: String, file: String) throws {
        let source: Source
        do {
            source = try YAMLDecoder().decode(Source.self, from: yaml)
        } catch {
            throw TelephoneTextsError(place: file, problem: "\(error)")
        }
        guard !source.languages.isEmpty, (1...7).contains(source.menu.count) else {
            throw TelephoneTextsError(place: file, problem: "a language and a menu of 1 to 7 lines wanted")
        }
        menu = source.menu
        plain = Dictionary(
            source.plain.compactMap { from, to in from.unicodeScalars.first.map { ($0, to) } },
            uniquingKeysWith: { first, _ in first })
        languages = try source.languages.map { language in
            var texts: [Key: [String]] = [:]
            for key in Key.allCases {
                guard let forms = language.texts[key.rawValue]?.forms, !forms.isEmpty else {
                    throw TelephoneTextsError(place: "\(file): \(language.code).\(key.rawValue)", problem: "is missing")
                }
                texts[key] = forms
            }
            let unknown = Set(language.texts.keys).subtracting(Key.allCases.map(\.rawValue)).sorted()
            guard unknown.isEmpty else {
                throw TelephoneTextsError(
                    place: "\(file): \(language.code).\(unknown[0])", problem: "nobody shows a text of that name")
            }
            return Language(code: language.code, name: language.name, texts: texts)
        }
    }

    /// Those that there are: `en`, `fr`, `tw`.
    public var codes: [String] { languages.map(\.code) }

    /// The language of this code; the first there is for one that nobody wrote.
    func language(_ code: String) -> Language { languages.first { $0.code == code } ?? languages[0] }

    /// Every form of a text, with its values put in when it is asked for.
    func forms(
        _ key: Key, _ language: Language, _ values: [String: String] = [:]
    ) -> LazyMapCollection<[String], String> {
        (language.texts[key] ?? []).lazy.map { Self.filled($0, values) }
    }

    /// In one pass, so that a value with braces stays what it is. Places without a value stay.
    static func filled(_ form: String, _ values: [String: String]) -> String {
        var text = ""
        var rest = form[...]
        while let open = rest.utf8.firstIndex(of: UInt8(ascii: "{")),
            let close = rest.utf8[open...].firstIndex(of: UInt8(ascii: "}"))
        {
            text += rest[..<open]
            text += values[String(rest[rest.utf8.index(after: open)..<close])].map(shown) ?? String(rest[open...close])
            rest = rest[rest.utf8.index(after: close)...]
        }
        return text + rest
    }

    /// The first form, where length does not matter yet.
    func text(_ key: Key, _ language: Language, _ values: [String: String] = [:]) -> String {
        forms(key, language, values)[0]
    }

    /// Written in the GSM alphabet as far as ``plain`` knows how; accents that follow their letters go.
    /// - Parameter marksForeign: puts a question mark for every letter beyond that.
    func plain(_ text: String, marksForeign: Bool = false) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if let replacement = plain[scalar] {
                result += replacement
            } else if GSM7.septets(of: scalar) != nil {
                result.unicodeScalars.append(scalar)
            } else if !("\u{300}"..."\u{36F}").contains(scalar) {
                result.unicodeScalars.append(marksForeign ? "?" : scalar)
            }
        }
        return result
    }

    /// What another party wrote stays on its line and writes in one direction.
    private static func shown(_ value: String) -> String {
        if value.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) { return value }
        return String(
            String.UnicodeScalarView(
                value.unicodeScalars.map { scalar in
                    switch scalar.properties.generalCategory {
                    case .control, .lineSeparator, .paragraphSeparator, .format: " "
                    default: scalar
                    }
                }))
    }

    private struct Source: Decodable {
        let menu: [Offer]
        let plain: [String: String]
        let languages: [Entry]

        struct Entry: Decodable {
            let code: String
            let name: String
            let texts: [String: Forms]
        }

        struct Forms: Decodable {
            let forms: [String]

            init(from decoder: any Decoder) throws {
                let value = try decoder.singleValueContainer()
                if let one = try? value.decode(String.self) {
                    forms = [one]
                } else {
                    forms = try value.decode([String].self)
                }
            }
        }
    }
}

/// Where a bank's texts cannot be used.
public struct TelephoneTextsError: Error, Hashable, Sendable, CustomStringConvertible {
    public let place: String
    public let problem: String

    public var description: String { "\(place): \(problem). Mend the file; docs/oopa.md has what it holds" }
}
