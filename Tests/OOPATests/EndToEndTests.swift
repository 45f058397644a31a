import ByteCoding
import CardData
import Crypto
import ECardTesting
import Foundation
import Issuing
import KeyCustody
import Ledger
import PKCS11
import PaymentPorts
import Synchronization
import Testing

@testable import OOPA

/// Both parties on real parts: two tokens, two databases, the dialogue of a telephone in between.
private final class WholeHouse: Sendable {
    let issuer: IssuerBench
    let line: FlakyIssuer
    let books: any BankStores
    let office: BankOffice
    let merchant: Merchant
    private let folder: TemporaryFolder
    private let keys: any KeyStore
    static let funds: Int64 = 100_000_00

    init() async throws {
        issuer = try await IssuerBench(funds: Self.funds)
        folder = try TemporaryFolder()
        let keys: any KeyStore = try OOPAToken.keys()
        self.keys = keys
        let database = try BankDatabase(
            path: folder.file("bank.sqlite"), sealer: AuditKeySealer(keys) { BankKey.audit.label($0) }, create: true)
        books = database
        line = FlakyIssuer(issuer.desk) { nil }
        let everything =
            "caps: {codes-per-phone: 99999, codes-per-merchant: 99999, codes-everywhere: 99999, notices-per-card: 99999}\nrules: []"
        office = BankOffice(
            stores: database, issuer: line, keys: keys, time: issuer.clock, policy: try BankPolicy(yaml: everything))
        let id = MerchantID.random()
        try await database.add(
            Merchant(
                id: id, name: "Makola Books", registration: "CS-1", state: .registered, verifiedBy: nil,
                createdAt: issuer.clock.now()))
        try await database.setState(.verified, of: id, by: "Efua", at: issuer.clock.now())
        merchant = try #require(try await database.merchant(id))
    }

    func order(_ minorUnits: Int64 = 25_00, later: Bool = false) throws -> MerchantDesk.Order {
        MerchantDesk.Order(
            pan: issuer.pan, expiry: issuer.card.expiry, name: nil,
            amount: Money(minorUnits: minorUnits, currency: try Currency("GHS")), capturesLater: later)
    }

    func create(_ minorUnits: Int64 = 25_00, later: Bool = false) async throws -> OnlinePayment {
        try await MerchantDesk(office).create(
            order(minorUnits, later: later), for: merchant, isLive: true, remembering: nil)
    }

    /// What the telephone shows after `text` was typed.
    func dial(_ session: String, _ text: SecretBytes?, _ sequence: Int) async throws -> USSDAnswer {
        let keys = keys
        let dialogue = USSDDialogue(
            holders: HolderDesk(office), sessions: books, texts: try TelephoneTexts.standard.get(), clock: issuer.clock
        ) { text in
            try await keys.withSession { session in
                try session.sign(text.exposedCopy(), with: session.key(.index, 1), .hmacSHA256)
            }
        }
        return try await dialogue.respond(
            to: USSDRequest(
                gateway: "simulator", session: session, phone: IssuerBench.phone, kind: text == nil ? .begin : .input,
                text: text ?? SecretBytes([]), sequence: sequence))
    }

    /// No money came or went, and both audit chains are whole.
    func expectWhole(_ location: SourceLocation = #_sourceLocation) async throws {
        #expect(try await books.verify(since: nil) == [], sourceLocation: location)
        try await issuer.expectVerified(location)
        let owed = try await books.owed(to: merchant.id, isLive: true).first?.minorUnits ?? 0
        #expect(try await issuer.funds()[0] + owed == Self.funds, sourceLocation: location)
    }
}

@Suite("Bank and issuer together, on two tokens and two databases") struct EndToEndTests {
    @Test("A telephone dials, sees merchant and amount, gives the code, and the account is debited once")
    func paid() async throws {
        let house = try await WholeHouse()
        let payment = try await house.create()
        let prompt = try await house.dial("s1", nil, 1)
        #expect(prompt.continues && prompt.text.text.contains("Makola Books") && prompt.text.text.contains("25.00"))
        let wrong = try await house.dial("s1", house.issuer.wrongCode(), 2)
        #expect(wrong.continues && wrong.text.text.contains("Wrong code"), "\(wrong.text.text)")
        let done = try await house.dial("s1", house.issuer.code, 3)
        #expect(!done.continues && done.text.text.contains("Paid"), "\(done.text.text)")
        #expect(try await house.issuer.funds() == [WholeHouse.funds - 25_00, 0])
        let captured = try #require(try await house.books.onlinePayment(payment.id))
        #expect(captured.state == .captured && captured.attempts == 2 && captured.profile == .plain)
        #expect(try await house.books.evidence(of: payment.id) != nil)
        _ = try await MerchantDesk(house.office).refund(
            payment.id, minorUnits: 5_00, key: "a", for: house.merchant, isLive: true)
        #expect(try await house.issuer.funds() == [WholeHouse.funds - 20_00, 0])
        try await house.expectWhole()
    }

    @Test("The holder refuses on the telephone, and no code opens the payment any more")
    func refused() async throws {
        let house = try await WholeHouse()
        let payment = try await house.create()
        _ = try await house.dial("s1", nil, 1)
        let done = try await house.dial("s1", SecretBytes(Array("9".utf8)), 2)
        #expect(!done.continues)
        #expect(try await house.books.onlinePayment(payment.id)?.state == .denied)
        #expect(try await house.line.inquire(payment.id).state == .reversed)
        try await house.expectWhole()
    }

    @Test("Calls and answers are lost at random: every payment ends alike at both, and no money is lost")
    func lossy() async throws {
        var generator = SeededGenerator()
        print("seed \(generator.seed)")
        let house = try await WholeHouse()
        let noise = Mutex(SeededGenerator(seed: generator.next()))
        house.line.fail {
            noise.withLock { noise in
                switch noise.next() % 8 {
                case 0: .lostCall;
                case 1: .lostAnswer;
                default: nil
                }
            }
        }
        let (desk, holder) = (MerchantDesk(house.office), HolderDesk(house.office))
        var ids: [PaymentID] = []
        for round in 0..<60 {
            if let payment = try? await house.create(Int64(round + 1), later: Bool.random(using: &generator)) {
                ids.append(payment.id)
                _ = try? await holder.show(payment, as: "Pay?", on: "simulator", phone: IssuerBench.phone)
                _ = try? await holder.answer(
                    payment.id, with: .digits(house.issuer.code), on: "simulator", phone: IssuerBench.phone)
            }
            if let id = ids.randomElement(using: &generator) {
                switch generator.next() % 4 {
                case 0: _ = try? await desk.cancel(id, for: house.merchant, isLive: true)
                case 1: _ = try? await desk.capture(id, minorUnits: nil, for: house.merchant, isLive: true)
                case 2: _ = try? await desk.refund(id, minorUnits: 1, key: "r", for: house.merchant, isLive: true)
                default: _ = try? await holder.deny(id, on: "simulator", phone: IssuerBench.phone)
                }
            }
            house.issuer.clock.turn(seconds: 7)
            try await BankTimers(house.office).runDue()
        }
        house.line.fail { nil }
        for _ in 0..<3 {
            house.issuer.clock.turn(seconds: 4 * 86_400)
            while try await BankTimers(house.office).runDue() > 0 {}
        }
        #expect(ids.count > 20)
        #expect(try await house.issuer.funds()[1] == 0)
        for id in ids {
            let payment = try #require(try await house.books.onlinePayment(id))
            let standing = try await house.line.inquire(id)
            #expect(payment.state.isFinal || payment.state == .captured, "\(id) \(payment.state)")
            #expect(
                payment.capturedMinorUnits - payment.refundedMinorUnits
                    == standing.capturedMinorUnits - standing.refundedMinorUnits, "\(id) \(payment.state)")
        }
        try await house.expectWhole()
    }
}
