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

/// The parties of the payment that this process is, and what runs for them: `ecard serve`. Each opens what is its own alone.
struct PaymentServer: Sendable {
    private let settings: ServerSettings
    private let metrics: PrometheusMetrics
    private let logger: Logger
    /// What the simulator's telephones are shown.
    private let outboxes: [Outbox]
    private let issuer: Parts?
    private let receipts: ReceiptLog
    private let bank: (parts: BankParts, office: BankOffice)?
    /// To an issuer that runs apart.
    private let line: IssuerLine?
    /// The bank's place in a mobile network, where there is one.
    private let entity: USSDEntity?

    init(_ home: StateFolder, _ settings: ServerSettings, metrics: PrometheusMetrics, logger: Logger) async throws {
        self.settings = settings
        self.metrics = metrics
        self.logger = logger
        outboxes = ([home.outbox] + settings.simulatorOutboxes).map { Outbox(folder: $0, clock: SystemTime()) }
        let receipts = ReceiptLog(logger)
        self.receipts = receipts
        issuer = settings.roles.contains(.issuer) ? try await receipts.round(Parts.open(home)) : nil
        guard settings.roles.contains(.bank) else {
            bank = nil
            line = nil
            entity = nil
            try await settings.pki.parties(.issuer).require(.issuer)
            return
        }
        let parts = try BankParts.open(home) { payment, state, role in
            Counter(
                label: "ecard_payment_steps", dimensions: [("state", state.rawValue), ("role", role.rawValue)]
            ).increment()
            logger.info(
                "payment",
                metadata: ["payment": "\(payment)", "state": "\(state.rawValue)", "role": "\(role.rawValue)"])
        }
        let office: BankOffice
        if let issuer {
            line = nil
            office = parts.office(issuer.desk, settings.messages)
        } else {
            let parties = try settings.pki.parties(.bank)
            try await parties.require(.bank)
            let line = try IssuerLine(url: settings.issuer ?? "", parties: parties, logger: logger)
            self.line = line
            office = parts.office(line.issuer, settings.messages)
        }
        bank = (parts, office)
        let register = settings.roles.contains(.ussd) ? settings.messages.register : nil
        let dialogue = try office.dialogue(TelephoneTexts.standard.get())
        entity = register.map { USSDEntity(register: $0, logger: logger) { try await dialogue.respond(to: $0) } }
    }

    /// Ends what ``services(onListening:)`` shared, after they have ended.
    func close() async { await line?.close() }

    /// What runs until shutdown, in the order of what needs what: the last one ends first.
    func services(onListening: @escaping @Sendable (Int) async -> Void) throws -> [any Service] {
        var services: [any Service] = []
        let simulator = try bank.flatMap { settings.hasSimulator ? try self.simulator($0.parts, $0.office) : nil }
        var routes = operations.routes
        var limits = HTTPService.Limits()
        if let issuer {
            services += [
                Rounds("issuer", every: .seconds(5), logger) { [receipts] in _ = try await receipts.round(issuer) },
                Rounds("issuer's log", every: .seconds(60), logger) { await issuer.ledger.emptyLog() },
            ]
            if bank == nil {
                routes += IssuerAPI(issuer.desk, parties: try settings.pki.parties(.issuer)).routes
                limits = IssuerAPI.limits
            }
        }
        limits.connections = OpenFiles.connections(atMost: limits.connections, logger)
        if let (bank, office) = bank {
            services += [
                Rounds("timers", every: .seconds(1), logger) { while try await BankTimers(office).runDue() == 256 {} },
                Rounds("bank's log", every: .seconds(60), logger) { await bank.stores.emptyLog() },
                webhooks(bank, alsoTo: simulator),
            ]
            routes += merchantAPI(bank, office).routes + (simulator?.routes ?? [])
            if settings.roles.contains(.ussd) {
                routes += try USSDAPI(
                    gateways: settings.gateways, dialogue: office.dialogue(TelephoneTexts.standard.get()),
                    logger: logger
                ).routes
                services.append(
                    Rounds("dialogues", every: .seconds(60), logger) {
                        try await bank.stores.endSessions(before: bank.time.now().adding(seconds: -3600))
                    })
            }
        }
        if let (bank, _) = bank, let gateway = simulator?.prompts, settings.messages.prompts == .simulator {
            services.append(
                MessageSender(
                    queue: bank.stores, channel: .ussd,
                    delivery: PromptPush(gateway, payments: bank.stores, time: bank.time, logger: logger),
                    clock: bank.time, logger: logger))
        }
        services += MessageServices(settings.messages, queues: queues, clock: SystemTime(), logger: logger).all
        if let entity { services.append(entity) }
        services.append(
            try HTTPService(settings.place, routes: routes, limits: limits, logger: logger) { port in
                simulator?.listens(on: port)
                await onListening(port)
            })
        return services
    }

    /// What is to leave: the bank's notices and receipts, the issuer's one-time codes.
    private var queues: [any MessageQueueStore] {
        var queues: [any MessageQueueStore] = []
        if let bank { queues.append(bank.parts.stores) }
        if let issuer { queues.append(IssuerMessages(keys: issuer.keys, store: issuer.ledger)) }
        return queues
    }

    private func merchantAPI(_ bank: BankParts, _ office: BankOffice) -> MerchantAPI {
        MerchantAPI(
            desk: MerchantDesk(office), merchants: bank.stores, payments: bank.stores, time: bank.time,
            digest: bank.digest)
    }

    private func webhooks(_ bank: BankParts, alsoTo simulator: PhoneSimulator?) -> WebhookSender {
        var rules = WebhookSender.Settings()
        rules.allowsPrivate = settings.allowsPrivateWebhooks
        if let simulator { rules.isOwn = simulator.receives }
        return WebhookSender(
            events: bank.stores, payments: bank.stores, time: bank.time, settings: rules, logger: logger
        ) { endpoint in
            try await bank.keys.withSession { try WebhookVault.open(endpoint, in: $0) }
        }
    }

    /// The telephone of `/phone`: its messages are the outbox's, its keys the issuer's.
    private func simulator(_ bank: BankParts, _ office: BankOffice) throws -> PhoneSimulator {
        try PhoneSimulator(
            at: settings.place, dialogue: office.dialogue(TelephoneTexts.standard.get()), time: bank.time,
            logger: logger
        ) {
            try await office.issuer.sealingKeys()
        } messages: { [outboxes] phone in
            var messages: [Outbox.Entry] = []
            for outbox in outboxes { messages += try await outbox.delivered().filter { $0.recipient == phone } }
            return messages.sorted { ($0.time, $0.reference) < ($1.time, $1.reference) }.map {
                PhoneSimulator.Message(kind: $0.kind, reference: $0.reference, body: $0.body, at: $0.time)
            }
        }
    }

    private var operations: OperationsAPI {
        var checks: [OperationsAPI.Part] = []
        if let issuer {
            checks += [
                .init("issuer-hsm") { try await issuer.requireKeys() },
                .init("issuer-ledger") { try await issuer.ledger.checkWritable() },
            ]
        }
        if let (bank, _) = bank {
            checks += [
                .init("bank-hsm") { try await bank.requireKeys() },
                .init("bank-ledger") { try await bank.stores.checkWritable() },
            ]
        }
        // Its answer comes from its token and its ledger.
        if let line { checks.append(.init("issuer") { _ = try await line.issuer.sealingKeys() }) }
        checks += settings.messages.parts + [entity].compactMap(\.self).map(\.part)
        return OperationsAPI(parts: checks, metrics: metrics, logger: logger)
    }
}

extension BankParts {
    /// Throws where the token lacks a key. One that was taken away still answers calls that need none.
    fileprivate func requireKeys() async throws {
        let missing = try await keys.withSession { try BankKey.missing(in: $0) }
        guard missing.isEmpty else { throw KeysMissing(labels: missing.map { $0.label(1) }) }
    }

    /// HMAC with the index key: what requests and callbacks are recognised by.
    var digest: @Sendable ([UInt8]) async throws -> [UInt8] {
        { [keys] message in
            try await keys.withSession { try $0.sign(message, with: $0.key(BankKey.index, 1), .hmacSHA256) }
        }
    }
}

extension Parts {
    /// Throws where the token lacks a key that is in use.
    fileprivate func requireKeys() async throws {
        let versions = try await ledger.keyVersions()
        let missing = try await keys.withSession { try IssuerKey.missing(versions, in: $0) }
            .filter { !$0.key.mayBeLacking($0.version) }
        guard missing.isEmpty else { throw KeysMissing(labels: missing.map { $0.key.label($0.version) }) }
    }
}

private struct KeysMissing: Error, CustomStringConvertible {
    let labels: [String]
    var description: String { "the token lacks \(labels.joined(separator: ", ")): 'ecard doctor' says what to do" }
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
