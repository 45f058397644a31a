import ByteCoding
import CardData
import Crypto
import ECardTesting
import Foundation
import Issuing
import KeyCustody
import Ledger
import OOPA
import PKCS11
import PaymentPorts
import Synchronization
import Testing

/// A clock that only the test turns, backwards too.
final class TurnedClock: TimeSource {
    private let moment = Mutex(BankSample.start)

    func now() -> Timestamp { moment.withLock { $0 } }
    func turn(seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }
}

/// A bank on real parts (a SoftHSM token, books in a file of their own) before an issuer that is a model: the codes that it
/// opens were sealed to a key in the token.
final class TestBank: Sendable {
    static let phone = "+233201234567"
    static let code = "135790"

    private let folder: TemporaryFolder
    private let file: BankDatabase
    let keys: any KeyStore
    var database: any BankStores { file }
    let clock = TurnedClock()
    let model: ModelIssuer
    let issuer: FlakyIssuer
    let office: BankOffice
    let desk: MerchantDesk
    let holder: HolderDesk
    let timers: BankTimers
    let merchant: Merchant
    let currency: CardData.Currency
    let pan: PAN
    let card: CardID

    /// - Parameters:
    ///   - funds: minor units on the holder's account.
    ///   - patterns: what the bank finds unusual; nothing unless a test says so.
    ///   - promptSeconds: what a prompt that comes by itself has until the notice leaves; `nil`: none does.
    init(
        funds: Int64 = 1_000_00, patterns: String = TestBank.noPatterns, promptSeconds: Int64? = nil
    ) async throws {
        folder = try TemporaryFolder()
        let keys = try OOPAToken.keys()
        self.keys = keys
        file = try BankDatabase(
            path: folder.file("bank.sqlite"), sealer: AuditKeySealer(keys) { BankKey.audit.label($0) }, create: true)
        currency = try Currency("GHS")
        pan = try PAN(issuer: "999999", account: "000000001")
        card = CardID.random()
        model = ModelIssuer(
            keys: try await keys.withSession { try CodeSealing.keys(KeyVersions(), in: $0) }
        ) { request in
            let context = CodeContext(
                payment: request.payment, promptDigest: request.promptDigest, phone: request.phone,
                expiresAt: request.expiresAt)
            return try await keys.withSession { session in
                guard let code = try? CodeSealing.open(request.sealedCode, context: context, in: session) else {
                    return nil
                }
                return String(decoding: code.exposedCopy(), as: UTF8.self)
            }
        }
        await model.add(ModelIssuer.Holder(pan: pan, card: card, phone: Self.phone, code: Self.code, balance: funds))
        issuer = FlakyIssuer(model) { nil }
        var policy = try BankPolicy(yaml: patterns)
        policy.promptSeconds = promptSeconds
        office = BankOffice(stores: file, issuer: issuer, keys: keys, time: clock, policy: policy)
        desk = MerchantDesk(office)
        holder = HolderDesk(office)
        timers = BankTimers(office)
        let id = MerchantID.random()
        try await file.add(
            Merchant(
                id: id, name: "Makola Books", registration: "CS-1", country: "GH", state: .registered, verifiedBy: nil,
                createdAt: clock.now()))
        try await file.setState(.verified, of: id, by: "Efua", at: clock.now())
        merchant = try #require(try await file.merchant(id))
    }

    deinit { try? file.close() }

    static let noPatterns = """
        caps: {codes-per-phone: 1000000, codes-per-merchant: 1000000, codes-everywhere: 1000000, notices-per-card: 1000000}
        rules: []
        """

    func money(_ minorUnits: Int64) -> Money { Money(minorUnits: minorUnits, currency: currency) }

    func order(_ minorUnits: Int64 = 25_00, later: Bool = false, pan other: PAN? = nil) throws -> MerchantDesk.Order {
        MerchantDesk.Order(
            pan: other ?? pan, expiry: try ExpiryDate(year: 2030, month: 12), name: nil, amount: money(minorUnits),
            capturesLater: later, reference: "order 7")
    }

    func create(_ minorUnits: Int64 = 25_00, later: Bool = false, pan other: PAN? = nil) async throws -> OnlinePayment {
        try await desk.create(
            order(minorUnits, later: later, pan: other), for: merchant, isLive: true, remembering: nil)
    }

    /// Creates a payment and shows it.
    func shown(_ minorUnits: Int64 = 25_00, later: Bool = false) async throws -> OnlinePayment {
        let payment = try await create(minorUnits, later: later)
        return try await show(payment.id)
    }

    func show(_ id: PaymentID) async throws -> OnlinePayment {
        let payment = try #require(try await file.onlinePayment(id))
        return try await holder.show(payment, as: "Pay \(id)?", on: "simulator", phone: Self.phone)
    }

    func answer(_ id: PaymentID, _ code: String = TestBank.code) async throws -> HolderAnswer {
        try await holder.answer(
            id, with: .digits(SecretBytes(Array(code.utf8))), on: "simulator", phone: Self.phone)
    }

    /// Creates, shows and answers.
    func paid(_ minorUnits: Int64 = 25_00, later: Bool = false) async throws -> OnlinePayment {
        let payment = try await shown(minorUnits, later: later)
        _ = try await answer(payment.id)
        return try await stands(payment.id)
    }

    func stands(_ id: PaymentID) async throws -> OnlinePayment {
        try #require(try await database.onlinePayment(id))
    }

    /// What the holder has, and what of it is held.
    func funds() async throws -> [Int64] {
        let holder = try #require(await model.holder(pan))
        return [holder.balance, holder.held]
    }

    func owed() async throws -> Int64 {
        try await database.owed(to: merchant.id, isLive: true).first?.minorUnits ?? 0
    }

    /// The chain and the books are whole, and no money came or went: what the holder lost is what the merchant is owed.
    func expectWhole(funds: Int64 = 1_000_00, location: SourceLocation = #_sourceLocation) async throws {
        #expect(try await database.verify(since: nil) == [], sourceLocation: location)
        let held = try await self.funds()
        #expect(held[0] + (try await owed()) == funds, "money", sourceLocation: location)
    }

    /// Turns the clock and runs timers until nothing is due.
    func settle(seconds: Int64 = 10, rounds: Int = 40) async throws {
        for _ in 0..<rounds {
            try await timers.runDue()
            clock.turn(seconds: seconds)
        }
        while try await timers.runDue() > 0 {}
    }
}
