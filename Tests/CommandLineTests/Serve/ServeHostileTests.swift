import ByteCoding
import Crypto
import ECardTesting
import Foundation
import OOPA
import PaymentPorts
import Testing

/// What strangers and faulty gateways send to `ecard serve`, with the real issuer and its HSM behind it: nothing is paid twice, by
/// another, too late, or with a code that was made for something else.
@Suite(.ownThread) struct ServeHostileTests {
    private struct Visit: Sendable {
        let bank: ServedBank
        let line: ServedLine

        /// - Returns: the payment's identifier.
        func make(_ key: String, _ card: ServedBank.Card) async throws -> String {
            let order = ServedOrder(key: key, plan: .pay, card: card, minorUnits: 25_00)
            let answer = try #require(
                await line.ask(.create, "/v1/payments", order.body, idempotencyKey: key), "no answer")
            return try #require(answer.text("id"), "\(answer)")
        }
        func dial(_ session: String, _ card: ServedBank.Card, _ inputs: [String]) async throws -> String {
            try #require(
                await line.dial(.dial, session: session, phone: card.phone, inputs: inputs), "no answer")
        }
        func status(_ id: String) async throws -> String? {
            try #require(await line.ask(.look, "/v1/payments/\(id)")).text("status")
        }
        /// What was debited from a card's account, and the failures of its code.
        func issuerSays(_ card: ServedBank.Card) throws -> (debited: Int64, failures: Int?) {
            let report = try LedgerAuditor().report(on: bank.ledger)
            return (
                report.payments.filter { $0.card == card.id }.reduce(0) { $0 + $1.captured - $1.refunded },
                report.codes.first { $0.card == card.id }?.failures
            )
        }
    }

    /// A server of a fresh bank, and what all its books say in the end.
    private func served(_ body: (Visit) async throws -> Void) async throws {
        let bank = try await ServedBank.make()
        let line = ServedLine(key: bank.key)
        let server = try ServedProcesses(bank.home, .together)
        line.goesTo(try #require(try await server.url(), "\(server.log)"))
        do {
            try await body(Visit(bank: bank, line: line))
            try await line.close()
        } catch {
            try await line.close()
            throw error
        }
        #expect(await server.terminate() == [0], "\(server.log)")
        #expect(try await bank.verify() == [])
        #expect(try ServeBooks().report(bank.bankBooks, bank.ledger).findings == [])
    }

    @Test("A callback that comes again, at once and later, gets one answer, and the account is debited once")
    func replayed() async throws {
        try await served { visit in
            let card = visit.bank.cards[0]
            let id = try await visit.make("replay", card)
            let prompt = try await visit.dial("s", card, [])
            #expect(try await visit.dial("s", card, []) == prompt)
            let answers = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<8 { group.addTask { try await visit.dial("s", card, [card.code]) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.allSatisfy { $0.hasPrefix("END Paid") || $0.contains("at work") }, "\(answers)")
            #expect(answers.contains { $0.hasPrefix("END Paid") })
            #expect(try await visit.dial("s", card, [card.code]).hasPrefix("END Paid"))
            #expect(try await visit.status(id) == "captured")
            #expect(try visit.issuerSays(card).debited == 25_00)
        }
    }

    @Test("Another telephone answers nothing, not even in a stolen session; of two sessions of one telephone one pays")
    func twoTelephones() async throws {
        try await served { visit in
            let (card, other) = (visit.bank.cards[0], visit.bank.cards[1])
            let id = try await visit.make("one", card)
            #expect(try await visit.dial("first", card, []).contains(id.dropFirst(4)))
            #expect(!(try await visit.dial("other", other, [])).contains(id.dropFirst(4)))
            let stolen = try await visit.dial("first", other, [card.code])
            #expect(!stolen.contains("Paid") && !stolen.contains(id.dropFirst(4)), "\(stolen)")
            #expect(try await visit.status(id) == "pending")
            _ = try await visit.dial("second", card, [])
            async let one = visit.dial("first", card, [card.code])
            async let two = visit.dial("second", card, [card.code])
            let answers = try await [one, two]
            #expect(answers.count { $0.hasPrefix("END Paid") } == 1, "\(answers)")
            #expect(try visit.issuerSays(card).debited == 25_00 && visit.issuerSays(other).debited == 0)
        }
    }

    @Test("A code after a refusal, after a cancellation and a second time moves nothing")
    func late() async throws {
        try await served { visit in
            for (number, end) in ["refused", "cancelled", "paid"].enumerated() {
                let card = visit.bank.cards[number]
                let id = try await visit.make(end, card)
                let (early, quick) = ("early-\(end)", "quick-\(end)")
                _ = try await visit.dial(early, card, [])
                switch end {
                case "refused":
                    #expect(try await visit.dial(quick, card, []).contains(id.dropFirst(4)))
                    #expect(try await visit.dial(quick, card, ["9"]).contains("You refused"))
                case "cancelled":
                    #expect(await visit.line.ask(.cancel, "/v1/payments/\(id)/cancel")?.status == 200)
                default:
                    _ = try await visit.dial(quick, card, [])
                    #expect(try await visit.dial(quick, card, [card.code]).hasPrefix("END Paid"))
                }
                let before = try await visit.status(id)
                #expect(try await visit.dial(early, card, [card.code]).contains("has ended"))
                #expect(try await visit.dial(quick, card, ["9", card.code]).contains("Paid") == false)
                #expect(try await visit.status(id) == before)
                #expect(try visit.issuerSays(card).debited == (end == "paid" ? 25_00 : 0))
            }
        }
    }

    /// What a sealed code may be made for, or made into, that is not this payment's.
    private enum Misuse: CaseIterable, Sendable {
        case otherPrompt, otherPayment, otherTelephone, otherTime, noPoint, pointOffTheCurve, changedTag, unknownKey
    }

    @Test("A sealed code that was made for something else, or is none, opens nothing and costs no try")
    func misbound() async throws {
        try await served { visit in
            let card = visit.bank.cards[0]
            let key = try await Self.sealingKey(of: visit.bank)
            let id = try await visit.make("sealed", card)
            var inputs: [String] = []
            var screen = try await visit.dial("s", card, inputs)
            for misuse in Misuse.allCases {
                inputs.append(try Self.sealed(card, screen, key, misuse))
                screen = try await visit.dial("s", card, inputs)
                #expect(screen.hasPrefix("CON Wrong code"), "\(misuse): \(screen)")
            }
            let says = try visit.issuerSays(card)
            #expect(says.debited == 0 && says.failures == 0)
            inputs.append(try Self.sealed(card, screen, key, nil))
            #expect(try await visit.dial("s", card, inputs).hasPrefix("END Paid"))
            #expect(try await visit.status(id) == "captured")
            #expect(try visit.issuerSays(card).debited == 25_00)
        }
    }

    private static func sealingKey(of bank: ServedBank) async throws -> CodeSealingKey {
        struct Listed: Decodable {
            let key: UInt8
            let publicKey: String
        }
        let text = try await bank.issuer.must("ecard code keys --json")
        let listed = try #require(try JSONDecoder().decode([Listed].self, from: Data(text.utf8)).first)
        return CodeSealingKey(id: listed.key, publicKey: try #require([UInt8](hex: listed.publicKey)))
    }

    private static func sealed(
        _ card: ServedBank.Card, _ answer: String, _ key: CodeSealingKey, _ misuse: Misuse?
    ) throws -> String {
        let screen = String(answer.dropFirst("CON ".count))
        let prompt = try #require(PaymentPrompt.parse(screen))
        let shown = misuse == .otherPrompt ? screen.replacing("25.00", with: "1.00") : screen
        let context = CodeContext(
            payment: misuse == .otherPayment ? .random() : prompt.payment,
            promptDigest: Array(SHA256.hash(data: Data(shown.utf8))),
            phone: misuse == .otherTelephone ? "+233209999999" : card.phone,
            expiresAt: misuse == .otherTime ? prompt.expiresAt.adding(seconds: 60) : prompt.expiresAt)
        var sealed = try CodeSealing.seal(
            SecretBytes(Array(card.code.utf8)), to: key,
            form: misuse == .pointOffTheCurve ? .uncompressed : .compact, context: context)
        switch misuse {
        // Not below the prime of P-256, and no point has it.
        case .noPoint: sealed.replaceSubrange(1..<33, with: [UInt8](repeating: 0xFF, count: 32))
        case .pointOffTheCurve: sealed[65] ^= 1
        case .changedTag: sealed[sealed.count - 1] ^= 1
        case .unknownKey: sealed[0] = 99
        default: break
        }
        return CodeSealing.text(sealed, digitsOnly: false)
    }

    /// Callbacks that no gateway of ours sends, with what they are answered.
    private static let callbacks: [(what: String, status: Int, path: String, type: String, body: String)] = {
        let form = "application/x-www-form-urlencoded"
        let right = "sessionId=s&phoneNumber=%2B233201234511&text="
        return [
            ("JSON", 400, "/ussd/africastalking", "application/json", "{}"),
            ("no session", 400, "/ussd/africastalking", form, "phoneNumber=%2B233201234511&text="),
            ("no number", 400, "/ussd/africastalking", form, "sessionId=s&text="),
            ("a local number", 400, "/ussd/africastalking", form, "sessionId=s&phoneNumber=0201234511&text="),
            ("a field twice", 400, "/ussd/africastalking", form, right + "&text=1"),
            ("half an escape", 400, "/ussd/africastalking", form, right + "%2"),
            ("no UTF-8", 400, "/ussd/africastalking", form, right + "%FF%FE"),
            ("too much", 413, "/ussd/africastalking", form, right + String(repeating: "1*", count: 20_000)),
            ("nothing", 400, "/ussd/africastalking", form, ""),
            ("a gateway that is not ours", 404, "/ussd/hubtel", "application/json", "{}"),
        ]
    }()

    @Test("Callbacks that are wrong are refused by name, without what they hold, and the next one is served")
    func wrongCallbacks() async throws {
        try await served { visit in
            let card = visit.bank.cards[0]
            for callback in Self.callbacks {
                var headers = ["authorization": "Bearer \(ServedBank.gatewaySecret)"]
                if !callback.type.isEmpty { headers["content-type"] = callback.type }
                let answer = try #require(
                    await visit.line.send(.dial, .post, callback.path, callback.body, headers), "\(callback.what)")
                #expect(answer.status == callback.status, "\(callback.what): \(answer)")
                #expect(!answer.body.contains("233201234511"), "\(callback.what): \(answer)")
            }
            #expect(await visit.line.send(.look, .get, "/ussd/africastalking", nil, [:])?.status == 405)
            let id = try await visit.make("after", card)
            #expect(try await visit.dial("after", card, []).contains(id.dropFirst(4)))
        }
    }
}
