import ByteCoding
import CardData
import ECardTesting
import Foundation
import PaymentPorts
import Testing

@testable import OOPA

@Suite("Caps, patterns and the review queue") struct BankPolicyTests {
    static func rules(_ rules: String, caps: String = "1000000") -> String {
        """
        caps: {codes-per-phone: \(caps), codes-per-merchant: 1000000, codes-everywhere: 1000000, notices-per-card: 3}
        rules: [\(rules)]
        """
    }

    @Test("The standard file is one, and its rules are what the first set names")
    func standard() throws {
        #expect(try BankPolicy().rules.count == 12)
    }

    @Test(
        "A file that cannot be meant is refused with its place",
        arguments: [
            ("{reason: a}", "nothing that must be so"), ("{reason: '', amount-above: 1}", "no reason"),
            ("{reason: a, count: code, of: phone}", "go together"),
            ("{reason: a, count: code, of: phone, minutes: 0, above: 1}", "minutes"),
            ("{reason: a, count: code, of: phone, minutes: 1, above: -1}", "above"),
            ("{reason: a, count: codes, of: phone, minutes: 1, above: 1}", "codes"),
            ("{reason: a, amount-above: 99999999999}", "range"), ("{reason: a, abroad-within-minutes: -1}", "range"),
        ])
    func refused(_ rule: String, _ problem: String) throws {
        let error = #expect(throws: PatternFileError.self) {
            try BankPolicy(yaml: Self.rules(rule), file: "p.yaml")
        }
        #expect(error?.description.contains(problem) == true && error?.file == "p.yaml", "\(String(describing: error))")
    }

    @Test(
        "Each kind of rule holds a payment that it fits, and none that it does not",
        arguments: [
            ("{reason: a, amount-above: 20}", true), ("{reason: a, amount-above: 25}", false),
            ("{reason: a, merchant-younger-than-days: 1, amount-above: 20}", true),
            ("{reason: a, merchant-younger-than-days: 1, amount-above: 25}", false),
            ("{reason: a, phone-younger-than-hours: 72}", false),
            ("{reason: a, count: prompt, of: card, minutes: 60, above: 0}", true),
            ("{reason: a, count: prompt, of: card, minutes: 60, above: 1}", false),
            ("{reason: a, count: wrong_code, of: merchant, minutes: 60, above: 0}", false),
            ("{reason: a, count: payment, of: bin, minutes: 1, above: 0}", true),
            ("{reason: a, count: payment, of: bin, minutes: 1, above: 1}", false),
            // Two of one reason are two.
            ("{reason: a, amount-above: 20}, {reason: a, count: code, of: phone, minutes: 1, above: 9}", true),
        ])
    func held(_ rule: String, _ isHeld: Bool) async throws {
        let bank = try await TestBank(patterns: Self.rules(rule))
        let payment = try await bank.shown()
        let answer = try await bank.answer(payment.id)
        if case .inReview(let held) = answer {
            #expect(isHeld && held.reason.contains("a"))
            #expect(await bank.model.checkedCodes == 0)
        } else {
            #expect(!isHeld)
        }
    }

    /// 0.7 and 0.3 of 10.00 and 30.00 are 16.00, three times which are 48.00.
    @Test(
        "An amount far above what the card usually pays is unusual, where it has paid three times",
        arguments: [
            ([10_00, 10_00, 10_00], 30_00, false), ([10_00, 10_00, 10_00, 30_00], 48_00, false),
            ([10_00, 10_00, 10_00, 30_00], 48_01, true), ([10_00, 10_00], 90_00, false),
        ])
    func average(_ before: [Int64], _ amount: Int64, _ isHeld: Bool) async throws {
        let bank = try await TestBank(patterns: Self.rules("{reason: far, amount-above-average: 3}"))
        for earlier in before {
            guard case .paid = try await bank.answer(bank.shown(earlier).id) else {
                Issue.record("\(earlier) was not paid")
                return
            }
        }
        let answer = try await bank.answer(bank.shown(amount).id)
        guard case .inReview(let held) = answer else {
            #expect(!isHeld)
            return
        }
        #expect(isHeld && held.reason.contains("far"))
    }

    @Test(
        "A card that pays at merchants of two countries within the rule's time is unusual",
        arguments: [("CI", 59, true), ("CI", 61, false), ("GH", 0, false), (nil, 0, false)] as [(String?, Int64, Bool)])
    func abroad(_ country: String?, _ minutes: Int64, _ isHeld: Bool) async throws {
        let bank = try await TestBank(patterns: Self.rules("{reason: two countries, abroad-within-minutes: 60}"))
        _ = try await bank.paid()
        let id = MerchantID.random()
        try await bank.database.add(
            Merchant(
                id: id, name: "Librairie", registration: "RC-1", country: country, state: .registered, verifiedBy: nil,
                createdAt: bank.clock.now()))
        try await bank.database.setState(.verified, of: id, by: "Efua", at: bank.clock.now())
        let other = try #require(try await bank.database.merchant(id))
        bank.clock.turn(seconds: minutes * 60)
        let payment = try await bank.desk.create(bank.order(), for: other, isLive: true, remembering: nil)
        _ = try await bank.show(payment.id)
        guard case .inReview(let held) = try await bank.answer(payment.id) else {
            #expect(!isHeld)
            return
        }
        #expect(isHeld && held.reason.contains("two countries"))
    }

    @Test("What waits for a person is let through, declined, refused or expires", arguments: ["a", "d", "n", "c", "x"])
    func review(_ end: String) async throws {
        let bank = try await TestBank(patterns: Self.rules("{reason: high, amount-above: 20}"))
        let desk = ReviewDesk(bank.office)
        let id = try await bank.shown().id
        _ = try await bank.answer(id)
        #expect(try await desk.waiting(limit: 9).map(\.id) == [id])
        #expect(try await bank.stands(id).sealedCode != nil)
        let answeredAt = bank.clock.now()
        bank.clock.turn(seconds: 30)
        switch end {
        case "a": #expect(try await desk.approve(id, by: "Efua").state == .captured)
        case "d": #expect(try await desk.decline(id, by: "Efua").state == .declined)
        case "n": #expect(try await bank.holder.deny(id, on: "simulator", phone: TestBank.phone).state == .denied)
        case "c": #expect(try await bank.desk.cancel(id, for: bank.merchant, isLive: true).state == .cancelled)
        default:
            try await bank.settle(seconds: 60, rounds: 11)
            #expect(try await bank.stands(id).state == .expired)
        }
        #expect(try await bank.funds() == (end == "a" ? [975_00, 0] : [1_000_00, 0]))
        #expect(try await bank.stands(id).sealedCode == nil)
        let evidence = try #require(try await bank.database.evidence(of: id))
        let payload = try #require([UInt8](base64URL: evidence.split(separator: ".")[1]))
        let record = try JSONDecoder().decode(EvidenceRecord.self, from: Data(payload))
        // Who refuses answers then; a person of the bank's is no answer.
        #expect(record.answeredAt == (end == "n" ? answeredAt.adding(seconds: 30) : answeredAt).milliseconds)
        #expect(try #require(record.decidedAt) >= answeredAt.adding(seconds: 30).milliseconds)
        #expect(try Evidence.payment(of: evidence) == id.rawValue)
        await #expect(throws: DeskError.self) { try await desk.approve(id, by: "Efua") }
        await #expect(throws: DeskError.self) { try await desk.decline(id, by: "Efua") }
        try await bank.expectWhole()
    }

    @Test("Beyond the cap of a telephone no code is looked at, and an hour later it is")
    func caps() async throws {
        let bank = try await TestBank(patterns: Self.rules("", caps: "2"))
        let id = try await bank.shown().id
        _ = try await bank.answer(id, "000000")
        _ = try await bank.answer(id, "000000")
        let error = await #expect(throws: DeskError.self) { try await bank.answer(id) }
        #expect(error?.kind == .tooMany)
        #expect(try await bank.stands(id).attempts == 2)
        #expect(await bank.model.checkedCodes == 2)
        bank.clock.turn(seconds: 3660)
        let next = try await bank.shown().id
        guard case .paid = try await bank.answer(next) else {
            Issue.record("not paid an hour later")
            return
        }
    }

    @Test("Beyond the cap of a card no more notices leave, and the holder can answer all the same")
    func pushBombing() async throws {
        let bank = try await TestBank(patterns: Self.rules(""))
        var ids: [PaymentID] = []
        for _ in 0..<5 { ids.append(try await bank.create().id) }
        let notices = try await bank.database.messagesDue(at: bank.clock.now(), limit: 9)
        #expect(notices.map(\.message.reference) == ids.prefix(3).map { "\($0).notice" })
        _ = try await bank.show(ids[4])
        guard case .paid = try await bank.answer(ids[4]) else {
            Issue.record("not paid")
            return
        }
    }
}
