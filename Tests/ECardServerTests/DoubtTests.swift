import ByteCoding
import CardData
import ECardTesting
import Foundation
import Hummingbird
import Ledger
import PaymentPorts
import Synchronization
import Testing

@testable import ECardServer
@testable import OOPA

/// A bank whose issuer is behind a server of its own, on a way that a test breaks.
final class BankApart: Sendable {
    enum Way: Sendable {
        case open
        /// The connection ends before the issuer has heard of the call.
        case callsLost
        /// The issuer does what it is asked, and the connection ends before its answer.
        case answersLost
        /// The issuer does what it is asked; its answer comes when ``release()`` was called.
        case answersHeld
    }

    let bank: ServerBank
    let office: BankOffice
    let merchant: Merchant
    private let way: WayOfCalls

    private final class WayOfCalls: Sendable {
        let now = Mutex(Way.open)
        /// Says that an answer is held.
        let held = AsyncStream.makeStream(of: Void.self)
        let released = AsyncStream.makeStream(of: Void.self)
    }

    private init(_ bank: ServerBank, _ office: BankOffice, _ way: WayOfCalls) async throws {
        self.bank = bank
        self.office = office
        self.way = way
        merchant = try await bank.merchant().merchant
    }

    static func with(_ body: @escaping @Sendable (BankApart) async throws -> Void) async throws {
        let house = try TestHouse()
        let bank = try await ServerBank()
        let way = WayOfCalls()
        let (ours, theirs) = (try house.parties(.bank), try house.parties(.issuer))
        let routes = IssuerAPI(bank.office.issuer, parties: theirs).routes.map { route in
            Route(route.method, route.path) { request, context in
                let now = way.now.withLock { $0 }
                if now == .callsLost {
                    context.channel.close(promise: nil)
                    throw CancellationError()
                }
                let answer = try await route.answer(request, context)
                if now == .answersLost {
                    context.channel.close(promise: nil)
                    throw CancellationError()
                }
                if now == .answersHeld {
                    way.held.continuation.yield()
                    for await _ in way.released.stream { break }
                }
                return answer
            }
        }
        try await RunningServer.with(routes, parties: theirs) { server in
            try await IssuerLine.with(port: server.port, ours) { remote in
                let office = BankOffice(
                    stores: bank.books, issuer: remote, keys: bank.keys, time: bank.clock, policy: bank.office.policy)
                try await body(BankApart(bank, office, way))
            }
        }
    }

    func turn(_ next: Way) { way.now.withLock { $0 = next } }
    func heldAnswer() async { for await _ in way.held.stream { return } }
    func release() { way.released.continuation.yield() }

    /// A payment whose holder sees the prompt.
    func shown(later: Bool = false) async throws -> PaymentID {
        let order = MerchantDesk.Order(
            pan: bank.pan, expiry: try ExpiryDate(year: 2030, month: 12), name: nil,
            amount: Money(minorUnits: 25_00, currency: try Currency("GHS")), capturesLater: later, reference: nil)
        let payment = try await MerchantDesk(office).create(order, for: merchant, isLive: false, remembering: nil)
        _ = try await HolderDesk(office).show(payment, as: "Pay?", on: "simulator", phone: ServerBank.phone)
        return payment.id
    }

    func answer(_ id: PaymentID) async throws -> HolderAnswer {
        try await HolderDesk(office).answer(
            id, with: .digits(SecretBytes(Array(ServerBank.code.utf8))), on: "simulator", phone: ServerBank.phone)
    }

    /// Turns the clock on and has the timers look at everything.
    func later(seconds: Int64) async throws {
        bank.clock.turn(seconds: seconds)
        _ = try await BankTimers(office).runDue()
    }

    func stands(_ id: PaymentID) async throws -> OnlinePayment {
        try #require(try await bank.books.onlinePayment(id))
    }

    func atTheIssuer(_ id: PaymentID) async throws -> IssuerStanding { try await bank.office.issuer.inquire(id) }
}

@Suite("A verdict in doubt, over the wire", .ownThread) struct DoubtTests {
    @Test(
        "The merchant sees 'processing' until the issuer answers, then one verdict",
        arguments: [BankApart.Way.callsLost, .answersLost], [false, true])
    func inDoubt(_ way: BankApart.Way, later: Bool) async throws {
        try await BankApart.with { apart in
            let id = try await apart.shown(later: later)
            // The key that codes are sealed to is known from an earlier payment.
            _ = try await apart.office.sealingKeys.newest()
            apart.turn(way)
            guard case .processing = try await apart.answer(id) else {
                Issue.record("no answer was taken for one")
                return
            }
            for _ in 0..<3 {
                try await apart.later(seconds: 6)
                #expect(try await apart.stands(id).state.merchantStatus == "processing")
            }
            apart.turn(.open)
            for _ in 0..<2 { try await apart.later(seconds: 6) }
            #expect(try await apart.stands(id).state == (later ? .authorized : .captured))
            #expect(try await apart.atTheIssuer(id).capturedMinorUnits == (later ? 0 : 25_00))
            #expect(try await apart.bank.books.evidence(of: id) != nil)
            #expect(try await apart.bank.books.verify(since: nil) == [])
        }
    }

    @Test("At the deadline the payment is reversed, as soon as the issuer can be told")
    func deadline() async throws {
        try await BankApart.with { apart in
            let id = try await apart.shown()
            _ = try await apart.office.sealingKeys.newest()
            apart.turn(.answersLost)
            _ = try await apart.answer(id)
            #expect(try await apart.atTheIssuer(id).state == .captured)
            apart.turn(.callsLost)
            try await apart.later(seconds: 800)
            let expired = try await apart.stands(id)
            #expect(expired.state == .expired && expired.sealedCode == nil && expired.dueAt != nil)
            #expect(try await apart.atTheIssuer(id).state == .captured)
            apart.turn(.open)
            try await apart.later(seconds: 6)
            #expect(try await apart.atTheIssuer(id).state == .reversed)
            #expect(try await apart.stands(id).dueAt == nil)
            #expect(try await apart.bank.books.verify(since: nil) == [])
        }
    }

    @Test("An approval that comes after the reversal changes nothing")
    func lateAnswer() async throws {
        try await BankApart.with { apart in
            let id = try await apart.shown()
            _ = try await apart.office.sealingKeys.newest()
            apart.turn(.answersHeld)
            async let answer = apart.answer(id)
            await apart.heldAnswer()
            apart.turn(.open)
            try await apart.later(seconds: 800)
            #expect(try await apart.stands(id).state == .expired)
            #expect(try await apart.atTheIssuer(id).state == .reversed)
            apart.release()
            guard case .over(let payment) = try await answer, payment.state == .expired else {
                Issue.record("the late approval was taken")
                return
            }
            #expect(try await apart.stands(id).capturedMinorUnits == 0)
            #expect(try await apart.bank.books.verify(since: nil) == [])
        }
    }

    @Test("An answer that was lost is asked for again, and the later answer to the first is one and the same")
    func twice() async throws {
        try await BankApart.with { apart in
            let id = try await apart.shown()
            _ = try await apart.office.sealingKeys.newest()
            apart.turn(.answersHeld)
            async let answer = apart.answer(id)
            await apart.heldAnswer()
            apart.turn(.open)
            try await apart.later(seconds: 6)
            #expect(try await apart.stands(id).state == .captured)
            let step = try await apart.stands(id).step
            apart.release()
            _ = try await answer
            #expect(try await apart.stands(id).step == step)
            #expect(try await apart.atTheIssuer(id).capturedMinorUnits == 25_00)
        }
    }
}
