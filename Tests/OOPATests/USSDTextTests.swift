import CardData
import ECardTesting
import Foundation
import PaymentPorts
import Testing

@testable import OOPA

@Suite struct USSDTextTests {
    @Test(
        "A text is as long as its characters cost",
        arguments: [
            (String(repeating: "a", count: 182), USSDText.Encoding.gsm7, true),
            (String(repeating: "a", count: 183), .gsm7, false),
            (String(repeating: "€", count: 91), .gsm7, true),
            (String(repeating: "€", count: 91) + "a", .gsm7, false),
            (String(repeating: "ɛ", count: 80), .ucs2, true),
            (String(repeating: "ɛ", count: 81), .ucs2, false),
            (String(repeating: "a", count: 80) + "ɔ", .ucs2, false),
            // Beyond the first plane a character is two units.
            (String(repeating: "😀", count: 40), .ucs2, true),
            (String(repeating: "😀", count: 41), .ucs2, false),
            ("", .gsm7, true),
        ])
    func limits(text: String, encoding: USSDText.Encoding, fits: Bool) throws {
        let made = try? USSDText(text)
        #expect((made != nil) == fits)
        if let made {
            #expect(made.encoding == encoding && made.text == text && made.octets.count <= 160)
        } else {
            let error = #expect(throws: USSDTextError.self) { try USSDText(text) }
            #expect(error?.encoding == encoding)
        }
    }

    @Test("UCS-2 is UTF-16, big-endian")
    func ucs2() throws { #expect(try USSDText("Aɛ").octets == [0x00, 0x41, 0x02, 0x5B]) }

    @Test(
        "Numbers as gateways write them",
        arguments: [
            ("+233244000111", "+233244000111"), ("233244000111", "+233244000111"), ("00233244000111", "+233244000111"),
            (" 233 24-400 0111", "+233244000111"), ("0244000111", nil), ("+0244000111", nil), ("", nil), ("+", nil),
            ("2332440", nil), ("+1234567890123456", nil), ("23324400011a", nil), ("+٢٣٣٢٤٤٠٠٠١١١", nil),
        ])
    func numbers(given: String, wanted: String?) { #expect(MSISDN.normalized(given) == wanted) }
}

/// The texts of the resource on every screen there is.
@Suite struct TelephoneTextsTests {
    static let limits = [
        USSDLimit.network, USSDLimit(septets: 128, units: 56),
    ]

    static func payment(
        name: String, minorUnits: Int64 = 2500, currency: String = "GHS", isLive: Bool = true,
        id: PaymentID = PaymentID(rawValue: "pay_7FQ2ABCD0123WXYZ")
    ) throws -> OnlinePayment {
        let now = Timestamp(milliseconds: 1_795_271_700_000)
        return OnlinePayment(
            id: id, merchant: MerchantID(rawValue: "mer_0000000000000001"), merchantName: name, isLive: isLive,
            amount: Money(minorUnits: minorUnits, currency: try Currency(currency)), capturesLater: false,
            reference: nil,
            details: nil, panMasked: "993600******1234",
            route: HolderRoute(
                phone: "+233244000111", card: nil, email: nil, language: "en", profiles: [.plain, .sealed],
                phoneSince: now),
            state: .awaitingHolder, reason: "", step: 2, prompt: nil, attempts: 0, sealedCode: nil, profile: nil,
            capturedMinorUnits: 0, refundedMinorUnits: 0, createdAt: now, expiresAt: now.adding(seconds: 300),
            dueAt: nil, updatedAt: now)
    }

    @Test("A prompt on a screen of the network")
    func prompt() throws {
        let texts = try TelephoneTexts.standard.get()
        let screen = USSDScreen(texts: texts, language: texts.language("en"), limit: .network)
        let text = try screen.text(.prompt, about: try Self.payment(name: "Makola Books"))
        #expect(
            text.text
                == "Pay Makola Books\nGHS 25.00\nRef 7FQ2ABCD0123WXYZ\nUntil 2026-11-21 14:40Z\nCode to pay, 9 to refuse"
        )
        let test = try screen.text(.prompt, about: try Self.payment(name: "Makola Books", isLive: false))
        #expect(test.text == "TEST\n" + text.text)
    }

    @Test("However long or foreign a name is, amount, reference and time stay whole", arguments: limits)
    func promptsKeepWhatCounts(limit: USSDLimit) throws {
        var random = SeededGenerator()
        print("TelephoneTextsTests.promptsKeepWhatCounts: ECARD_TEST_SEED=\(random.seed)")
        let texts = try TelephoneTexts.standard.get()
        let alphabets = [
            "Makola BooksɛɔŊ", "Bücher & Söhne çêô", "漢字かな", "😀👨‍👩‍👧", "{amount}{}€[]", "a\u{301}e\n\u{202E}x",
        ]
        for round in 0..<1500 {
            let letters = Array(alphabets[round % alphabets.count])
            let name = String(
                (0...Int.random(in: 0...39, using: &random)).map { _ in letters.randomElement(using: &random)! })
            let payment = try Self.payment(
                name: name, minorUnits: Int64.random(in: 1...Money.maximumMinorUnits, using: &random),
                currency: ["GHS", "XOF", "BHD", "CLF"].randomElement(using: &random)!,
                isLive: Bool.random(using: &random), id: .random(using: &random))
            let language = texts.languages[round % texts.languages.count]
            let screen = USSDScreen(texts: texts, language: language, limit: limit)
            let notice = [nil, screen.wrongCode(triesLeft: 2), screen.notice(.notUnderstood)][round / 3 % 3]
            let text = try screen.text(.prompt, about: payment, after: notice)
            #expect(text.text.contains("\n\(payment.amount)\n"), "\(text)")
            let read = try #require(PaymentPrompt.parse(text.text), "\(text)")
            #expect(read.payment == payment.id && read.expiresAt == PaymentPrompt.shown(payment.expiresAt), "\(text)")
            #expect(text.octets.count <= 160)
            for key in [TelephoneTexts.Key.paid, .held, .declined, .refused, .review, .processing, .over] {
                let told = try screen.text(key, about: payment)
                #expect(told.text.contains(PaymentPrompt.reference(of: payment.id)), "\(told)")
            }
        }
    }

    @Test(
        "A text with an amount shows it in each of its forms, in every language, whatever the name", arguments: limits,
        [
            "Makola Books", String(repeating: "漢", count: 36), String(repeating: "€", count: 40),
            String(repeating: "[", count: 40), String(repeating: "ɛ", count: 40), String(repeating: "👨‍👩‍👧", count: 40),
        ])
    func amounts(limit: USSDLimit, name: String) throws {
        let texts = try TelephoneTexts.standard.get()
        for language in texts.languages {
            let keys = TelephoneTexts.Key.allCases.filter { key in
                texts.forms(key, language).contains { $0.contains("{amount}") }
            }
            let wanted: Set<TelephoneTexts.Key> = [
                .prompt, .line, .paid, .held, .declined, .refused, .confirmCancel, .cancelled,
            ]
            #expect(Set(keys) == wanted)
            let screen = USSDScreen(texts: texts, language: language, limit: limit)
            for minorUnits: Int64 in [1, 2500, 999_999_999, Money.maximumMinorUnits] {
                for isLive in [true, false] {
                    let payment = try Self.payment(name: name, minorUnits: minorUnits, isLive: isLive)
                    for key in keys where key != .line {
                        #expect(texts.forms(key, language).allSatisfy { $0.contains("{amount}") }, "\(key)")
                        let text = try screen.text(key, about: payment).text
                        #expect(text.contains("\(payment.amount)"), "\(key): \(text)")
                        #expect(text.contains(PaymentPrompt.reference(of: payment.id)), "\(key): \(text)")
                    }
                    let lines = Array(repeating: screen.line(payment), count: 9)
                    for count in [1, 9] {
                        let list = try screen.list(.choosePayment, Array(lines.prefix(count)))
                        #expect(list.count >= 1 && list.screen.text.contains("\(payment.amount)"), "\(list.screen)")
                        let read = try screen.reading(Array(lines.prefix(count)))
                        #expect(read.text.contains("\(payment.amount)"), "\(read)")
                    }
                }
            }
        }
    }

    @Test("Every text of every language fits on every screen", arguments: limits)
    func everyTextFits(limit: USSDLimit) throws {
        let texts = try TelephoneTexts.standard.get()
        #expect(texts.languages.map(\.code) == ["en", "fr", "tw"])
        let values = ["card": "993600******1234", "tries": "3", "count": "99"]
        for language in texts.languages {
            let screen = USSDScreen(texts: texts, language: language, limit: limit)
            for key in TelephoneTexts.Key.allCases {
                for form in texts.forms(key, language, values) where !form.contains("{") {
                    #expect(!texts.plain(form).isEmpty)
                }
                if !texts.text(key, language, values).contains("{") { _ = try screen.text(key, values) }
            }
            let payment = try Self.payment(name: String(repeating: "Ɛ", count: 40), minorUnits: Money.maximumMinorUnits)
            let lines = Array(repeating: screen.line(payment), count: 9)
            let list = try screen.list(.choosePayment, lines)
            #expect((1...7).contains(list.count) && list.screen.text.contains("\n8 "))
            #expect(try screen.list(.chooseCard, Array(repeating: "993600******1234", count: 3)).count == 3)
        }
    }

    @Test(
        "A file of texts that cannot be used says where",
        arguments: [
            ("menu: []\nplain: {}\nlanguages: []", "a language and a menu"),
            ("menu: [payments]\nplain: {}\nlanguages: [{code: en, name: English, texts: {}}]", "en.prompt: is missing"),
            ("menu: [dance]\nplain: {}\nlanguages: []", "my.yaml"),
            ("::", "my.yaml"),
        ])
    func badFiles(yaml: String, problem: String) {
        let error = #expect(throws: TelephoneTextsError.self) { try TelephoneTexts(yaml: yaml, file: "my.yaml") }
        #expect("\(error.map(String.init(describing:)) ?? "")".contains(problem))
    }

    @Test(
        "An expiry is shown to the minute, never later than it is",
        arguments: [
            (0, 0), (59_999, 0), (60_000, 60_000), (-1, -60_000),
        ] as [(Int64, Int64)])
    func shown(given: Int64, wanted: Int64) {
        #expect(PaymentPrompt.shown(Timestamp(milliseconds: given)) == Timestamp(milliseconds: wanted))
    }
}
