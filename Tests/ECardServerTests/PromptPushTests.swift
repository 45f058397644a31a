import ByteCoding
@testable import ECardServer
import ECardTesting
import Foundation
import Ledger
import OOPA
import PaymentPorts
import Synchronization
import Testing

/// Prompts that come by themselves: from the bank's queue to a telephone of the simulator's that is switched on.
@Suite(.ownThread) struct PromptPushTests {
    private static func simulator(_ bank: ServerBank) throws -> PhoneSimulator {
        try PhoneSimulator(
            at: ListeningPlace(host: "127.0.0.1", port: 0, certificate: nil),
            dialogue: bank.office.dialogue(TelephoneTexts.standard.get()), time: bank.clock, logger: bank.log.logger,
            // Nobody here is away: only busy with other tests.
            silence: .seconds(600)
        ) {
            try await bank.office.issuer.sealingKeys()
        } messages: { _ in
            []
        }
    }

    private static func due(_ bank: ServerBank, by channel: MessageChannel) async throws -> [OutgoingMessage] {
        try await bank.books.messagesDue(at: bank.clock.now(), limit: 99, by: channel).map(\.message)
    }

    @Test("A telephone that is switched on is asked by itself, and pays; one that is off gets its notice at once")
    func pushed() async throws {
        let bank = try await ServerBank(promptSeconds: 30)
        let simulator = try Self.simulator(bank)
        try await RunningServer.with(simulator.routes + bank.merchantAPI.routes, logger: bank.log.logger) { server in
            let push = PromptPush(
                simulator.prompts, payments: bank.books, time: bank.clock, logger: bank.log.logger)
            let line = try SimulatorLine(url: server.base)
            let shop = try await bank.merchant()

            // Nobody has opened the telephone.
            let missed = try await server.ask("POST", "/v1/payments", bank.order(11_00), key: shop.key)
            try await push.deliver(try #require(try await Self.due(bank, by: .ussd).first))
            #expect(try await Self.due(bank, by: .sms).map(\.reference) == ["\(missed.json["id"] ?? "").notice"])
            #expect(bank.log.all.contains { $0.contains("switched off") && !$0.contains(ServerBank.phone) })

            #expect(try await line.news(of: ServerBank.phone).prompted == [])
            let made = try await server.ask("POST", "/v1/payments", bank.order(), key: shop.key)
            let id = PaymentID(rawValue: try #require(made.json["id"] as? String))
            let prompt = try #require(try await Self.due(bank, by: .ussd).last)
            try await push.deliver(prompt)
            #expect(try await Self.due(bank, by: .sms).count == 1, "the notice waits")
            #expect(try await line.news(of: "+233209999999").prompted == [])
            let session = try #require(try await line.news(of: ServerBank.phone).prompted.first)

            // Another number cannot take it: it gets what whoever dials gets.
            let other = try await line.send(session: session, phone: "+233209999999", count: 1, text: SecretBytes([]))
            #expect(!other.text.contains("GHS"))
            try await Self.pay(line, session: "\(session)-own", id, bank)
        }
    }

    /// The dialogue that was taken by another number is that number's; a second push asks for the same payment.
    private static func pay(_ line: SimulatorLine, session: String, _ id: PaymentID, _ bank: ServerBank) async throws {
        func send(_ count: Int, _ text: String) async throws -> SimulatorLine.Screen {
            try await line.send(
                session: session, phone: ServerBank.phone, count: count, text: SecretBytes(Array(text.utf8)))
        }
        let shown = try await send(1, "*1#")
        #expect(shown.continues && shown.text.contains("2"), "two wait: \(shown.text)")
        let screens = [try await send(2, "1"), try await send(3, "2"), try await send(4, ServerBank.code)]
        #expect(screens[1].text.contains("GHS 25.00") && screens[2].text.contains("Paid: GHS 25.00"), "\(screens)")
        #expect(try await bank.books.onlinePayment(id)?.state == .captured)
    }

    @Test("A prompt for a payment that has ended is not pushed, and twice it asks for the same payment")
    func ended() async throws {
        let bank = try await ServerBank(promptSeconds: 30)
        let network = SimulatedNetwork(silence: .seconds(600))
        let push = PromptPush(network, payments: bank.books, time: bank.clock, logger: bank.log.logger)
        try await bank.serving { server in
            let shop = try await bank.merchant()
            let made = try await server.ask("POST", "/v1/payments", bank.order(), key: shop.key)
            let id = try #require(made.json["id"] as? String)
            let prompt = try #require(try await Self.due(bank, by: .ussd).first)
            #expect(network.hear(ServerBank.phone).isEmpty)
            try await push.deliver(prompt)
            try await push.deliver(prompt)
            let sessions = network.hear(ServerBank.phone).map(\.session)
            #expect(sessions.count == 2)
            let taken = sessions.map { network.take($0, by: ServerBank.phone)?.rawValue }
            #expect(taken == [id, id])
            #expect(network.hear(ServerBank.phone).isEmpty)
            try await bank.approve(id)
            try await push.deliver(prompt)
            #expect(network.hear(ServerBank.phone).isEmpty)
        }
    }

    @Test("A telephone that is not heard any more is off, and a dialogue that nobody takes is given up")
    func silence() throws {
        let time = LaterInstant()
        let network = SimulatedNetwork(silence: .seconds(5)) { time.now }
        let payment = PaymentID.random()
        #expect(throws: PromptGatewayError.self) { try network.push(payment, to: "+233201234567", notice: "") }
        _ = network.hear("+233201234567")
        time.later(by: .seconds(4))
        try network.push(payment, to: "+233201234567", notice: "")
        time.later(by: .seconds(2))
        #expect(throws: PromptGatewayError.self) { try network.push(payment, to: "+233201234567", notice: "") }
        #expect(network.hear("+233201234567").count == 1 && network.hear("+233201234568").isEmpty)
        time.later(by: .seconds(60))
        #expect(network.hear("+233201234567").isEmpty)
    }

    @Test("Typed text reaches the dialogue as it is, whatever it holds", arguments: ["\"", "\\", "ɛ", "\t", "*"])
    func escaping(text: String) async throws {
        let bank = try await ServerBank()
        let simulator = try Self.simulator(bank)
        try await RunningServer.with(simulator.routes, logger: bank.log.logger) { server in
            let line = try SimulatorLine(url: server.base)
            func send(_ count: Int, _ text: String) async throws -> SimulatorLine.Screen {
                try await line.send(
                    session: "s", phone: ServerBank.phone, count: count, text: SecretBytes(Array(text.utf8)))
            }
            let first = try await send(1, "*1#")
            #expect(try await send(2, text) == first, "not understood, so shown again")
        }
    }

    @Test(
        "A line leads to this machine alone",
        arguments: [
            "http://bank.example", "http://192.168.1.4:8080", "ftp://127.0.0.1", "127.0.0.1:8080",
            "http://127.0.0.1/phone",
        ])
    func elsewhere(url: String) {
        #expect(throws: SimulatorLineError.self) { try SimulatorLine(url: url) }
    }
}

/// A clock for silences, that only the test turns.
private final class LaterInstant: Sendable {
    private let moment = Mutex(ContinuousClock.now)

    var now: ContinuousClock.Instant { moment.withLock { $0 } }
    func later(by time: Duration) { moment.withLock { $0 += time } }
}
