import ByteCoding
import CardData
import Crypto
import ECardTesting
import Foundation
import Issuing
import KeyCustody
import Ledger
import OOPA
import PaymentPorts
import PKCS11
import Synchronization
import Testing

/// An issuer as its bank sees it, on real parts: a SoftHSM token, a ledger in a file of its own, a clock that the test turns.
final class IssuerBench: Sendable {
    static let phone = "+233201234567"
    static let merchant = MerchantID(rawValue: "mer_0000000000000001")

    let keys: any KeyStore
    let ledger: LedgerDatabase
    let clock = BenchClock()
    let customer = CustomerID.random()
    let account = AccountID.random()
    let card: Card
    let pan: PAN
    let code: SecretBytes
    private let folder: TemporaryFolder

    /// - Parameters:
    ///   - profiles: the card's policy; `nil` as a card is made.
    ///   - probe: stands before the token.
    init(
        funds: Int64 = 100_00, profiles: [CodeProfile]? = nil, probe: (any KeyStore) -> any KeyStore = { $0 }
    ) async throws {
        keys = probe(try BenchToken.keys.get())
        folder = try TemporaryFolder()
        ledger = try LedgerDatabase(path: folder.file("ledger.sqlite"), sealer: AuditKeySealer(keys), create: true)
        let now = clock.now()
        try await ledger.add(
            Customer(
                id: customer, name: CardholderName("Ama Serwaa Mensah"), phone: Self.phone, email: "ama@example.com",
                createdAt: now))
        let ghs = try Currency("GHS")
        try await ledger.open(account, for: customer, currency: ghs, at: now)
        if funds > 0 {
            try await ledger.deposit(
                Money(minorUnits: funds, currency: ghs), to: account, idempotencyKey: "first", at: now)
        }
        (card, pan) = try await Self.activeCard(account, ledger, keys, clock)
        let codes = CodeOffice(keys: keys, cards: ledger, codes: ledger, time: clock)
        code = try await codes.issue(card.id, CodeOffice.Terms()).code
        if let profiles { try await ledger.setProfiles(profiles, of: card.id, at: now) }
    }

    var desk: IssuerDesk { IssuerDesk(keys: keys, stores: ledger, time: clock) }
    var messages: IssuerMessages { IssuerMessages(keys: keys, store: ledger) }

    static func activeCard(
        _ account: AccountID, _ ledger: LedgerDatabase, _ keys: any KeyStore, _ clock: BenchClock
    ) async throws -> (Card, PAN) {
        let path =
            URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("cards/classic.yaml").path
        let profile = try CardProfile(yaml: String(contentsOfFile: path, encoding: .utf8), file: "cards/classic.yaml")
        let office = CardOffice(keys: keys, cards: ledger, time: clock)
        let card = try await office.create(
            for: account, name: CardholderName("Ama Serwaa Mensah"), profile: profile, isExposed: true)
        for (from, to) in [(Card.State.created, Card.State.personalizing), (.personalizing, .active)] {
            try await ledger.setState(to, of: card.id, from: [from], isExposed: false, at: clock.now())
        }
        return (card, try await office.pan(of: card))
    }

    /// The right code with its last digit turned by `by`.
    func wrongCode(_ by: UInt8 = 1) -> SecretBytes {
        var digits = code.exposedCopy()
        digits[digits.count - 1] = 0x30 + (digits[digits.count - 1] - 0x30 + by) % 10
        return SecretBytes(wiping: &digits)
    }

    func inquiry(
        _ minorUnits: Int64 = 25_00, pan: PAN? = nil, expiry: ExpiryDate? = nil, later: Bool = false,
        id: PaymentID = .random(), seconds: Int64 = 600
    ) throws -> FundsInquiry {
        FundsInquiry(
            payment: id, pan: pan ?? self.pan, expiry: expiry ?? card.expiry, name: nil,
            amount: Money(minorUnits: minorUnits, currency: try Currency("GHS")), merchant: Self.merchant,
            merchantName: "Makola Books", capturesLater: later, expiresAt: clock.now().adding(seconds: seconds))
    }

    /// A payment that is announced.
    func announced(_ minorUnits: Int64 = 25_00, later: Bool = false) async throws -> FundsInquiry {
        let inquiry = try inquiry(minorUnits, later: later)
        _ = try await desk.checkFunds(inquiry)
        return inquiry
    }

    static func prompt(_ text: String = "Pay GHS 25.00 to Makola Books?") -> [UInt8] {
        Array(SHA256.hash(data: Array(text.utf8)))
    }

    /// A try, sealed for `context`, or else for exactly itself.
    func attempt(
        _ number: Int = 1, of inquiry: FundsInquiry, _ code: SecretBytes? = nil, profile: CodeProfile = .sealed,
        form: CodeSealing.Form = .compact, phone: String = IssuerBench.phone, context: CodeContext? = nil
    ) async throws -> CodeAuthorization {
        let key = try #require(try await desk.sealingKeys().first)
        let own = CodeContext(
            payment: inquiry.payment, promptDigest: Self.prompt(), phone: phone, expiresAt: inquiry.expiresAt)
        return CodeAuthorization(
            payment: inquiry.payment, attempt: number,
            sealedCode: try CodeSealing.seal(code ?? self.code, to: key, form: form, context: context ?? own),
            profile: profile, promptDigest: Self.prompt(), phone: phone, expiresAt: inquiry.expiresAt)
    }

    /// Balance and what is held of it, minor units.
    func funds() async throws -> [Int64] {
        let found = try #require(try await ledger.account(account))
        return [found.balance.minorUnits, found.heldMinorUnits]
    }

    func failures() async throws -> Int { try #require(try await ledger.code(of: card.id)).failures }

    func expectVerified(_ location: SourceLocation = #_sourceLocation) async throws {
        #expect(try await ledger.verify(since: nil) == [], sourceLocation: location)
    }
}

/// It begins on Friday 2026-01-02, 03:04:05 UTC, and only the test turns it.
final class BenchClock: TimeSource {
    private let moment = Mutex(LedgerSample.start)
    func now() -> Timestamp { moment.withLock { $0 } }
    func turn(seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }
}

/// One token with an issuer's keys for all tests of this target.
enum BenchToken {
    static let keys = Result<any KeyStore, any Error> {
        let keys = try TemporaryToken().open()
        try keys.withSessionBlocking { session in _ = try IssuerKey.createMissing(in: session) }
        return keys
    }
}
