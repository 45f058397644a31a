import CardData
import PaymentPorts
import Testing

@testable import OOPA

@Suite struct MessageTextTests {
    private func payment(_ language: String, merchant: String = "Makola Books", isLive: Bool = true) throws
        -> OnlinePayment
    {
        let now = Timestamp(milliseconds: 1_700_000_000_000)
        return OnlinePayment(
            id: PaymentID(rawValue: "pay_7FQ2ABCD0123WXYZ"), merchant: .random(), merchantName: merchant,
            isLive: isLive,
            amount: Money(minorUnits: 25_00, currency: try Currency("GHS")), capturesLater: false, reference: nil,
            details: nil, panMasked: "400000******6789",
            route: HolderRoute(
                phone: "+233201234567", card: nil, email: "ama@example.com", language: language, profiles: [.plain],
                phoneSince: now),
            state: .captured, reason: "", step: 4, prompt: nil, attempts: 1, sealedCode: nil, profile: .plain,
            capturedMinorUnits: 25_00, refundedMinorUnits: 0, createdAt: now, expiresAt: now.adding(seconds: 600),
            dueAt: nil, updatedAt: now)
    }

    @Test("Every text is there in English, French and Twi, with places that have values")
    func complete() throws {
        let texts = try MessageTexts.standard.get()
        #expect(texts.languages == ["en", "fr", "tw"])
        let values = ["merchant", "amount", "reference", "dial", "code"]
        for language in texts.languages {
            for key in MessageTexts.Key.allCases {
                let text = texts.text(key, in: language, Dictionary(uniqueKeysWithValues: values.map { ($0, "x") }))
                #expect(!text.isEmpty && !text.contains("{"), "\(language).\(key.rawValue): \(text)")
            }
            for key in [MessageTexts.Key.notice, .paid, .held, .returned] {
                for value in ["merchant", "amount", "reference"] {
                    #expect(texts.text(key, in: language).contains("{\(value)}"), "\(language).\(key.rawValue)")
                }
            }
        }
        #expect(texts.text(.paid, in: "xx") == texts.text(.paid, in: "en"))
    }

    @Test("A text that is missing, or that nobody writes, is told with its place")
    func faulty() {
        for (yaml, place) in [
            ("languages: []", "language"), ("languages: [{code: en, texts: {test: T}}]", "en.notice"),
            ("languages: [{code: en, texts: {tset: T}}]", "en.tset"), ("x", "messages.yaml"),
        ] {
            let error = #expect(throws: TelephoneTextsError.self) {
                try MessageTexts(yaml: yaml, file: "messages.yaml")
            }
            #expect(error.map { "\($0)".contains(place) } == true, "\(yaml)")
        }
    }

    @Test(
        "A receipt says the same by SMS and by mail, in the holder's language",
        arguments: [
            ("en", "Paid: GHS 25.00 to Makola Books", "Amount: GHS 25.00"),
            ("fr", "Payé : GHS 25.00 à Makola Books", "Montant: GHS 25.00"),
            ("tw", "Woatua GHS 25.00 ama Makola Books", "Sika dodo: GHS 25.00"),
        ])
    func receipts(language: String, sentence: String, row: String) throws {
        let payment = try payment(language)
        let messages = try BankMessages(serviceCode: #require(ServiceCode("*713#"))).receipts(
            payment, .captured, 25_00, at: Timestamp(milliseconds: 1_700_000_000_000))
        #expect(messages.map(\.recipient) == ["+233201234567", "ama@example.com"])
        #expect(messages[0].body == "\(sentence). Ref 7FQ2ABCD0123WXYZ")
        let lines = messages[1].body.split(separator: "\n").map { String($0) }
        #expect(lines.first == sentence && lines.contains(row) && lines.last?.contains("*713#") == true, "\(lines)")
        #expect(
            lines.contains { $0.hasSuffix(": 400000******6789") }
                && lines.contains { $0.hasSuffix(": 2023-11-14 22:13Z") })
        #expect(Set(messages.map(\.reference)).count == 2)
    }

    @Test("What a merchant is called stays in its place and on its line")
    func merchantName() throws {
        let payment = try payment("en", merchant: "A\n{amount}: <b>", isLive: false)
        let messages = try BankMessages().receipts(payment, .captured, 25_00, at: payment.createdAt)
        #expect(messages[0].body == "TEST Paid: GHS 25.00 to A {amount}: <b>. Ref 7FQ2ABCD0123WXYZ")
        #expect(messages[1].body.split(separator: "\n").count == 7)
        #expect(messages[1].body.contains("\nMerchant: A {amount}: <b>\n"))
    }

    @Test("What no telephone can dial is no service code")
    func serviceCodes() {
        for text in ["*920*55#", "*713#", "**1*2#", "#100#"] { #expect(ServiceCode(text)?.description == text) }
        for text in ["", "*#", "920", "*920", "*920*#", "920#", "*92a#", "*920#\n", "*１#", "*12345678901234567890#"] {
            #expect(ServiceCode(text) == nil, "\(text)")
        }
    }
}
