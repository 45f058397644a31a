import ByteCoding
import CardData
import Foundation
@testable import Issuing
import PaymentPorts
import Testing

@Suite("Decision, card not present") struct CardNotPresentTests {
    /// What is wrong with a payment that would be approved, and what comes of it.
    enum Case: String, CaseIterable, CustomTestStringConvertible {
        case nothing, wrongCode, noCode, unknownCard, lockedCode, revokedCode, expiredCode, cardWithoutCode,
            blockedCard,
            cardNotActive, wrongExpiry, expiredCard, otherCurrency, aboveOnePayment, aboveDay, tooOften, noFunds,
            cardCap, customerCap, merchantCap, everywhereCap

        var testDescription: String { rawValue }

        /// Response code, what the ledger keeps as the reason, and whether the money moved.
        var outcome: (code: ResponseCode, reason: String) {
            switch self {
            case .nothing: (.approved, "approved")
            case .wrongCode: (.doNotHonour, "wrong code (attempt 1 of 3)")
            case .noCode: (.doNotHonour, "no code was given")
            case .unknownCard: (.doNotHonour, "unknown card")
            case .lockedCode: (.doNotHonour, "the code is locked")
            case .revokedCode: (.doNotHonour, "the code is revoked")
            case .expiredCode: (.doNotHonour, "the code expired")
            case .cardWithoutCode: (.doNotHonour, "the card has no code")
            case .blockedCard: (.doNotHonour, "card is blocked")
            case .cardNotActive: (.doNotHonour, "card is created")
            case .wrongExpiry: (.doNotHonour, "wrong expiry date")
            case .expiredCard: (.expiredCard, "expir")
            case .otherCurrency: (.invalidTransaction, "currency")
            case .aboveOnePayment: (.exceedsAmountLimit, "single payment limit")
            case .aboveDay: (.exceedsAmountLimit, "24 hour limit")
            case .tooOften: (.exceedsFrequencyLimit, "approvals in 24 hours")
            case .noFunds: (.insufficientFunds, "funds")
            case .cardCap: (.doNotHonour, "failed attempts an hour on this card")
            case .customerCap: (.doNotHonour, "failed attempts an hour on this customer's cards")
            case .merchantCap: (.doNotHonour, "failed attempts an hour at this merchant")
            case .everywhereCap: (.doNotHonour, "failed attempts an hour over all cards")
            }
        }
    }

    @Test("every way to decline, beside the approval", arguments: Case.allCases)
    func decides(_ wrong: Case) async throws {
        let issuer = try await TestIssuer(funds: 100_00)
        let (request, policy) = try await Self.arrange(wrong, issuer)
        let before = try await issuer.funds()
        let answer = try await issuer.authorizer(policy).authorize(request)
        #expect(answer.responseCode == wrong.outcome.code.rawValue)
        let payment = try await issuer.payment(answer)
        #expect(payment.reason.contains(wrong.outcome.reason))
        #expect(payment.responseCode == wrong.outcome.code)
        let isApproved = wrong == .nothing
        #expect(answer.isApproved == isApproved)
        #expect(payment.state == (isApproved ? .captured : .declined))
        #expect(try await issuer.funds() == [before[0] - (isApproved ? 25_00 : 0), 0])
        #expect(answer.issuerAuthenticationData == nil)
        #expect(answer.nameMatch == .notChecked)
        #expect(try await issuer.ledger.verify(since: nil) == [])
        // What the merchant reads says nothing of what the ledger knows.
        if wrong.outcome.code == .doNotHonour { #expect(answer.message == "The card or the code was not accepted.") }
    }

    private static func arrange(
        _ wrong: Case, _ issuer: TestIssuer
    ) async throws -> (AuthorizationRequest, DecisionPolicy) {
        var policy = DecisionPolicy()
        if wrong == .cardWithoutCode || wrong == .cardNotActive {
            let record = try await wrong == .cardNotActive ? issuer.card() : issuer.activeCard()
            let card = TestCard(
                record: record, pan: try await issuer.cards.pan(of: record), code: SecretBytes(Array("123456".utf8)),
                chip: nil)
            if wrong == .cardNotActive { _ = try await issuer.codes.issue(record.id, try .init()) }
            return (try issuer.request(card, code: card.code), policy)
        }
        let terms = try CodeOffice.Terms(lifetime: wrong == .expiredCode ? 3600 : nil)
        let record = try await issuer.activeCard()
        let card = TestCard(
            record: record, pan: try await issuer.cards.pan(of: record),
            code: try await issuer.newCode(for: record, terms), chip: nil)
        var request = try issuer.request(card, code: card.code)
        switch wrong {
        case .nothing, .cardWithoutCode, .cardNotActive: break
        case .wrongCode: request.code = card.wrongCode
        case .noCode: request.code = nil
        case .unknownCard:
            request.presentation = .cardNotPresent(
                pan: try PAN(issuer: "993600", account: "000000000"), expiry: record.expiry, name: nil)
        case .lockedCode:
            try await issuer.ledger.setState(.locked, of: record.id, from: [.active], at: issuer.clock.now())
        case .revokedCode: try await issuer.codes.revoke(record.id)
        case .expiredCode: issuer.clock.turn(seconds: 3600)
        case .blockedCard: try await issuer.cards.block(record.id)
        case .wrongExpiry:
            let other = try ExpiryDate(year: record.expiry.year + 1, month: record.expiry.month)
            request.presentation = .cardNotPresent(pan: card.pan, expiry: other, name: nil)
        case .expiredCard: issuer.clock.turn(days: 366 * 5)
        case .otherCurrency: request.amount = Money(minorUnits: 25_00, currency: try Currency("EUR"))
        case .aboveOnePayment: policy.largestPayment = 24
        case .aboveDay:
            policy.largestDay = 49
            try await issuer.approve(card)
        case .tooOften:
            policy.approvalsPerDay = 1
            try await issuer.approve(card)
        case .noFunds: request.amount = issuer.money(100_01)
        case .cardCap: policy.caps.card = 0
        case .customerCap: policy.caps.customer = 0
        case .merchantCap: policy.caps.merchant = 0
        case .everywhereCap: policy.caps.everywhere = 0
        }
        return (request, policy)
    }

    @Test("beyond a cap the code is not looked at: a right one forgives nothing, and loses no try")
    func capped() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        var policy = DecisionPolicy()
        policy.caps.card = 2
        let authorizer = issuer.authorizer(policy)
        for _ in 0..<2 { _ = try await authorizer.authorize(try issuer.request(card, code: card.wrongCode)) }
        for _ in 0..<5 {
            let answer = try await authorizer.authorize(try issuer.request(card, code: card.code))
            #expect(try await issuer.payment(answer).reason.contains("failed attempts an hour"))
            #expect(answer.responseCode == "05")
        }
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 2)
        #expect(try await issuer.ledger.code(of: card.record.id)?.state == .active)
        issuer.clock.turn(seconds: 3_660)
        #expect(try await authorizer.authorize(try issuer.request(card, code: card.code)).isApproved)
    }

    @Test("a stranger's invented numbers end nobody's payments but for an hour, and lock no code")
    func capOverAll() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        var policy = DecisionPolicy()
        policy.caps.everywhere = 4
        let authorizer = issuer.authorizer(policy)
        for number in 0..<4 {
            var request = try issuer.request(card, code: card.code)
            request.presentation = .cardNotPresent(
                pan: try PAN(issuer: "993600", account: "00000000\(number)"), expiry: card.record.expiry, name: nil)
            _ = try await authorizer.authorize(request)
        }
        for _ in 0..<4 {
            #expect(try await authorizer.authorize(try issuer.request(card, code: card.code)).responseCode == "05")
        }
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 0)
        issuer.clock.turn(seconds: 3_660)
        #expect(try await authorizer.authorize(try issuer.request(card, code: card.code)).isApproved)
    }

    @Test("whoever has the code cannot search for what else the holder knows", arguments: ["expiry", "name"])
    func searched(_ what: String) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        var policy = DecisionPolicy()
        policy.nameIsDecisive = true
        let authorizer = issuer.authorizer(policy)
        for count in 1...3 {
            var request = try issuer.request(card, code: card.code, name: what == "name" ? "Kofi Annan" : nil)
            if what == "expiry" {
                let other = try ExpiryDate(year: card.record.expiry.year + count, month: card.record.expiry.month)
                request.presentation = .cardNotPresent(pan: card.pan, expiry: other, name: nil)
            }
            #expect(try await authorizer.authorize(request).responseCode == "05")
            #expect(try await issuer.ledger.code(of: card.record.id)?.failures == count)
        }
        #expect(try await issuer.ledger.code(of: card.record.id)?.state == .locked)
        // And the caps see it.
        policy.caps.card = 3
        let capped = try await issuer.authorizer(policy).authorize(try issuer.request(card, code: card.code))
        #expect(try await issuer.payment(capped).reason.contains("failed attempts an hour on this card"))
    }

    @Test("a right code leaves no trace in the windows")
    func noTrace() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        var policy = DecisionPolicy()
        policy.caps = AttemptCaps(card: 1, customer: 1, merchant: 1, everywhere: 1)
        for _ in 0..<4 {
            #expect(try await issuer.authorizer(policy).authorize(try issuer.request(card, code: card.code)).isApproved)
        }
    }

    @Test(
        "limits are in whole units of the currency",
        arguments: [("GHS", 1_000_000_00), ("JPY", 1_000_000), ("KWD", 1_000_000_000), ("CLF", 10_000_000_000)])
    func wholeUnits(_ code: String, _ minorUnits: Int64) throws {
        let limits = DecisionPolicy().limits(in: try Currency(code))
        #expect(limits == SpendingLimits(payment: minorUnits, approvals: 50, day: 2 * minorUnits))
        var policy = DecisionPolicy()
        policy.largestDay = .max
        #expect(policy.limits(in: try Currency(code)).day == .max)
    }

    @Test(
        "the limits let through what is just within them",
        arguments: [Case.aboveOnePayment, .aboveDay, .tooOften, .noFunds])
    func within(_ limit: Case) async throws {
        let issuer = try await TestIssuer(funds: 100_00)
        let card = try await issuer.plainCard()
        var policy = DecisionPolicy()
        var amount: Int64 = 25_00
        switch limit {
        case .aboveOnePayment: policy.largestPayment = 25
        case .aboveDay:
            policy.largestDay = 50
            try await issuer.approve(card)
        case .tooOften:
            policy.approvalsPerDay = 2
            try await issuer.approve(card)
        default: amount = 100_00
        }
        let answer = try await issuer.authorizer(policy).authorize(try issuer.request(card, amount, code: card.code))
        #expect(answer.isApproved)
    }

    @Test("a day later the day's limits are free again")
    func nextDay() async throws {
        let issuer = try await TestIssuer(funds: 100_00)
        let card = try await issuer.plainCard()
        var policy = DecisionPolicy()
        policy.approvalsPerDay = 1
        let authorizer = issuer.authorizer(policy)
        #expect(try await authorizer.authorize(try issuer.request(card, code: card.code)).isApproved)
        #expect(try await authorizer.authorize(try issuer.request(card, code: card.code)).responseCode == "65")
        issuer.clock.turn(days: 1)
        #expect(try await authorizer.authorize(try issuer.request(card, code: card.code)).isApproved)
    }

    @Test("the last day of the month is the card's last")
    func lastDay() async throws {
        let issuer = try await TestIssuer(funds: 100_00)
        let card = try await issuer.plainCard()
        // Made on 2026-01-02 for 48 months: valid through 2030-01-31.
        #expect(card.record.expiry.printed == "01/30")
        issuer.clock.turn(days: 365 * 4 + 1 + 29)
        #expect(try await issuer.authorizer().authorize(try issuer.request(card, code: card.code)).isApproved)
        issuer.clock.turn(days: 1)
        #expect(try await issuer.authorizer().authorize(try issuer.request(card, code: card.code)).responseCode == "54")
    }

    /// Names as a shop sends them, for a card of Ama Serwaa Mensah.
    static let names: [(typed: String, isMatch: Bool)] = [
        ("Ama Serwaa Mensah", true), ("MENSAH AMA SERWAA", true), ("ama s. mensah", true), ("Kofi Mensah", false),
        ("Ama Mensah", false), ("王 小 明", false),
    ]

    @Test("the name is folded and reported", arguments: names)
    func nameReported(_ name: (typed: String, isMatch: Bool)) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let answer = try await issuer.authorizer().authorize(
            try issuer.request(card, code: card.code, name: name.typed))
        #expect(answer.isApproved)
        #expect(answer.nameMatch == (name.isMatch ? .match : .noMatch))
    }

    @Test("the name declines where the policy says so", arguments: names)
    func nameDecisive(_ name: (typed: String, isMatch: Bool)) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        var policy = DecisionPolicy()
        policy.nameIsDecisive = true
        let answer = try await issuer.authorizer(policy).authorize(
            try issuer.request(card, code: card.code, name: name.typed))
        #expect(answer.isApproved == name.isMatch)
        // Told only with an approval: otherwise it would tell whether the card exists.
        #expect(answer.nameMatch == (name.isMatch ? .match : .notChecked))
    }

    /// What is no request at all: an error, and no payment is written.
    static let senseless: [(name: String, change: @Sendable (inout AuthorizationRequest) -> Void)] = [
        ("no key", { $0.idempotencyKey = "" }),
        ("a key of 65 characters", { $0.idempotencyKey = String(repeating: "k", count: 65) }),
        ("no merchant", { $0.merchant = "" }),
        ("a merchant of 41 characters", { $0.merchant = String(repeating: "m", count: 41) }),
        (
            "a merchant that is one character of 100 marks",
            { $0.merchant = "a" + String(repeating: "\u{0301}", count: 100) }
        ),
        ("a merchant with a line break", { $0.merchant = "Shop\nApproved: 00" }),
        ("nothing to pay", { $0.amount = Money(minorUnits: 0, currency: $0.amount.currency) }),
        ("less than nothing", { $0.amount = Money(minorUnits: -1, currency: $0.amount.currency) }),
        ("13 digits", { $0.amount = Money(minorUnits: 1_000_000_000_000, currency: $0.amount.currency) }),
        ("the least number there is", { $0.amount = Money(minorUnits: .min, currency: $0.amount.currency) }),
    ]

    @Test("a request that makes no sense is refused and leaves nothing", arguments: senseless.indices)
    func refused(_ index: Int) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        var request = try issuer.request(card, code: card.code)
        Self.senseless[index].change(&request)
        let error = try await #require(throws: IssuingError.self) { try await issuer.authorizer().authorize(request) }
        #expect(error.kind == .invalidRequest)
        #expect(try await issuer.ledger.payments(of: nil, limit: 10).isEmpty)
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 0)
    }
}

extension TestIssuer {
    /// A payment that must be approved.
    @discardableResult
    func approve(
        _ card: TestCard, _ minorUnits: Int64 = 25_00, later: Bool = false
    ) async throws -> AuthorizationAnswer {
        let answer = try await authorizer().authorize(try request(card, minorUnits, code: card.code, later: later))
        guard answer.isApproved else {
            throw TestFailure("declined with \(answer.responseCode), an approval was expected")
        }
        return answer
    }
}
