import ByteCoding
import CardData
import ECardTesting
import EMV
import Foundation
import GlobalPlatform
@testable import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import PKCS11
import SmartCard
import Synchronization
import Testing
import VirtualCard

/// A clock that only the test turns. It begins on Friday 2026-01-02, 03:04:05 UTC.
final class TurnedClock: TimeSource {
    private let moment = Mutex(LedgerSample.start)

    func now() -> Timestamp { moment.withLock { $0 } }
    func turn(seconds: Int64) { moment.withLock { $0 = $0.adding(seconds: seconds) } }
    func turn(days: Int64) { turn(seconds: days * 86_400) }
}

/// One SoftHSM token with an issuer's keys for all tests of this target: keys do not change, ledgers do.
enum SharedToken {
    static func keys() throws -> any KeyStore { try opened.get() }

    private static let opened = Result<any KeyStore, any Error> {
        let keys = try TemporaryToken().open()
        try keys.withSessionBlocking { session in _ = try IssuerKey.createMissing(in: session) }
        return keys
    }
}

/// An issuer on real parts: a SoftHSM token, a ledger in a file of its own, chips in files, and a clock the test turns.
final class TestIssuer: Sendable {
    static let merchant = "Makola Books"
    static let holder = "Ama Serwaa Mensah"

    let keys: any KeyStore
    let folder: TemporaryFolder
    let ledger: any IssuerStores
    let clock = TurnedClock()
    let profile: CardProfile
    let currency: CardData.Currency
    let customer = CustomerID.random()
    let account = AccountID.random()

    /// - Parameters:
    ///   - funds: minor units on the account.
    ///   - keys: the shared token's unless the test has its own.
    init(funds: Int64 = 100_00, keys: (any KeyStore)? = nil) async throws {
        self.keys = try keys ?? SharedToken.keys()
        folder = try TemporaryFolder()
        ledger = try LedgerDatabase(
            path: folder.path + "/ledger.sqlite", sealer: AuditKeySealer(self.keys), create: true)
        profile = try Profiles.classic()
        currency = try Currency("GHS")
        try await ledger.add(
            Customer(
                id: customer, name: try CardholderName(Self.holder), phone: "+233201234567", email: nil,
                createdAt: clock.now()))
        try await ledger.open(account, for: customer, currency: currency, at: clock.now())
        if funds > 0 { try await deposit(funds) }
    }

    var cards: CardOffice { CardOffice(keys: keys, cards: ledger, time: clock) }
    var codes: CodeOffice { CodeOffice(keys: keys, cards: ledger, codes: ledger, time: clock) }
    var personalizer: Personalizer { Personalizer(keys: keys, cards: ledger, time: clock) }

    func authorizer(_ policy: DecisionPolicy = DecisionPolicy()) -> Authorizer {
        Authorizer(keys: keys, stores: ledger, time: clock, policy: policy)
    }

    func money(_ minorUnits: Int64) -> Money { Money(minorUnits: minorUnits, currency: currency) }

    func deposit(_ minorUnits: Int64) async throws {
        try await ledger.deposit(money(minorUnits), to: account, idempotencyKey: UUID().uuidString, at: clock.now())
    }

    /// Balance and what is held of it, minor units.
    func funds() async throws -> [Int64] {
        let account = try #require(try await ledger.account(account))
        return [account.balance.minorUnits, account.heldMinorUnits]
    }

    func payment(_ answer: AuthorizationAnswer) async throws -> Payment {
        try #require(try await ledger.payment(PaymentID(rawValue: answer.payment)))
    }

    // MARK: Cards

    /// A recorded card without a chip.
    /// - Parameter isExposed: made for a chip with public keys, as ``chip(exposed:)`` makes them.
    func card(name: String = TestIssuer.holder, isExposed: Bool = true) async throws -> Card {
        try await cards.create(for: account, name: CardholderName(name), profile: profile, isExposed: isExposed)
    }

    /// An active card without a chip, for payments without one.
    func activeCard(name: String = TestIssuer.holder) async throws -> Card {
        let card = try await card(name: name)
        try await ledger.setState(.personalizing, of: card.id, from: [.created], isExposed: false, at: clock.now())
        try await ledger.setState(.active, of: card.id, from: [.personalizing], isExposed: false, at: clock.now())
        return try await reload(card)
    }

    func reload(_ card: Card) async throws -> Card { try #require(try await ledger.card(card.id)) }

    /// A new chip in this issuer's folder.
    /// - Parameter exposed: with the public test keys, which spares it the making of an RSA key.
    func chip(exposed: Bool = true) throws -> VirtualChip {
        try VirtualChip.manufacture(at: "\(folder.path)/\(UUID().uuidString).chip", exposed: exposed)
    }

    /// An active card in a personalized chip, with its code.
    func chipCard(exposed: Bool = true) async throws -> TestCard {
        let chip = try chip(exposed: exposed)
        let card = try await card()
        try await personalizer.personalize(card, as: profile, over: chip.channel)
        return TestCard(
            record: try await reload(card), pan: try await cards.pan(of: card), code: try await newCode(for: card),
            chip: chip)
    }

    /// An active card with its code, and no chip.
    func plainCard(name: String = TestIssuer.holder) async throws -> TestCard {
        let card = try await activeCard(name: name)
        return TestCard(
            record: card, pan: try await cards.pan(of: card), code: try await newCode(for: card), chip: nil)
    }

    func newCode(for card: Card, _ terms: CodeOffice.Terms? = nil) async throws -> SecretBytes {
        try await codes.issue(card.id, try terms ?? CodeOffice.Terms()).code
    }

    // MARK: Requests

    func request(
        _ card: TestCard, _ minorUnits: Int64 = 25_00, code: SecretBytes?, key: String = UUID().uuidString,
        name: String? = nil, merchant: String = TestIssuer.merchant, later: Bool = false
    ) throws -> AuthorizationRequest {
        AuthorizationRequest(
            idempotencyKey: key, merchant: merchant, amount: money(minorUnits),
            presentation: .cardNotPresent(
                pan: card.pan, expiry: card.record.expiry, name: try name.map { try CardholderName($0) }),
            code: code, capturesLater: later)
    }

    func request(
        _ evidence: ChipEvidence, _ minorUnits: Int64 = 25_00, code: SecretBytes?, key: String = UUID().uuidString,
        later: Bool = false
    ) -> AuthorizationRequest {
        AuthorizationRequest(
            idempotencyKey: key, merchant: Self.merchant, amount: money(minorUnits), presentation: .chip(evidence),
            code: code, capturesLater: later)
    }

    /// A merchant's terminal with this chip in it.
    func terminal(_ channel: any CardChannel) throws -> Terminal {
        let application = AcceptedApplication(try #require(AID(profile.aid)), allowsPartialName: false)
        let clock = clock
        return Terminal(
            TerminalProfile(applications: [application], countryCode: 288, merchantName: Self.merchant),
            channel: WholeAnswers(channel), now: { clock.now().milliseconds / 1000 })
    }

    /// The first half of a payment at a terminal.
    func present(_ chip: VirtualChip, _ minorUnits: Int64 = 25_00) async throws -> (Terminal, ChipEvidence) {
        var terminal = try terminal(chip.channel)
        guard case .online(let request) = try await terminal.begin(money(minorUnits)) else {
            throw TestFailure("the chip did not ask to go online")
        }
        return (terminal, ChipEvidence(request))
    }
}

/// A card and what only its holder and its chip know.
struct TestCard: Sendable {
    let record: Card
    let pan: PAN
    let code: SecretBytes
    let chip: VirtualChip?

    /// The right code with its last digit turned.
    var wrongCode: SecretBytes {
        var digits = code.exposedCopy()
        digits[digits.count - 1] = 0x30 + (digits[digits.count - 1] - 0x30 + 1) % 10
        return SecretBytes(wiping: &digits)
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension IssuerResponse {
    /// What the terminal gets from the issuer.
    init(_ answer: AuthorizationAnswer) {
        self.init(
            responseCode: answer.responseCode,
            issuerAuthenticationData: answer.issuerAuthenticationData.flatMap { [UInt8](hex: $0) })
    }
}

/// The project's card profiles.
enum Profiles {
    static let classicPath =
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("cards/classic.yaml").path

    static func classicText() throws -> String { try String(contentsOfFile: classicPath, encoding: .utf8) }
    static func classic() throws -> CardProfile { try CardProfile(yaml: classicText(), file: "cards/classic.yaml") }
}
