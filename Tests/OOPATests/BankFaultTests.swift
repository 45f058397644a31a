import ByteCoding
import CardData
import ECardTesting
import PaymentPorts
import Synchronization
import Testing

@testable import OOPA

@Suite("The bank when the issuer does not answer, or the clock is wrong") struct BankFaultTests {
    @Test(
        "A verdict in doubt is inquired for, and then booked once",
        arguments: [FlakyIssuer.Fault.lostCall, .lostAnswer], [false, true])
    func inDoubt(_ fault: FlakyIssuer.Fault, later: Bool) async throws {
        let bank = try await TestBank()
        let payment = try await bank.shown(later: later)
        // The bank knows the key it seals to from an earlier payment.
        _ = try await bank.office.sealingKeys.newest()
        bank.issuer.fail { fault }
        guard case .processing = try await bank.answer(payment.id) else {
            Issue.record("an answer that was lost was taken for one")
            return
        }
        #expect(try await bank.stands(payment.id).state == .checking)
        try await bank.settle(seconds: 5, rounds: 3)
        #expect(try await bank.stands(payment.id).state == .checking)
        bank.issuer.fail { nil }
        try await bank.settle(seconds: 5, rounds: 2)
        #expect(try await bank.stands(payment.id).state == (later ? .authorized : .captured))
        #expect(try await bank.funds() == (later ? [1_000_00, 25_00] : [975_00, 0]))
        #expect(try await bank.database.evidence(of: payment.id) != nil)
        #expect(await bank.model.checkedCodes == 1)
        try await bank.expectWhole()
    }

    @Test("A code is sealed to the key of before while the issuer does not answer")
    func keyOfBefore() async throws {
        let bank = try await TestBank()
        let cache = SealingKeyCache(issuer: bank.issuer, lifetime: .zero)
        bank.issuer.fail { .lostCall }
        await #expect(throws: IssuerServiceError.self) { try await cache.newest() }
        bank.issuer.fail { nil }
        let key = try await cache.newest()
        bank.issuer.fail { .lostCall }
        #expect(try await cache.newest() == key)
    }

    @Test("In doubt until the deadline a payment is reversed, and a verdict after that changes nothing")
    func deadline() async throws {
        let bank = try await TestBank()
        let payment = try await bank.shown()
        _ = try await bank.office.sealingKeys.newest()
        bank.issuer.fail { .lostAnswer }
        _ = try await bank.answer(payment.id)
        #expect(try await bank.funds() == [975_00, 0])
        try await bank.settle(seconds: 60, rounds: 13)
        let expired = try await bank.stands(payment.id)
        #expect(expired.state == .expired && expired.sealedCode == nil)
        bank.issuer.fail { nil }
        try await bank.settle(rounds: 2)
        #expect(try await bank.funds() == [1_000_00, 0])
        let verdict = IssuerVerdict(outcome: .approved, responseCode: "00", reason: "late", triesLeft: nil)
        #expect(try await bank.office.conclude(expired, verdict).state == .expired)
        #expect(try await bank.stands(payment.id).dueAt == nil)
        try await bank.expectWhole()
    }

    @Test("Of many payments in doubt one whose look fails keeps no other waiting")
    func oneFails() async throws {
        let bank = try await TestBank()
        _ = try await bank.office.sealingKeys.newest()
        var ids: [PaymentID] = []
        // More than are looked at at once.
        for _ in 0..<40 { ids.append(try await bank.shown(1_00).id) }
        bank.issuer.fail { .lostAnswer }
        for id in ids { _ = try await bank.answer(id) }
        bank.clock.turn(seconds: 10)
        let first = Mutex(true)
        bank.issuer.fail {
            first.withLock { isFirst in
                defer { isFirst = false }
                return isFirst ? .breakdown : nil
            }
        }
        await #expect(throws: StoreError.self) { try await bank.timers.runDue() }
        var states: [OnlinePayment.State] = []
        for id in ids { states.append(try await bank.stands(id).state) }
        #expect(states.count { $0 == .checking } == 1 && states.count { $0 == .captured } == 39)
        try await bank.settle(rounds: 2)
        #expect(try await bank.funds() == [960_00, 0])
        try await bank.expectWhole()
    }

    @Test("A verdict on an earlier try does not decide a later one")
    func earlierTry() async throws {
        let bank = try await TestBank()
        let payment = try await bank.shown()
        _ = try await bank.answer(payment.id, "000000")
        var first = try await bank.stands(payment.id)
        #expect(first.attempts == 1)
        _ = try await bank.office.sealingKeys.newest()
        bank.issuer.fail { .lostCall }
        _ = try await bank.answer(payment.id)
        first.state = .checking
        let late = IssuerVerdict(outcome: .wrongCode, responseCode: "05", reason: "late", triesLeft: 2)
        #expect(try await bank.office.conclude(first, late).state == .checking)
        bank.issuer.fail { nil }
        try await bank.settle(rounds: 2)
        #expect(try await bank.stands(payment.id).state == .captured)
    }

    @Test("A capture and a refund whose answers were lost are booked by the timer, once")
    func lostMoney() async throws {
        let bank = try await TestBank()
        let id = try await bank.paid(later: true).id
        bank.issuer.fail { .lostAnswer }
        await #expect(throws: DeskError.self) {
            try await bank.desk.capture(id, minorUnits: 20_00, for: bank.merchant, isLive: true)
        }
        #expect(try await bank.stands(id).state == .authorized)
        bank.issuer.fail { nil }
        try await bank.settle(rounds: 2)
        #expect(try await bank.stands(id).capturedMinorUnits == 20_00)
        bank.issuer.fail { .lostAnswer }
        await #expect(throws: DeskError.self) {
            try await bank.desk.refund(id, minorUnits: 5_00, key: "a", for: bank.merchant, isLive: true)
        }
        bank.issuer.fail { nil }
        try await bank.settle(rounds: 2)
        #expect(try await bank.stands(id).refundedMinorUnits == 5_00)
        let again = try await bank.desk.refund(id, minorUnits: 5_00, key: "a", for: bank.merchant, isLive: true)
        #expect(again.refundedMinorUnits == 5_00)
        func refundRest() async throws -> OnlinePayment {
            try await bank.desk.refund(id, minorUnits: nil, key: "rest", for: bank.merchant, isLive: true)
        }
        bank.issuer.fail { .lostAnswer }
        await #expect(throws: DeskError.self) { try await refundRest() }
        bank.issuer.fail { nil }
        #expect(try await refundRest().refundedMinorUnits == 20_00)
        // Nothing is left by now, and it is the same refund still.
        #expect(try await refundRest().state == .refunded)
        await #expect(throws: DeskError.self) {
            try await bank.desk.refund(id, minorUnits: nil, key: "more", for: bank.merchant, isLive: true)
        }
        #expect(try await bank.funds() == [1_000_00, 0])
        try await bank.expectWhole()
    }

    @Test("An issuer that gives no route makes no payment")
    func noRoute() async throws {
        let bank = try await TestBank()
        bank.issuer.fail { .lostAnswer }
        await #expect(throws: IssuerServiceError.self) { try await bank.create() }
        #expect(try await bank.database.onlinePayments(limit: 9).isEmpty)
    }

    @Test("A clock that steps back delays, and decides nothing twice")
    func clockBack() async throws {
        let bank = try await TestBank()
        let waits = try await bank.shown()
        let held = try await bank.paid(later: true)
        bank.clock.turn(seconds: -86_400)
        let early = try await bank.create()
        try await bank.timers.runDue()
        #expect(try await bank.stands(waits.id).state == .awaitingHolder)
        guard case .paid = try await bank.answer(waits.id) else {
            Issue.record("not paid")
            return
        }
        bank.clock.turn(seconds: 2 * 86_400)
        try await bank.settle(rounds: 2)
        #expect(try await bank.stands(early.id).state == .expired)
        #expect(try await bank.stands(held.id).state == .authorized)
        try await bank.settle(seconds: 86_400, rounds: 8)
        #expect(try await bank.stands(held.id).state == .expired)
        try await bank.expectWhole()
    }

    @Test("An unknown card takes the normal states to the merchant's eyes, and nobody is asked")
    func unknownCard() async throws {
        let bank = try await TestBank()
        let unknown = try await bank.create(pan: PAN(issuer: "999999", account: "555555555"))
        let known = try await bank.create()
        #expect(unknown.state == known.state && unknown.step == known.step)
        let due = try await bank.database.messagesDue(at: bank.clock.now(), limit: 9)
        #expect(due.map(\.message.reference) == ["\(known.id).notice"])
        try await bank.settle(seconds: 60, rounds: 11)
        for id in [unknown.id, known.id] {
            #expect(try await bank.stands(id).state == .expired)
            #expect(
                try await bank.database.steps(of: id).map(\.reason).last == "the holder did not answer in time")
        }
    }

    @Test(
        "Random payments on a line that loses calls and answers: nothing is booked twice, no hold stays, no money is lost"
    )
    func randomSequences() async throws {
        var generator = SeededGenerator()
        print("seed \(generator.seed)")
        let bank = try await TestBank(funds: 100_000_00)
        let noise = Mutex(SeededGenerator(seed: generator.next()))
        var ids: [PaymentID] = []
        for round in 0..<400 {
            bank.issuer.fail {
                noise.withLock { noise in
                    switch noise.next() % 10 {
                    case 0: .lostCall;
                    case 1: .lostAnswer;
                    default: nil
                    }
                }
            }
            await act(bank, &ids, &generator, round)
            bank.clock.turn(seconds: Int64.random(in: -20...40, using: &generator))
            if round.isMultiple(of: 5) { try await bank.timers.runDue() }
        }
        bank.issuer.fail { nil }
        try await bank.settle(seconds: 600, rounds: 4)
        // No hold outlives the longest that one may last.
        try await bank.settle(seconds: 4 * 86_400, rounds: 3)
        try await bank.expectWhole(funds: 100_000_00)
        #expect(try await bank.funds()[1] == 0, "holds")
        var ends: [OnlinePayment.State: Int] = [:]
        for id in ids {
            let payment = try await bank.stands(id)
            ends[payment.state, default: 0] += 1
            let standing = await bank.model.inquire(id)
            #expect(payment.state.isFinal || payment.state == .captured, "\(id)")
            #expect(payment.sealedCode == nil && payment.dueAt == nil, "\(id)")
            let kept = standing.capturedMinorUnits - standing.refundedMinorUnits
            #expect(payment.capturedMinorUnits - payment.refundedMinorUnits == kept, "\(id) \(payment.state)")
        }
        // Whatever the seed, enough happened to mean something.
        #expect(ends[.captured, default: 0] + ends[.refunded, default: 0] > 5 && ends.count >= 4, "\(ends)")
    }

    /// One thing that merchant or holder does; what is refused is refused.
    private func act(
        _ bank: TestBank, _ ids: inout [PaymentID], _ generator: inout SeededGenerator, _ round: Int
    ) async {
        let amount = Int64.random(in: 1...50_00, using: &generator)
        let pick = ids.randomElement(using: &generator)
        switch Int.random(in: 0..<12, using: &generator) {
        case 0...3:
            if let payment = try? await bank.create(amount, later: Bool.random(using: &generator)) {
                ids.append(payment.id)
                _ = try? await bank.show(payment.id)
                if Bool.random(using: &generator) { _ = try? await bank.answer(payment.id) }
            }
        case 4...6:
            // Mostly right: three wrong ones in a row lock the code.
            let code = Int.random(in: 0..<8, using: &generator) == 0 ? "000000" : TestBank.code
            if let pick { _ = try? await bank.answer(pick, code) }
        case 7: if let pick { _ = try? await bank.holder.deny(pick, on: "simulator", phone: TestBank.phone) }
        case 8: if let pick { _ = try? await bank.desk.cancel(pick, for: bank.merchant, isLive: true) }
        case 9:
            if let pick {
                _ = try? await bank.desk.capture(pick, minorUnits: nil, for: bank.merchant, isLive: true)
            }
        default:
            if let pick {
                _ = try? await bank.desk.refund(
                    pick, minorUnits: amount, key: "\(round % 50)", for: bank.merchant, isLive: true)
            }
        }
    }
}
