import CardData
import PaymentPorts

/// Puts texts on one gateway's screens in one language: whatever it makes fits.
struct USSDScreen {
    let texts: TelephoneTexts
    let language: TelephoneTexts.Language
    let limit: USSDLimit

    /// A merchant's name that would be shorter than this is shortened only when no shorter form of the text helps.
    private static let readableName = 12
    private static let ellipsis = ".."

    /// A text alone.
    /// - Throws: ``USSDTextError`` when a bank's own text has no form that fits.
    func text(_ key: TelephoneTexts.Key, _ values: [String: String] = [:]) throws -> USSDText {
        try fitting(texts.forms(key, language, values).map { form -> Form in { _ in form } })
    }

    /// A text about a payment. Only the merchant's name is ever shortened.
    /// - Parameter notice: what stands before it on lines of its own, in its forms.
    func text(_ key: TelephoneTexts.Key, about payment: OnlinePayment, after notice: [String]? = nil) throws -> USSDText
    {
        let mark = payment.isLive ? "" : texts.text(.test, language) + "\n"
        let heads = notice.map { $0.map { $0 + "\n" + mark } } ?? [mark]
        // The name last, and on its own, so that it stays what it is.
        var values = self.values(of: payment, name: "")
        values["merchant"] = nil
        let forms = texts.forms(key, language, values)
        let all = heads.lazy.flatMap { head in
            forms.map { form -> Form in { name in head + TelephoneTexts.filled(form, ["merchant": name]) } }
        }
        return try fitting(all, name: payment.merchantName)
    }

    /// - Parameter triesLeft: `nil` where that is not known.
    func wrongCode(triesLeft: Int?) -> [String] {
        guard let triesLeft else { return notice(.wrongCodeUncounted) }
        return Array(texts.forms(.wrongCode, language, ["tries": String(triesLeft)]))
    }

    func notice(_ key: TelephoneTexts.Key) -> [String] { Array(texts.forms(key, language)) }

    /// A heading and lines to choose from, as many as fit, at most seven; 8 for more of them, 0 to go back.
    /// - Returns: the screen, and how many of `lines` stand on it.
    func list(
        _ heading: TelephoneTexts.Key, _ lines: [String], leavesBy back: TelephoneTexts.Key = .back
    ) throws -> (screen: USSDText, count: Int) {
        try page(heading, lines) { shown in
            var body = shown.enumerated().map { "\($0 + 1) \($1)" }
            if shown.count < lines.count { body.append("8 " + texts.text(.more, language)) }
            return body + ["0 " + texts.text(back, language)]
        }
    }

    /// The first of `lines` to read, as many as fit, and 0 to go back.
    func reading(_ lines: [String]) throws -> USSDText {
        try page(.receipts, lines) { $0 + ["0 " + texts.text(.back, language)] }.screen
    }

    /// As many lines as fit. Where not even one does, with marks for letters that would cost the screen half its length.
    private func page(
        _ heading: TelephoneTexts.Key, _ lines: [String], _ body: (_ shown: [String]) -> [String]
    ) throws -> (screen: USSDText, count: Int) {
        func fits(_ shown: [String]) throws(USSDTextError) -> USSDText {
            let rest = body(shown)
            return try fitting(
                notice(heading).map { head -> Form in { _ in ([head] + rest).joined(separator: "\n") } })
        }
        let least = min(lines.count, 1)
        for count in stride(from: min(lines.count, 7), through: least, by: -1) {
            if let text = try? fits(Array(lines.prefix(count))) { return (text, count) }
        }
        return (try fits(lines.prefix(least).map { texts.plain($0, marksForeign: true) }), least)
    }

    /// One payment on one line of a list.
    func line(_ payment: OnlinePayment) -> String {
        let name = payment.merchantName
        var length = 0
        let start = name.prefix { character in
            length += character.utf16.count
            return length <= 18
        }
        let short = name.utf16.count > 20 ? start + Self.ellipsis : name[...]
        let line = texts.text(.line, language, values(of: payment, name: String(short)))
        return payment.isLive ? line : texts.text(.test, language) + " " + line
    }

    private func values(of payment: OnlinePayment, name: String) -> [String: String] {
        [
            "merchant": name, "amount": payment.amount.description,
            "reference": PaymentPrompt.reference(of: payment.id),
            "until": PaymentPrompt.time(payment.expiresAt),
        ]
    }

    private typealias Form = (_ name: String) -> String

    /// The first of `forms` that fits, as it stands or in plain letters; if none does, the first that fits with a shorter
    /// name, and at last with marks for letters of the name that would cost the screen half its length.
    private func fitting(
        _ forms: some BidirectionalCollection<Form>, name: String = ""
    ) throws(USSDTextError) -> USSDText {
        for shortest in [name.count, min(Self.readableName, name.count), min(1, name.count)] {
            for form in forms {
                if let text = longest(form, Array(name), downTo: shortest) { return text }
            }
        }
        let marked = Array(texts.plain(name, marksForeign: true))
        for form in forms {
            if let text = longest(form, marked, downTo: min(1, marked.count)) { return text }
        }
        let size = USSDText.size(of: texts.plain(forms.last?("") ?? ""))
        throw USSDTextError(
            length: size.length, limit: size.encoding == .gsm7 ? limit.septets : limit.units, encoding: size.encoding)
    }

    /// The form with as much of the name as fits, at least `shortest` characters; a shorter name never takes more room.
    private func longest(_ form: Form, _ name: [Character], downTo shortest: Int) -> USSDText? {
        func text(_ length: Int) -> USSDText? {
            let text = form(length < name.count ? String(name[..<length]) + Self.ellipsis : String(name))
            return (try? USSDText(text, limit: limit)) ?? (try? USSDText(texts.plain(text), limit: limit))
        }
        if let whole = text(name.count) { return whole }
        guard shortest < name.count, var best = text(shortest) else { return nil }
        // Between what fits and what does not.
        var range = shortest..<name.count
        while range.count > 1 {
            let middle = range.lowerBound + range.count / 2
            if let longer = text(middle) {
                best = longer
                range = middle..<range.upperBound
            } else {
                range = range.lowerBound..<middle
            }
        }
        return best
    }
}
