import ByteCoding
import CardData
import ECardTesting
import OOPA
import PaymentPorts
import Testing

/// The bank's books where a gateway brings prompts to telephones by itself: what is due when, and what is not any more.
@Suite struct PushedPromptTests {
    /// What is due now, by its way.
    private static func due(_ bank: TestBank, by channel: MessageChannel) async throws -> [String] {
        try await bank.database.messagesDue(at: bank.clock.now(), limit: 99, by: channel).map(\.message.reference)
    }

    @Test("The prompt is due at once, and the notice when the holder has not answered in time")
    func unanswered() async throws {
        let bank = try await TestBank(promptSeconds: 30)
        let id = try await bank.create().id
        #expect(try await Self.due(bank, by: .ussd) == [BankMessages.promptReference(id)])
        #expect(try await Self.due(bank, by: .sms) == [])
        #expect(try await Self.due(bank, by: .mail) == [])
        #expect(try await bank.database.messagesWaiting() == [.ussd: 1, .sms: 1])
        // A screen that nobody answers is none.
        _ = try await bank.show(id)
        bank.clock.turn(seconds: 29)
        #expect(try await Self.due(bank, by: .sms) == [])
        bank.clock.turn(seconds: 1)
        #expect(try await Self.due(bank, by: .sms) == [BankMessages.noticeReference(id)])
        try await bank.expectWhole()
    }

    @Test("Whoever has answered gets no notice: paid, refused, and a code that was wrong", arguments: ["p", "r", "w"])
    func answered(how: String) async throws {
        let bank = try await TestBank(promptSeconds: 30)
        let id = try await bank.create().id
        _ = try await bank.show(id)
        switch how {
        case "p": _ = try await bank.answer(id)
        case "r": _ = try await bank.holder.deny(id, on: "simulator", phone: TestBank.phone)
        default: _ = try await bank.answer(id, "000000")
        }
        bank.clock.turn(seconds: 60)
        #expect(try await Self.due(bank, by: .sms).filter { $0 == BankMessages.noticeReference(id) } == [])
        try await bank.expectWhole()
    }

    @Test("A notice is hastened once: not when it was given up, and not to a later time")
    func hastened() async throws {
        let bank = try await TestBank(promptSeconds: 30)
        let notice = BankMessages.noticeReference(try await bank.create().id)
        let now = bank.clock.now()
        try await bank.database.hasten(notice, to: now)
        try await bank.database.hasten(notice, to: now.adding(seconds: 20))
        #expect(try await Self.due(bank, by: .sms) == [notice])
        try await bank.database.messageFailed(notice, reason: "no such number", retryAt: nil, at: now)
        try await bank.database.hasten(notice, to: now)
        #expect(try await Self.due(bank, by: .sms) == [])
    }

    @Test("Beyond the cap of a card neither prompt nor notice leaves, and without a gateway there is no prompt")
    func capped() async throws {
        let caps = TestBank.noPatterns.replacing("notices-per-card: 1000000", with: "notices-per-card: 1")
        let bank = try await TestBank(patterns: caps, promptSeconds: 30)
        let first = try await bank.create().id
        _ = try await bank.create()
        bank.clock.turn(seconds: 30)
        #expect(try await Self.due(bank, by: .ussd) == [BankMessages.promptReference(first)])
        #expect(try await Self.due(bank, by: .sms) == [BankMessages.noticeReference(first)])

        let dialled = try await TestBank()
        let payment = try await dialled.create().id
        #expect(try await Self.due(dialled, by: .ussd) == [])
        #expect(try await Self.due(dialled, by: .sms) == [BankMessages.noticeReference(payment)])
    }

    @Test("For a card that leads to nobody, nothing leaves")
    func nobody() async throws {
        let bank = try await TestBank(promptSeconds: 30)
        _ = try await bank.create(pan: try PAN(issuer: "999999", account: "000000002"))
        bank.clock.turn(seconds: 60)
        #expect(try await bank.database.messagesWaiting() == [:])
    }

    @Test("A dialogue that was begun for one of several payments shows that one")
    func several() async throws {
        let bank = try await TestBank(promptSeconds: 30)
        _ = try await bank.create(10_00)
        let second = try await bank.create(20_00)
        let dialogue = bank.office.dialogue(try TelephoneTexts.standard.get())
        func begin(_ session: String, _ pushed: PaymentID?) async throws -> String {
            try await dialogue.respond(
                to: USSDRequest(
                    gateway: "simulator", session: session, phone: TestBank.phone, kind: .begin, text: SecretBytes([]),
                    sequence: 1, pushed: pushed)
            ).text.text
        }
        #expect(try await begin("s1", second.id).contains("GHS 20.00"))
        #expect(try await begin("s2", nil).contains("2"))
        #expect(try await !begin("s3", PaymentID.random()).contains("GHS"))
        #expect(try await bank.stands(second.id).prompt?.channel == "ussd:simulator")
    }
}
