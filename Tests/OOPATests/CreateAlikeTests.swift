import CardData
import ECardTesting
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import Testing

@testable import OOPA

/// From a payment's making to its end a merchant sees nothing that tells whether the card, or its telephone, exists: not by the
/// answers, and not by the work behind them, at the bank and at the issuer.
@Suite("Payments of cards that exist and of cards that do not are alike") struct CreateAlikeTests {
    enum Face: CaseIterable { case known, unknown, blocked, phoneless }

    /// What can be seen of one payment that nobody answers. Every durable write seals its records in a session of its own: the
    /// calls tell how many there are.
    struct Trace: Equatable {
        var states: [String] = []
        /// Calls of the issuer's HSM and of the bank's, at the making, and at the end: there in no order, since two payments end
        /// side by side, and share sessions and commits or not.
        var calls: [[String]] = []
        /// Records that the two audit chains got.
        var records: [[String]] = []
    }

    @Test(arguments: Face.allCases)
    func alike(_ face: Face) async throws {
        let expected = try await Self.trace(.known)
        #expect(expected.states == ["prompting", "expired"])
        // A session for the announcement and one for its seal; at the bank the seals of the payment's first two steps.
        #expect(expected.calls.count == 4 && expected.calls[0].count { $0 == "session" } >= 2)
        #expect(expected.calls[1].count { $0 == "sign" } >= 2)
        let trace = try await Self.trace(face)
        #expect(trace.states == expected.states)
        #expect(trace.calls == expected.calls)
        #expect(trace.records == expected.records)
    }

    @Test("The trace does differ where it may: a holder who is shown the payment")
    func control() async throws {
        #expect(try await Self.trace(.known, isShown: true) != Self.trace(.known))
    }

    private static func trace(_ face: Face, isShown: Bool = false) async throws -> Trace {
        let atIssuer = Probe()
        let issuer = try await IssuerBench { atIssuer.put(before: $0) }
        let folder = try TemporaryFolder()
        let atBank = ProbedKeyStore(try OOPAToken.keys())
        let books = try BankDatabase(
            path: folder.file("bank.sqlite"), sealer: AuditKeySealer(atBank) { BankKey.audit.label($0) }, create: true
        )
        let office = BankOffice(
            stores: books, issuer: issuer.desk, keys: atBank, time: issuer.clock,
            policy: try BankPolicy(yaml: TestBank.noPatterns))
        let id = MerchantID.random()
        try await books.add(
            Merchant(
                id: id, name: "Makola Books", registration: "CS-1", state: .registered, verifiedBy: nil,
                createdAt: issuer.clock.now()))
        try await books.setState(.verified, of: id, by: "Efua", at: issuer.clock.now())
        let merchant = try #require(try await books.merchant(id))
        let printed = try await print(of: face, at: issuer)
        let desk = MerchantDesk(office)
        func create(_ pan: PAN, _ expiry: ExpiryDate) async throws -> OnlinePayment {
            let order = MerchantDesk.Order(
                pan: pan, expiry: expiry, name: nil, amount: Money(minorUnits: 25_00, currency: try Currency("GHS")),
                capturesLater: false)
            return try await desk.create(order, for: merchant, isLive: true, remembering: nil)
        }
        // What a process does at its first payment it does at no other.
        _ = try await create(issuer.pan, issuer.card.expiry)

        var trace = Trace()
        let before = [try await issuer.ledger.records(limit: nil).count, try await books.records(limit: nil).count]
        func note(_ state: OnlinePayment.State) {
            trace.states.append(state.rawValue)
            let calls = [atIssuer.store?.calls ?? [], atBank.calls]
            trace.calls += state.isFinal ? calls.map { $0.filter { $0 != "session" }.sorted() } : calls
            atIssuer.store?.forget()
            atBank.forget()
        }
        atIssuer.store?.forget()
        atBank.forget()
        let payment = try await create(printed.pan, printed.expiry)
        if isShown {
            _ = try await HolderDesk(office).show(payment, as: "Pay?", on: "simulator", phone: IssuerBench.phone)
        }
        note(payment.state)
        // The one before it ends at the same time, as it does for every face.
        issuer.clock.turn(seconds: office.policy.lifetimeSeconds + 1)
        while try await BankTimers(office).runDue() > 0 {}
        note(try #require(try await books.onlinePayment(payment.id)).state)
        trace.records = [
            try await issuer.ledger.records(limit: nil).dropFirst(before[0]).map(\.kind),
            try await books.records(limit: nil).dropFirst(before[1]).map(\.kind),
        ]
        return trace
    }

    /// What is printed on a card of this kind.
    private static func print(of face: Face, at issuer: IssuerBench) async throws -> (pan: PAN, expiry: ExpiryDate) {
        switch face {
        case .known: return (issuer.pan, issuer.card.expiry)
        case .unknown: return (try PAN(issuer: "993600", account: "000000000"), issuer.card.expiry)
        case .blocked, .phoneless:
            let customer = CustomerID.random()
            let account = AccountID.random()
            let now = issuer.clock.now()
            try await issuer.ledger.add(
                Customer(
                    id: customer, name: CardholderName("Kofi"), phone: face == .phoneless ? nil : "+233200000000",
                    email: nil, createdAt: now))
            try await issuer.ledger.open(account, for: customer, currency: Currency("GHS"), at: now)
            let (card, pan) = try await IssuerBench.activeCard(account, issuer.ledger, issuer.keys, issuer.clock)
            if face == .blocked {
                try await issuer.ledger.setState(.blocked, of: card.id, from: [.active], isExposed: false, at: now)
            }
            return (pan, card.expiry)
        }
    }

    /// The probe that the issuer's bench is made with.
    private final class Probe {
        var store: ProbedKeyStore?
        func put(before keys: any KeyStore) -> any KeyStore {
            let probe = ProbedKeyStore(keys)
            store = probe
            return probe
        }
    }
}
