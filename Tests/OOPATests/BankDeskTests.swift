import ByteCoding
import CardData
import Crypto
import ECardTesting
import KeyCustody
import PaymentPorts
import Testing

@testable import OOPA

@Suite("The bank's desks") struct BankDeskTests {
    @Test("A payment is asked, answered, debited once, told to the merchant and receipted")
    func whole() async throws {
        let bank = try await TestBank()
        try await bank.database.add(
            WebhookEndpoint(
                id: .random(), merchant: bank.merchant.id, isLive: true, url: "https://shop.example/",
                sealedSecret: [1],
                createdAt: bank.clock.now()))
        let created = try await bank.create()
        #expect(created.state == .prompting)
        let notices = try await bank.database.messagesDue(at: bank.clock.now(), limit: 9).map(\.message)
        #expect(notices.map(\.recipient) == [TestBank.phone])
        #expect(
            notices.first?.body.contains("GHS 25.00") == true && notices.first?.body.contains("Makola Books") == true)
        #expect(try await bank.holder.pending(phone: TestBank.phone).map(\.id) == [created.id])
        _ = try await bank.show(created.id)
        guard case .paid(let paid) = try await bank.answer(created.id) else {
            Issue.record("not paid: \(try await bank.stands(created.id))")
            return
        }
        #expect(paid.state == .captured && paid.capturedMinorUnits == 25_00 && paid.sealedCode == nil)
        #expect(try await bank.funds() == [975_00, 0])
        #expect(try await bank.owed() == 25_00)
        let events = try await bank.database.eventsDue(at: bank.clock.now(), limit: 9)
        #expect(events.map(\.type) == ["payment.captured"])
        let messages = try await bank.database.messagesDue(at: bank.clock.now(), limit: 9).map(\.message.kind)
        #expect(messages == [.receipt], "a notice that did not leave has no point any more")
        let steps = try await bank.database.steps(of: paid.id)
        #expect(steps.map(\.state) == [.created, .prompting, .awaitingHolder, .checking, .captured])
        #expect(steps.map(\.role) == [.merchant, .bank, .bank, .holder, .issuer])
        let signed = try #require(try await bank.database.evidence(of: paid.id))
        let key = try await bank.keys.withSession { try $0.publicKey(of: $0.key(.evidence, 1)) }
        let record = try Evidence.verify(signed, with: key)
        #expect(record.answer == .approved && record.profile == .plain && record.tries == 1)
        #expect(record.prompt?.text == "Pay \(paid.id)?")
        try await bank.expectWhole()
    }

    @Test("A code sealed in the handset is passed on as it is, for its prompt alone")
    func profileB() async throws {
        let bank = try await TestBank()
        let payment = try await bank.shown()
        let prompt = try #require(payment.prompt)
        let key = try #require(try await bank.issuer.sealingKeys().first)
        func sealed(for text: String) throws -> [UInt8] {
            try CodeSealing.seal(
                SecretBytes(Array(TestBank.code.utf8)), to: key, form: .compact,
                context: CodeContext(
                    payment: payment.id, promptDigest: Array(SHA256.hash(data: Array(text.utf8))),
                    phone: TestBank.phone,
                    expiresAt: PaymentPrompt.shown(payment.expiresAt)))
        }
        func answer(_ code: [UInt8]) async throws -> HolderAnswer {
            try await bank.holder.answer(payment.id, with: .sealed(code), on: "simulator", phone: TestBank.phone)
        }
        guard case .wrongCode = try await answer(sealed(for: prompt.text + " ")) else {
            Issue.record("a code for another prompt was taken")
            return
        }
        guard case .paid(let paid) = try await answer(sealed(for: prompt.text)) else {
            Issue.record("not paid")
            return
        }
        #expect(paid.profile == .sealed && paid.attempts == 2)
        try await bank.expectWhole()
    }

    @Test("A wrong code gives the tries left, and the last one declines")
    func wrongCodes() async throws {
        let bank = try await TestBank()
        let payment = try await bank.shown()
        for left in [2, 1] {
            guard case .wrongCode(let tries) = try await bank.answer(payment.id, "000000") else {
                Issue.record("no wrong code")
                return
            }
            #expect(tries == left)
            #expect(try await bank.stands(payment.id).state == .awaitingHolder)
            #expect(try await bank.stands(payment.id).sealedCode == nil)
        }
        guard case .declined(let declined) = try await bank.answer(payment.id, "000000") else {
            Issue.record("not declined")
            return
        }
        #expect(declined.attempts == 3)
        guard case .over = try await bank.answer(payment.id) else {
            Issue.record("a code after the end was looked at")
            return
        }
        #expect(await bank.model.checkedCodes == 3)
        try await bank.expectWhole()
    }

    @Test("A code is looked at neither after the time, nor after a refusal, nor from another telephone, nor twice")
    func lateCodes() async throws {
        let bank = try await TestBank()
        let late = try await bank.shown()
        bank.clock.turn(seconds: 600)
        let refused = try await bank.shown()
        #expect(try await bank.holder.deny(refused.id, on: "simulator", phone: TestBank.phone).state == .denied)
        for id in [late.id, refused.id] {
            guard case .over = try await bank.answer(id) else {
                Issue.record("a code that came too late was looked at")
                return
            }
        }
        let other = try await bank.shown()
        await #expect(throws: DeskError.self) {
            try await bank.holder.answer(
                other.id, with: .digits(SecretBytes(Array(TestBank.code.utf8))), on: "simulator", phone: "+233200000000"
            )
        }
        #expect(await bank.model.checkedCodes == 0)
        _ = try await bank.answer(other.id)
        guard case .over = try await bank.answer(other.id) else {
            Issue.record("a second answer was looked at")
            return
        }
        #expect(await bank.model.checkedCodes == 1)
        try await bank.settle()
        #expect(try await bank.stands(late.id).state == .expired)
        try await bank.expectWhole()
    }

    @Test("Of two sessions that answer one payment at once one is looked at", arguments: 0..<10)
    func twoSessions(_ round: Int) async throws {
        let bank = try await TestBank()
        let payment = try await bank.shown()
        async let first = bank.answer(payment.id)
        async let second = bank.answer(payment.id)
        let answers = try await [first, second]
        let paid = answers.filter { if case .paid = $0 { true } else { false } }
        #expect(paid.count <= 1)
        #expect(try await bank.stands(payment.id).state == .captured)
        #expect(await bank.model.checkedCodes == 1)
        #expect(try await bank.funds() == [975_00, 0])
        try await bank.expectWhole()
    }

    @Test(
        "Cancelling races with the verdict: one wins, the other is told, and no money is lost",
        arguments: [PaymentRole.merchant, .holder], 0..<20)
    func cancelAgainstVerdict(_ role: PaymentRole, _ round: Int) async throws {
        let bank = try await TestBank()
        let payment = try await bank.shown(later: round.isMultiple(of: 2))
        async let answer = bank.answer(payment.id)
        async let cancelled: OnlinePayment? = {
            if role == .holder {
                let after = try await bank.holder.deny(payment.id, on: "simulator", phone: TestBank.phone)
                return after.state == .captured ? nil : after
            }
            do { return try await bank.desk.cancel(payment.id, for: bank.merchant, isLive: true) } catch let error
                as DeskError
            {
                #expect(error.kind == .conflict)
                return nil
            }
        }()
        _ = try await (answer, cancelled)
        let stands = try await bank.stands(payment.id)
        if try await cancelled != nil {
            #expect(([.cancelled, .voided] + (role == .holder ? [.denied] : [])).contains(stands.state))
            try await bank.settle(rounds: 2)
            #expect(try await bank.funds() == [1_000_00, 0])
        } else {
            #expect(stands.state == .captured)
            #expect(try await bank.funds() == [975_00, 0])
        }
        try await bank.expectWhole()
    }

    @Test("Capture races with giving the hold back: one wins and no money is lost", arguments: 0..<20)
    func captureAgainstVoid(_ round: Int) async throws {
        let bank = try await TestBank()
        let payment = try await bank.paid(later: true)
        #expect(payment.state == .authorized)
        #expect(try await bank.funds() == [1_000_00, 25_00])
        async let captured: OnlinePayment? = try? bank.desk.capture(
            payment.id, minorUnits: nil, for: bank.merchant, isLive: true)
        async let voided = bank.holder.deny(payment.id, on: "simulator", phone: TestBank.phone)
        _ = try await (captured, voided)
        try await bank.settle(rounds: 3)
        let stands = try await bank.stands(payment.id)
        if await captured != nil {
            #expect(stands.state == .captured)
            #expect(try await bank.funds() == [975_00, 0])
        } else {
            #expect(stands.state == .voided)
            #expect(try await bank.funds() == [1_000_00, 0])
        }
        try await bank.expectWhole()
    }

    @Test("Refunds that are asked for at once are all booked, each with its receipt")
    func refundsAtOnce() async throws {
        let bank = try await TestBank()
        let id = try await bank.paid().id
        try await withThrowingTaskGroup(of: Int64.self) { group in
            for number in 0..<8 {
                group.addTask {
                    try await bank.desk.refund(
                        id, minorUnits: 1_00, key: "r\(number)", for: bank.merchant, isLive: true
                    ).refundedMinorUnits
                }
            }
            // Each is told what was returned in all, itself at least.
            for try await returned in group { #expect(returned >= 1_00) }
        }
        #expect(try await bank.stands(id).refundedMinorUnits == 8_00)
        #expect(try await bank.funds() == [983_00, 0])
        #expect(try await bank.owed() == 17_00)
        try await bank.expectWhole()
    }

    @Test("A hold is captured in part, returned in parts, and never beyond")
    func money() async throws {
        let bank = try await TestBank()
        let id = try await bank.paid(later: true).id
        func refund(_ amount: Int64?, _ key: String) async throws -> OnlinePayment {
            try await bank.desk.refund(id, minorUnits: amount, key: key, for: bank.merchant, isLive: true)
        }
        await #expect(throws: DeskError.self) { try await refund(1, "early") }
        await #expect(throws: DeskError.self) {
            try await bank.desk.capture(id, minorUnits: 25_01, for: bank.merchant, isLive: true)
        }
        for _ in 0..<2 {
            let captured = try await bank.desk.capture(id, minorUnits: 20_00, for: bank.merchant, isLive: true)
            #expect(captured.capturedMinorUnits == 20_00)
        }
        await #expect(throws: DeskError.self) {
            try await bank.desk.capture(id, minorUnits: 21_00, for: bank.merchant, isLive: true)
        }
        for _ in 0..<2 { #expect(try await refund(5_00, "a").refundedMinorUnits == 5_00) }
        #expect(try await refund(5_00, "b").refundedMinorUnits == 10_00)
        let tooMuch = await #expect(throws: DeskError.self) { try await refund(10_01, "c") }
        #expect(tooMuch?.kind == .invalid && tooMuch?.advice.contains("1000 are left") == true)
        #expect(try await refund(nil, "d").state == .refunded)
        for amount in [nil, 1, 20_00] as [Int64?] {
            let late = await #expect(throws: DeskError.self) { try await refund(amount, "e") }
            #expect(late?.kind == .conflict && late?.advice.contains("whole") == true)
        }
        // A repeat is answered, whatever is left.
        #expect(try await refund(5_00, "b").state == .refunded)
        #expect(try await bank.funds() == [1_000_00, 0])
        #expect(try await bank.owed() == 0)
        await #expect(throws: DeskError.self) {
            try await bank.desk.cancel(id, for: bank.merchant, isLive: true)
        }
        try await bank.expectWhole()
    }

    @Test("Another merchant's payment, and one of the other mode, is not there")
    func foreign() async throws {
        let bank = try await TestBank()
        let id = try await bank.paid().id
        #expect(try await bank.desk.payment(id, for: bank.merchant, isLive: false) == nil)
        let other = try await BankSample(in: bank.database).merchant
        #expect(try await bank.desk.payment(id, for: other, isLive: true) == nil)
        await #expect(throws: DeskError.self) {
            try await bank.desk.refund(id, minorUnits: 1, key: "a", for: other, isLive: true)
        }
        await #expect(throws: DeskError.self, "not verified") {
            try await bank.desk.create(bank.order(), for: other, isLive: true, remembering: nil)
        }
        let test = try await bank.desk.create(bank.order(), for: other, isLive: false, remembering: nil)
        #expect(!test.isLive)
        let notices = try await bank.database.messagesDue(at: bank.clock.now(), limit: 9).map(\.message.body)
        #expect(notices.last?.hasPrefix("TEST ") == true)
    }

    @Test("A hold that nobody captures ends at the bank and at the issuer")
    func holdEnds() async throws {
        let bank = try await TestBank()
        let id = try await bank.paid(later: true).id
        try await bank.settle(seconds: 86_400, rounds: 6)
        #expect(try await bank.stands(id).state == .authorized)
        try await bank.settle(seconds: 86_400, rounds: 2)
        #expect(try await bank.stands(id).state == .expired)
        #expect(try await bank.funds() == [1_000_00, 0])
        #expect(await bank.model.inquire(id).state == .reversed)
        try await bank.expectWhole()
    }
}
