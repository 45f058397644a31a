import ByteCoding
import CardData
import ECardTesting
import Foundation
import Issuing
import KeyCustody
import Ledger
import OOPA
import PaymentPorts
import Testing

@Suite("The issuer's desk") struct IssuerDeskTests {
    @Test("A payment from announcement to debit, in each form and profile", arguments: CodeSealing.Form.allCases)
    func approves(form: CodeSealing.Form) async throws {
        let bench = try await IssuerBench()
        for (number, profile) in [CodeProfile.plain, .sealed].enumerated() {
            let inquiry = try bench.inquiry()
            let route = try await bench.desk.checkFunds(inquiry)
            #expect(route.phone == IssuerBench.phone && route.card == bench.card.id && route.email == "ama@example.com")
            #expect(route.profiles == [.plain, .sealed])
            #expect(try await bench.desk.inquire(inquiry.payment).state == .open)
            let attempt = try await bench.attempt(of: inquiry, profile: profile, form: form)
            let verdict = try await bench.desk.authorize(attempt)
            #expect(
                verdict == IssuerVerdict(outcome: .approved, responseCode: "00", reason: "approved", triesLeft: nil))
            #expect(try await bench.funds() == [100_00 - Int64(number + 1) * 25_00, 0])
            let standing = try await bench.desk.inquire(inquiry.payment)
            #expect(standing.state == .captured && standing.capturedMinorUnits == 25_00)
            #expect(standing.lastAttempt == 1 && standing.lastVerdict == verdict)
            // Asked again, nothing moves.
            #expect(try await bench.desk.authorize(attempt) == verdict)
            #expect(try await bench.desk.checkFunds(inquiry) == route)
        }
        #expect(try await bench.funds() == [50_00, 0])
        // The bank sends its own receipts.
        #expect(try await bench.ledger.receiptsDue(limit: 10).payments.isEmpty)
        try await bench.expectVerified()
    }

    @Test("A hold is captured in part, refunded in parts, and the rest reversed; each once")
    func moneyMovesOnce() async throws {
        let bench = try await IssuerBench()
        let inquiry = try await bench.announced(40_00, later: true)
        let id = inquiry.payment
        _ = try await bench.desk.authorize(bench.attempt(of: inquiry))
        #expect(try await bench.funds() == [100_00, 40_00])
        await expectRefused { try await bench.desk.capture(id, minorUnits: 40_01) }
        for _ in 0..<2 {
            let standing = try await bench.desk.capture(id, minorUnits: 30_00)
            #expect(standing.state == .captured && standing.capturedMinorUnits == 30_00)
            #expect(try await bench.funds() == [70_00, 0])
        }
        for _ in 0..<2 {
            #expect(try await bench.desk.refund(id, minorUnits: 10_00, key: "r1").refundedMinorUnits == 10_00)
            #expect(try await bench.funds() == [80_00, 0])
        }
        await expectRefused { try await bench.desk.refund(id, minorUnits: 5_00, key: "r1") }
        await expectRefused { try await bench.desk.refund(id, minorUnits: 20_01, key: "r2") }
        for _ in 0..<2 {
            let standing = try await bench.desk.reverse(id, reason: "no answer to the merchant")
            #expect(standing.state == .reversed && standing.refundedMinorUnits == 30_00)
            #expect(try await bench.funds() == [100_00, 0])
        }
        // What was said before is said again.
        #expect(try await bench.desk.authorize(bench.attempt(2, of: inquiry)).outcome == .declined)
        try await bench.expectVerified()
    }

    @Test("Wrong codes count, and the last of them ends payment and code")
    func wrongCodes() async throws {
        let bench = try await IssuerBench()
        let inquiry = try await bench.announced()
        for (number, left) in [(1, 2), (2, 1)] {
            let attempt = try await bench.attempt(number, of: inquiry, bench.wrongCode(UInt8(number)))
            let verdict = try await bench.desk.authorize(attempt)
            #expect(verdict.outcome == .wrongCode && verdict.triesLeft == left && verdict.responseCode == "05")
            // A retry counts no attempt.
            #expect(try await bench.desk.authorize(attempt) == verdict)
            #expect(try await bench.failures() == number)
        }
        let last = try await bench.desk.authorize(bench.attempt(3, of: inquiry, bench.wrongCode(3)))
        #expect(last.outcome == .declined)
        #expect(try await bench.desk.inquire(inquiry.payment).state == .declined)
        #expect(try #require(try await bench.ledger.code(of: bench.card.id)).state == .locked)
        #expect(try await bench.desk.authorize(bench.attempt(4, of: inquiry)).outcome == .declined)
        let next = try await bench.announced()
        #expect(try await bench.desk.authorize(bench.attempt(of: next)).outcome == .declined)
        #expect(try await bench.funds() == [100_00, 0])
        try await bench.expectVerified()
    }

    enum Misbound: CaseIterable { case prompt, phone, payment, expiry, changed, cut, otherKey }

    @Test(
        "A sealed code that was made for something else opens nothing and counts nothing", arguments: Misbound.allCases)
    func misbound(_ what: Misbound) async throws {
        let bench = try await IssuerBench()
        let inquiry = try await bench.announced()
        func context(
            _ payment: PaymentID? = nil, prompt: String? = nil, phone: String = IssuerBench.phone, seconds: Int64 = 0
        ) -> CodeContext {
            CodeContext(
                payment: payment ?? inquiry.payment,
                promptDigest: prompt.map(IssuerBench.prompt) ?? IssuerBench.prompt(), phone: phone,
                expiresAt: inquiry.expiresAt.adding(seconds: seconds))
        }
        let other: CodeContext =
            switch what {
            case .prompt: context(prompt: "Pay GHS 2.50 to Makola Books?")
            case .phone: context(phone: "+233209999999")
            case .payment: context(PaymentID.random())
            case .expiry: context(seconds: 60)
            case .changed, .cut, .otherKey: context()
            }
        var attempt = try await bench.attempt(of: inquiry, context: other)
        var sealed = attempt.sealedCode
        switch what {
        case .changed: sealed[sealed.count - 1] ^= 1
        case .cut: sealed.removeLast(20)
        case .otherKey: sealed[0] = 200
        default: break
        }
        attempt = attempt.with(sealed: sealed)
        let verdict = try await bench.desk.authorize(attempt)
        #expect(verdict.outcome == .wrongCode && verdict.triesLeft == 3)
        #expect(try await bench.failures() == 0)
        #expect(try await bench.desk.authorize(attempt) == verdict)
        // The holder may still pay.
        #expect(try await bench.desk.authorize(bench.attempt(2, of: inquiry)).outcome == .approved)
        try await bench.expectVerified()
    }

    @Test("A sealed code is good for one try")
    func usedTwice() async throws {
        let bench = try await IssuerBench()
        let inquiry = try await bench.announced()
        let first = try await bench.attempt(of: inquiry, bench.wrongCode())
        #expect(try await bench.desk.authorize(first).triesLeft == 2)
        let again = try await bench.desk.authorize(first.with(attempt: 2))
        #expect(again.outcome == .wrongCode && again.triesLeft == 2 && again.reason.contains("another try"))
        #expect(try await bench.failures() == 1)
        // The same try with other contents is no retry.
        let other = try await bench.attempt(1, of: inquiry)
        await expectRefused { try await bench.desk.authorize(other) }
        #expect(try await bench.funds() == [100_00, 0])
        try await bench.expectVerified()
    }

    @Test("What comes after the payment's time is declined, and the payment has expired")
    func tooLate() async throws {
        let bench = try await IssuerBench()
        let inquiry = try await bench.announced()
        let attempt = try await bench.attempt(of: inquiry)
        bench.clock.turn(seconds: 600)
        let verdict = try await bench.desk.authorize(attempt)
        #expect(verdict.outcome == .declined)
        #expect(try await bench.failures() == 0)
        #expect(try await bench.desk.inquire(inquiry.payment).state == .expired)
        let unanswered = try await bench.announced()
        bench.clock.turn(seconds: 601)
        #expect(try await bench.desk.inquire(unanswered.payment).state == .expired)
        #expect(try await bench.desk.authorize(bench.attempt(of: unanswered)).outcome == .declined)
        // A prompt that claims more time than was announced.
        let third = try await bench.announced()
        let longer = CodeAuthorization(
            payment: third.payment, attempt: 1, sealedCode: attempt.sealedCode, profile: .sealed,
            promptDigest: IssuerBench.prompt(), phone: IssuerBench.phone, expiresAt: third.expiresAt.adding(seconds: 1))
        #expect(try await bench.desk.authorize(longer).outcome == .declined)
        try await bench.expectVerified()
    }

    @Test("A reversal before the code, and before the announcement, wins")
    func reversedFirst() async throws {
        let bench = try await IssuerBench()
        let inquiry = try await bench.announced()
        #expect(try await bench.desk.reverse(inquiry.payment, reason: "denied by the holder").state == .reversed)
        #expect(try await bench.desk.authorize(bench.attempt(of: inquiry)).outcome == .declined)
        #expect(try await bench.failures() == 0)

        let early = try bench.inquiry()
        for _ in 0..<2 {
            #expect(try await bench.desk.reverse(early.payment, reason: "in doubt").state == .reversed)
        }
        await expectRefused { try await bench.desk.checkFunds(early) }
        #expect(try await bench.desk.authorize(bench.attempt(of: early)).outcome == .declined)
        #expect(try await bench.desk.inquire(early.payment).state == .reversed)
        #expect(try await bench.desk.inquire(.random()).state == .unknown)
        #expect(try await bench.funds() == [100_00, 0])
        try await bench.expectVerified()
    }

    enum Nobody: CaseIterable { case unknownCard, wrongExpiry, blockedCard, noPhone, cardNotActive }

    @Test("A payment without a holder gets a route that leads to nobody", arguments: Nobody.allCases)
    func nobody(_ why: Nobody) async throws {
        let bench = try await IssuerBench()
        var inquiry = try bench.inquiry()
        switch why {
        case .unknownCard: inquiry = try bench.inquiry(pan: PAN(issuer: "993600", account: "000000000"))
        case .wrongExpiry: inquiry = try bench.inquiry(expiry: ExpiryDate(year: 2039, month: 1))
        case .blockedCard: try await bench.desk.block(bench.card.id, fromPhone: IssuerBench.phone)
        case .noPhone, .cardNotActive:
            let customer = CustomerID.random()
            let account = AccountID.random()
            let now = bench.clock.now()
            try await bench.ledger.add(
                Customer(
                    id: customer, name: CardholderName("Kofi"), phone: why == .noPhone ? nil : "+233200000000",
                    email: nil, createdAt: now))
            try await bench.ledger.open(account, for: customer, currency: Currency("GHS"), at: now)
            let (card, pan) = try await IssuerBench.activeCard(account, bench.ledger, bench.keys, bench.clock)
            if why == .cardNotActive {
                try await bench.ledger.setState(.blocked, of: card.id, from: [.active], isExposed: false, at: now)
            }
            inquiry = try bench.inquiry(pan: pan, expiry: card.expiry)
        }
        let route = try await bench.desk.checkFunds(inquiry)
        #expect(route.phone == nil && route.card == nil && route.email == nil)
        #expect(try await bench.desk.checkFunds(inquiry) == route)
        // Nobody can have answered; and none of it counts on the card.
        let verdict = try await bench.desk.authorize(bench.attempt(of: inquiry))
        #expect(verdict.outcome == .declined)
        #expect(try await bench.failures() == 0)
        bench.clock.turn(seconds: 601)
        #expect(try await bench.desk.inquire(inquiry.payment).state == .expired)
        try await bench.expectVerified()
    }

    @Test("The same payment with other contents is refused")
    func otherContents() async throws {
        let bench = try await IssuerBench()
        let inquiry = try await bench.announced()
        for other in [
            try bench.inquiry(25_01, id: inquiry.payment), try bench.inquiry(later: true, id: inquiry.payment),
            try bench.inquiry(pan: PAN(issuer: "993600", account: "000000000"), id: inquiry.payment),
        ] {
            await expectRefused { try await bench.desk.checkFunds(other) }
        }
        try await bench.expectVerified()
    }

    @Test("A telephone or a way that is not the card's is declined for good")
    func policy() async throws {
        let bench = try await IssuerBench(profiles: [.sealed])
        let first = try await bench.announced()
        #expect(try await bench.desk.authorize(bench.attempt(of: first, profile: .plain)).outcome == .declined)
        #expect(try await bench.desk.authorize(bench.attempt(2, of: first)).outcome == .declined)
        let second = try await bench.announced()
        let elsewhere = try await bench.attempt(of: second, phone: "+233209999999")
        #expect(try await bench.desk.authorize(elsewhere).outcome == .declined)
        #expect(try await bench.failures() == 0)
        #expect(try await bench.funds() == [100_00, 0])
        try await bench.expectVerified()
    }

    @Test("Of tries at once one is approved, and the account is debited once")
    func triesAtOnce() async throws {
        let bench = try await IssuerBench()
        let inquiry = try await bench.announced()
        var attempts: [CodeAuthorization] = []
        for number in 1...3 { attempts.append(try await bench.attempt(number, of: inquiry)) }
        let desk = bench.desk
        let verdicts = try await withThrowingTaskGroup(of: IssuerVerdict.self) { group in
            for attempt in attempts { group.addTask { try await desk.authorize(attempt) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(verdicts.filter { $0.outcome == .approved }.count == 1)
        #expect(verdicts.filter { $0.outcome == .declined }.count == 2)
        #expect(try await bench.funds() == [75_00, 0])
        try await bench.expectVerified()
    }

    @Test("The holder's telephone shows, blocks and speaks")
    func holders() async throws {
        let bench = try await IssuerBench()
        let card = HolderCard(id: bench.card.id, panMasked: bench.card.panMasked, isActive: true, language: "en")
        #expect(try await bench.desk.cards(ofPhone: IssuerBench.phone) == [card])
        #expect(try await bench.desk.cards(ofPhone: "+233209999999").isEmpty)
        try await bench.desk.setLanguage("tw", ofPhone: IssuerBench.phone)
        #expect(try await bench.desk.checkFunds(bench.inquiry()).language == "tw")
        await expectRefused { try await bench.desk.setLanguage("Twi", ofPhone: IssuerBench.phone) }
        await expectRefused { try await bench.desk.block(bench.card.id, fromPhone: "+233209999999") }
        for _ in 0..<2 { try await bench.desk.block(bench.card.id, fromPhone: IssuerBench.phone) }
        #expect(try await bench.desk.cards(ofPhone: IssuerBench.phone).map(\.isActive) == [false])
        try await bench.expectVerified()
    }
}

func expectRefused<Value>(
    _ location: SourceLocation = #_sourceLocation, _ body: () async throws -> Value
) async {
    await #expect(sourceLocation: location) {
        _ = try await body()
    } throws: {
        ($0 as? IssuerServiceError)?.kind == .refused
    }
}

extension CodeAuthorization {
    func with(sealed: [UInt8]? = nil, attempt: Int? = nil) -> CodeAuthorization {
        CodeAuthorization(
            payment: payment, attempt: attempt ?? self.attempt, sealedCode: sealed ?? sealedCode, profile: profile,
            promptDigest: promptDigest, phone: phone, expiresAt: expiresAt)
    }
}
