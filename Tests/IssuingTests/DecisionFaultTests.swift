import ByteCoding
import CardData
import ECardTesting
import EMV
import Foundation
@testable import Issuing
import KeyCustody
import PaymentPorts
import Synchronization
import Testing
import VirtualCard

/// What repeats, races, crashes and failing parts do to a decision.
@Suite("Decision under faults") struct DecisionFaultTests {
    // MARK: Repeats

    @Test("a repeat gets the same answer, byte for byte, and moves no money", arguments: [true, false])
    func repeated(_ isRight: Bool) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let request = try issuer.request(card, code: isRight ? card.code : card.wrongCode, name: "A Mensah")
        let first = try await issuer.authorizer().authorize(request)
        let stored = try await issuer.payment(first).storedAnswer
        let funds = try await issuer.funds()
        for _ in 0..<3 {
            let again = try await issuer.authorizer().authorize(request)
            #expect(again.isRepeat && !first.isRepeat)
            #expect(try again.encoded() == stored)
        }
        #expect(try await issuer.funds() == funds)
        #expect(try await issuer.ledger.payments(of: nil, limit: 10).count == 1)
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == (isRight ? 0 : 1))
    }

    @Test("a chip's request repeated gets the same ARPC")
    func repeatedChip() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        var (terminal, evidence) = try await issuer.present(try #require(card.chip))
        let request = issuer.request(evidence, code: card.code)
        let lost = try await issuer.authorizer().authorize(request)
        let answer = try await issuer.authorizer().authorize(request)
        #expect(try answer.encoded() == lost.encoded())
        #expect(try await terminal.complete(IssuerResponse(answer)).isApproved)
        #expect(try await issuer.funds() == [100_00, 25_00])
    }

    @Test("a repeat with another code gets the stored answer: no second guess for one key")
    func repeatedWithAnotherCode() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let key = UUID().uuidString
        let first = try await issuer.authorizer().authorize(try issuer.request(card, code: card.wrongCode, key: key))
        let second = try await issuer.authorizer().authorize(try issuer.request(card, code: card.code, key: key))
        #expect(try second.encoded() == first.encoded())
        #expect(second.isRepeat)
        #expect(!second.isApproved)
    }

    @Test("the same key of another merchant is another payment")
    func otherMerchant() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let one = try await issuer.authorizer().authorize(
            try issuer.request(card, code: card.code, key: "order-1", merchant: "One"))
        let two = try await issuer.authorizer().authorize(
            try issuer.request(card, code: card.code, key: "order-1", merchant: "Two"))
        #expect(one.isApproved && two.isApproved && one.payment != two.payment && !two.isRepeat)
        #expect(try await issuer.funds() == [50_00, 0])
    }

    /// Requests that differ from a first one in one thing.
    static let differences: [(name: String, change: @Sendable (inout AuthorizationRequest) throws -> Void)] = [
        ("amount", { $0.amount = Money(minorUnits: $0.amount.minorUnits + 1, currency: $0.amount.currency) }),
        ("currency", { $0.amount = Money(minorUnits: $0.amount.minorUnits, currency: try Currency("EUR")) }),
        ("capture", { $0.capturesLater.toggle() }),
        (
            "expiry",
            {
                $0.presentation = .cardNotPresent(
                    pan: try #require($0.pan), expiry: try ExpiryDate(year: try #require($0.expiry).year + 1, month: 1),
                    name: nil)
            }
        ),
        (
            "card",
            {
                $0.presentation = .cardNotPresent(
                    pan: try PAN(issuer: "993600", account: "000000000"), expiry: try #require($0.expiry), name: nil)
            }
        ),
        (
            "name",
            {
                $0.presentation = .cardNotPresent(
                    pan: try #require($0.pan), expiry: try #require($0.expiry),
                    name: try CardholderName("Kofi Mensah"))
            }
        ),
    ]

    @Test("the same key for another request is refused", arguments: differences.indices)
    func keyReused(_ index: Int) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        var request = try issuer.request(card, code: card.code)
        let first = try await issuer.authorizer().authorize(request)
        try Self.differences[index].change(&request)
        let error = try await #require(throws: StoreError.self) { try await issuer.authorizer().authorize(request) }
        #expect(error.kind == .keyReused, "\(Self.differences[index].name)")
        #expect(!error.description.contains(first.payment))
        #expect(try await issuer.payment(first).state == .captured)
        #expect(try await issuer.funds() == [75_00, 0])
    }

    // MARK: Races

    @Test("two payments at once, funds for one: one is approved, every time")
    func lastFunds() async throws {
        let issuer = try await TestIssuer(funds: 0)
        let card = try await issuer.plainCard()
        for round in 1...25 {
            try await issuer.deposit(30_00)
            let authorizer = issuer.authorizer()
            let (first, second) = (try issuer.request(card, code: card.code), try issuer.request(card, code: card.code))
            async let one = authorizer.authorize(first)
            async let two = authorizer.authorize(second)
            #expect(try await [one.responseCode, two.responseCode].sorted() == ["00", "51"], "round \(round)")
            try await issuer.drain(card)
        }
        #expect(try await issuer.funds() == [0, 0])
        #expect(try await issuer.ledger.verify(since: nil) == [])
    }

    @Test("the funds gone between the two commits: 51, and the right code is still forgiven its failures")
    func fundsGone() async throws {
        let issuer = try await TestIssuer(funds: 30_00)
        let card = try await issuer.plainCard()
        let stores = ProbedStores(issuer.ledger)
        let isFirst = Mutex(true)
        stores.beforeDecision { _ in
            guard
                isFirst.withLock({ first in
                    defer { first = false }; return first
                })
            else { return }
            try await issuer.approve(card)
        }
        let answer = try await Authorizer(keys: issuer.keys, stores: stores, time: issuer.clock)
            .authorize(try issuer.request(card, code: card.code))
        #expect(answer.responseCode == "51")
        #expect(try await issuer.funds() == [5_00, 0])
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 0)
    }

    /// What can happen to a card or its code between the two commits.
    static let deeds: [(name: String, body: @Sendable (TestIssuer, CardID) async throws -> Void)] = [
        ("card blocked", { try await $0.cards.block($1) }),
        ("code revoked", { try await $0.codes.revoke($1) }),
        ("code rotated", { _ = try await $0.codes.rotate($1, .init()) }),
        ("code locked", { try await $0.ledger.setState(.locked, of: $1, from: [.active], at: $0.clock.now()) }),
    ]

    @Test(
        "the card or code ended between the two commits: declined, durably, and a repeat too", arguments: deeds.indices)
    func endedInBetween(_ index: Int) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let stores = ProbedStores(issuer.ledger)
        let isFirst = Mutex(true)
        stores.beforeDecision { _ in
            guard
                isFirst.withLock({ first in
                    defer { first = false }; return first
                })
            else { return }
            try await Self.deeds[index].body(issuer, card.record.id)
        }
        let authorizer = Authorizer(keys: issuer.keys, stores: stores, time: issuer.clock)
        let request = try issuer.request(card, code: card.code)
        let answer = try await authorizer.authorize(request)
        #expect(answer.responseCode == "05", "\(Self.deeds[index].name)")
        #expect(try await issuer.payment(answer).state == .declined)
        #expect(try await authorizer.authorize(request).encoded() == answer.encoded())
        #expect(try await issuer.funds() == [100_00, 0])
        #expect(try await issuer.ledger.verify(since: nil) == [])
    }

    @Test("many payments at once keep to the day's limits", arguments: [true, false])
    func limitsAtOnce(byCount: Bool) async throws {
        let issuer = try await TestIssuer(funds: 1000_00)
        let record = try await issuer.activeCard()
        let card = TestCard(
            record: record, pan: try await issuer.cards.pan(of: record),
            code: try await issuer.newCode(for: record, .init(failureLimit: 10)), chip: nil)
        var policy = DecisionPolicy()
        if byCount { policy.approvalsPerDay = 4 } else { policy.largestDay = 100 }
        let stores = ProbedStores(issuer.ledger)
        // Nobody decides before all have begun: every snapshot says that nothing was spent.
        let gathering = Gathering(of: 10)
        stores.beforeDecision { decision in if decision.capture != nil { await gathering.arrive() } }
        let authorizer = Authorizer(keys: issuer.keys, stores: stores, time: issuer.clock, policy: policy)
        let requests = try (0..<10).map { _ in try issuer.request(card, code: card.code) }
        let codes = try await withThrowingTaskGroup(of: String.self) { group in
            for request in requests { group.addTask { try await authorizer.authorize(request).responseCode } }
            return try await group.reduce(into: [String]()) { $0.append($1) }.sorted()
        }
        #expect(codes == Array(repeating: "00", count: 4) + Array(repeating: byCount ? "65" : "61", count: 6))
        #expect(try await issuer.funds() == [900_00, 0])
    }

    @Test("many guesses at once: no more than the limit are checked")
    func guessesAtOnce() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let authorizer = issuer.authorizer()
        let requests = try (0..<20).map { _ in try issuer.request(card, code: card.wrongCode) }
        let reasons = try await withThrowingTaskGroup(of: String.self) { group in
            for request in requests {
                group.addTask { try await issuer.payment(authorizer.authorize(request)).reason }
            }
            return try await group.reduce(into: [String]()) { $0.append($1) }
        }
        #expect(reasons.filter { $0.hasPrefix("wrong code") }.count == 3)
        #expect(try await issuer.ledger.code(of: card.record.id)?.state == .locked)
        #expect(!(try await authorizer.authorize(try issuer.request(card, code: card.code)).isApproved))
    }

    @Test(
        "64 payments in flight at once: right codes lock nothing, of wrong ones three are checked",
        arguments: [true, false])
    func inFlight(isRight: Bool) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let stores = ProbedStores(issuer.ledger)
        let gathering = Gathering(of: 64)
        stores.beforeDecision { _ in await gathering.arrive() }
        let authorizer = Authorizer(keys: issuer.keys, stores: stores, time: issuer.clock)
        let requests = try (0..<64).map { _ in
            try issuer.request(card, code: isRight ? card.code : card.wrongCode)
        }
        let reasons = try await withThrowingTaskGroup(of: String.self) { group in
            for request in requests {
                group.addTask {
                    let answer = try await authorizer.authorize(request)
                    #expect(answer.isApproved || answer.responseCode == "05")
                    return try await issuer.payment(answer).reason
                }
            }
            return try await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
        let busy = "as many payments as the code has tries are undecided"
        let expected =
            isRight
            ? ["approved": 3, busy: 61]
            : Dictionary(
                uniqueKeysWithValues: (1...3).map { ("wrong code (attempt \($0) of 3)", 1) } + [(busy, 61)])
        #expect(reasons == expected)
        let code = try await issuer.ledger.code(of: card.record.id)
        #expect(code?.state == (isRight ? .active : .locked) && code?.failures == (isRight ? 0 : 3))
        let next = try await authorizer.authorize(try issuer.request(card, code: card.code))
        #expect(next.isApproved == isRight)
        #expect(try await issuer.funds() == [isRight ? 0 : 100_00, 0])
        #expect(try await issuer.ledger.verify(since: nil) == [])
    }

    // MARK: Crashes

    struct Crash: Error {}

    @Test("a crash between the commits: the same request again is decided, the attempt counted twice, no money lost")
    func crash() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let stores = ProbedStores(issuer.ledger)
        let authorizer = Authorizer(keys: issuer.keys, stores: stores, time: issuer.clock)
        let request = try issuer.request(card, code: card.wrongCode)
        stores.beforeDecision { _ in throw Crash() }
        await #expect(throws: Crash.self) { try await authorizer.authorize(request) }
        #expect(try await issuer.ledger.payments(of: nil, limit: 10).map(\.state) == [.attempted])
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 1)
        #expect(try await issuer.funds() == [100_00, 0])

        stores.beforeDecision(nil)
        // The first may still be on its way: of two with one key only one is looked at.
        let error = try await #require(throws: StoreError.self) { try await authorizer.authorize(request) }
        #expect(error.kind == .conflict && error.description.contains("in progress"))
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 1)
        issuer.clock.turn(seconds: 30)
        #expect(try await authorizer.authorize(request).responseCode == "05")
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 2)
        #expect(try await issuer.ledger.payments(of: nil, limit: 10).count == 1)
        #expect(try await issuer.ledger.verify(since: nil) == [])
    }

    @Test("crashes cannot buy guesses: after as many as the limit the code is locked")
    func crashesAreGuesses() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let stores = ProbedStores(issuer.ledger)
        let authorizer = Authorizer(keys: issuer.keys, stores: stores, time: issuer.clock)
        stores.beforeDecision { _ in throw Crash() }
        for _ in 0..<3 {
            let request = try issuer.request(card, code: card.wrongCode)
            await #expect(throws: Crash.self) { try await authorizer.authorize(request) }
        }
        stores.beforeDecision(nil)
        // They may be on their way still.
        #expect(!(try await authorizer.authorize(try issuer.request(card, code: card.code)).isApproved))
        #expect(try await issuer.ledger.code(of: card.record.id)?.state == .active)
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 3)
        issuer.clock.turn(seconds: 30)
        #expect(!(try await authorizer.authorize(try issuer.request(card, code: card.code)).isApproved))
        #expect(try await issuer.ledger.code(of: card.record.id)?.state == .locked)
    }

    @Test("a right code after a crash is approved once")
    func crashThenRight() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let stores = ProbedStores(issuer.ledger)
        let authorizer = Authorizer(keys: issuer.keys, stores: stores, time: issuer.clock)
        let request = try issuer.request(card, code: card.code)
        stores.beforeDecision { _ in throw Crash() }
        await #expect(throws: Crash.self) { try await authorizer.authorize(request) }
        stores.beforeDecision(nil)
        issuer.clock.turn(seconds: 30)
        #expect(try await authorizer.authorize(request).isApproved)
        #expect(try await authorizer.authorize(request).isApproved)
        #expect(try await issuer.funds() == [75_00, 0])
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 0)
    }

    @Test("a crash that nobody repeats: declined after an hour, and a repeat reads so")
    func crashForGood() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let stores = ProbedStores(issuer.ledger)
        let authorizer = Authorizer(keys: issuer.keys, stores: stores, time: issuer.clock)
        let request = try issuer.request(card, code: card.code)
        stores.beforeDecision { _ in throw Crash() }
        await #expect(throws: Crash.self) { try await authorizer.authorize(request) }
        stores.beforeDecision(nil)
        issuer.clock.turn(seconds: 3_600)
        #expect(try await issuer.ledger.expireHolds(at: issuer.clock.now()) == 1)
        let answer = try await authorizer.authorize(request)
        #expect(answer.responseCode == "91" && answer.isRepeat)
        #expect(try await issuer.payment(answer).state == .declined)
        #expect(try await issuer.funds() == [100_00, 0])
    }

    @Test("the HSM failing at the check: no decision, and the attempt stays counted")
    func failingHSM() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let probe = ProbedKeyStore(issuer.keys)
        let authorizer = Authorizer(keys: probe, stores: issuer.ledger, time: issuer.clock)
        probe.fail(["verify"])
        let error = try await #require(throws: KeyStoreError.self) {
            try await authorizer.authorize(try issuer.request(card, code: card.code))
        }
        #expect(error.kind == .deviceRemoved)
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 1)
        #expect(try await issuer.funds() == [100_00, 0])
    }

    @Test("the HSM failing before the first commit leaves nothing")
    func failingEarly() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let probe = ProbedKeyStore(issuer.keys)
        probe.fail(["sign"])
        await #expect(throws: KeyStoreError.self) {
            try await Authorizer(keys: probe, stores: issuer.ledger, time: issuer.clock)
                .authorize(try issuer.request(card, code: card.code))
        }
        #expect(try await issuer.ledger.payments(of: nil, limit: 10).isEmpty)
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 0)
    }
}

extension TestIssuer {
    /// Spends what is left.
    func drain(_ card: TestCard) async throws {
        let rest = try await funds()[0]
        if rest > 0 { try await approve(card, rest) }
    }
}
