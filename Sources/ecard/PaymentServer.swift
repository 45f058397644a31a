import ECardServer
import Issuing
import KeyCustody
import Ledger
import Logging
import Messaging
import Metrics
import OOPA
import PaymentPorts
import ServiceLifecycle

/// The parties of the payment in one process, and what runs for them: `ecard serve`.
struct PaymentServer: Sendable {
    private let settings: ServerSettings
    private let metrics: PrometheusMetrics
    private let logger: Logger
    private let issuer: Parts
    private let bank: BankParts
    private let office: BankOffice
    /// Our place in a mobile network, where there is one.
    private let entity: USSDEntity?

    init(_ home: StateFolder, _ settings: ServerSettings, metrics: PrometheusMetrics, logger: Logger) async throws {
        self.settings = settings
        self.metrics = metrics
        self.logger = logger
        issuer = try await Parts.open(home).upToDate()
        bank = try BankParts.open(home)
        office = BankOffice(
            stores: bank.stores, issuer: IssuerDesk(keys: issuer.keys, stores: issuer.ledger, time: issuer.time),
            keys: bank.keys, time: bank.time, policy: bank.policy,
            messages: BankMessages(serviceCode: settings.messages.dial))
        let register = settings.roles.contains(.ussd) ? settings.messages.register : nil
        let dialogue = try office.dialogue(TelephoneTexts.standard.get())
        entity = register.map { USSDEntity(register: $0, logger: logger) { try await dialogue.respond(to: $0) } }
    }

    /// What runs until shutdown, in the order of what needs what: the last one ends first.
    func services(onListening: @escaping @Sendable (Int) async -> Void) throws -> [any Service] {
        let simulator = try settings.hasSimulator ? self.simulator : nil
        var services: [any Service] = [
            Rounds("issuer", every: .seconds(5), logger) { [issuer] in _ = try await issuer.upToDate() },
            Rounds("timers", every: .seconds(1), logger) { [office] in
                while try await BankTimers(office).runDue() == 256 {}
            },
            webhooks(alsoTo: simulator),
        ]
        services += MessageServices(settings.messages, queues: queues, clock: bank.time, logger: logger).all
        if let entity { services.append(entity) }
        var routes = merchantAPI.routes + operations.routes + (simulator?.routes ?? [])
        if settings.roles.contains(.ussd) {
            routes += try USSDAPI(
                gateways: settings.gateways, dialogue: office.dialogue(TelephoneTexts.standard.get()), logger: logger
            ).routes
            services.append(
                Rounds("dialogues", every: .seconds(60), logger) { [bank] in
                    try await bank.stores.endSessions(before: bank.time.now().adding(seconds: -3600))
                })
        }
        services.append(
            try HTTPService(settings.place, routes: routes, logger: logger) { port in
                simulator?.listens(on: port)
                await onListening(port)
            })
        return services
    }

    /// What the simulator's telephones have received.
    private var outbox: Outbox { Outbox(folder: issuer.home.outbox, clock: issuer.time) }

    private var queues: [any MessageQueueStore] {
        [bank.stores, IssuerMessages(keys: issuer.keys, store: issuer.ledger)]
    }

    private var merchantAPI: MerchantAPI {
        MerchantAPI(
            desk: MerchantDesk(office), merchants: bank.stores, payments: bank.stores, time: bank.time,
            digest: bank.digest)
    }

    private func webhooks(alsoTo simulator: PhoneSimulator?) -> WebhookSender {
        var rules = WebhookSender.Settings()
        rules.allowsPrivate = settings.allowsPrivateWebhooks
        if let simulator { rules.isOwn = simulator.receives }
        return WebhookSender(
            events: bank.stores, payments: bank.stores, time: bank.time, settings: rules, logger: logger
        ) { [bank] endpoint in
            try await bank.keys.withSession { try WebhookVault.open(endpoint, in: $0) }
        }
    }

    /// The telephone of `/phone`: its messages are the outbox's, its keys the issuer's.
    private var simulator: PhoneSimulator {
        get throws {
            try PhoneSimulator(
                at: settings.place, dialogue: office.dialogue(TelephoneTexts.standard.get()), time: bank.time,
                logger: logger
            ) { [issuer] in
                let versions = try await issuer.ledger.keyVersions()
                return try await issuer.keys.withSession { try CodeSealing.keys(versions, in: $0) }
            } messages: { [outbox] phone in
                try await outbox.delivered().filter { $0.recipient == phone }.map {
                    PhoneSimulator.Message(reference: $0.reference, body: $0.body, at: $0.time)
                }
            }
        }
    }

    private var operations: OperationsAPI {
        let (issuer, bank) = (issuer, bank)
        return OperationsAPI(
            parts: [
                .init("issuer-hsm") { _ = try await issuer.keys.withSession { try $0.random(1) } },
                .init("issuer-ledger") { _ = try await issuer.ledger.checkpoint() },
                .init("bank-hsm") { _ = try await bank.keys.withSession { try $0.random(1) } },
                .init("bank-ledger") { _ = try await bank.stores.checkpoint() },
            ] + settings.messages.parts + [entity].compactMap(\.self).map(\.part), metrics: metrics)
    }
}

extension BankParts {
    /// HMAC with the index key: what requests and callbacks are recognised by.
    var digest: @Sendable ([UInt8]) async throws -> [UInt8] {
        { [keys] message in
            try await keys.withSession { try $0.sign(message, with: $0.key(BankKey.index, 1), .hmacSHA256) }
        }
    }
}

/// Work that is done again and again until shutdown. A round that fails is logged, and the next one tries again.
struct Rounds: Service, CustomStringConvertible {
    let description: String
    private let pause: Duration
    private let logger: Logger
    private let round: @Sendable () async throws -> Void

    init(_ name: String, every pause: Duration, _ logger: Logger, _ round: @escaping @Sendable () async throws -> Void)
    {
        description = name
        self.pause = pause
        self.logger = logger
        self.round = round
    }

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            do {
                try await round()
            } catch is CancellationError {
                return
            } catch {
                logger.error("round failed", metadata: ["service": "\(description)", "error": "\(error)"])
            }
            try? await cancelWhenGracefulShutdown { [pause] in try await Task.sleep(for: pause) }
        }
    }
}
