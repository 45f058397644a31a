import AsyncHTTPClient
public import ByteCoding
import CardData
import Foundation
public import Logging
import Metrics
import NIOCore
import NIOHTTP1
public import PaymentPorts
public import ServiceLifecycle

/// Tells merchants what became of their payments, by the Standard Webhooks convention (version 1.0.0): at least once, each
/// event under one identifier, until the merchant's server answers 2xx or three days have passed. 410 ends the endpoint.
///
/// An endpoint's events go one after the other; endpoints do not wait for each other.
public struct WebhookSender: Service, CustomStringConvertible {
    public struct Settings: Sendable {
        /// Also `http` and addresses that are not public.
        public var allowsPrivate = false
        /// URLs that are allowed wherever they lead: this process's own receiver.
        public var isOwn: @Sendable (_ url: String) -> Bool = { _ in false }
        /// Seconds of one try.
        public var seconds: Int64 = 10
        /// Bytes of an answer that are read; the rest is not.
        public var answerLimit = 16 * 1024
        /// How long the queue is left alone when nothing was in it.
        public var pause: Duration = .milliseconds(250)
        /// Seconds until the next try, after the first, the second …; after the last it is given up. About three days.
        public var retries: [Int64] = [5, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]

        public init() {}
    }

    public var description: String { "webhooks" }

    private let events: any WebhookStore
    private let payments: any OnlinePaymentStore
    private let time: any TimeSource
    private let secret: @Sendable (WebhookEndpoint) async throws -> SecretBytes
    private let settings: Settings
    private let logger: Logger
    private let delivered = Counter(label: "ecard_webhooks_delivered")
    private let failed = Counter(label: "ecard_webhooks_failed")

    /// - Parameter secret: opens an endpoint's signing secret with the bank's key.
    public init(
        events: any WebhookStore, payments: any OnlinePaymentStore, time: any TimeSource,
        settings: Settings = Settings(),
        logger: Logger, secret: @escaping @Sendable (WebhookEndpoint) async throws -> SecretBytes
    ) {
        self.events = events
        self.payments = payments
        self.time = time
        self.settings = settings
        self.logger = logger
        self.secret = secret
    }

    /// Sends what is due until shutdown. A delivery that has begun ends first.
    public func run() async throws {
        await withDiscardingTaskGroup { group in
            let busy = Busy()
            while !Task.isShuttingDownGracefully, !Task.isCancelled {
                let due = await dueByEndpoint(except: await busy.all)
                for batch in due {
                    await busy.begin(batch[0].endpoint.id)
                    group.addTask {
                        await deliver(batch)
                        await busy.end(batch[0].endpoint.id)
                    }
                }
                if due.isEmpty {
                    try? await cancelWhenGracefulShutdown { [pause = settings.pause] in try await Task.sleep(for: pause)
                    }
                }
            }
        }
    }

    /// Sends once what is due now; returns when all of it was tried.
    public func sendDue() async {
        await withDiscardingTaskGroup { group in
            for batch in await dueByEndpoint(except: []) { group.addTask { await deliver(batch) } }
        }
    }

    private actor Busy {
        private(set) var all: Set<WebhookEndpointID> = []
        func begin(_ endpoint: WebhookEndpointID) { all.insert(endpoint) }
        func end(_ endpoint: WebhookEndpointID) { all.remove(endpoint) }
    }

    private func dueByEndpoint(except busy: Set<WebhookEndpointID>) async -> [[WebhookEvent]] {
        do {
            let due = try await events.eventsDue(at: time.now(), limit: 200)
            return Array(Dictionary(grouping: due.filter { !busy.contains($0.endpoint.id) }, by: \.endpoint.id).values)
        } catch {
            logger.error("webhooks wait", metadata: ["error": "\(error)"])
            return []
        }
    }

    /// One endpoint's events in their order. When one fails the others wait with it: its server does not answer.
    private func deliver(_ batch: [WebhookEvent]) async {
        do {
            let line = try await Line(batch[0].endpoint, settings, secret: secret(batch[0].endpoint))
            var sent: [WebhookEventID] = []
            var failure: (index: Int, error: any Error)?
            for (index, event) in batch.enumerated() where failure == nil {
                do {
                    try await line.send(event, body: await body(of: event), at: time.now())
                    sent.append(event.id)
                } catch {
                    failure = (index, error)
                }
            }
            await line.close()
            delivered.increment(by: sent.count)
            if !sent.isEmpty { try await events.eventsDelivered(sent, at: time.now()) }
            if failure?.error is WebhookGone {
                await end(batch[0].endpoint)
            } else if let failure {
                await postpone(batch[failure.index...], failure.error)
            }
        } catch {
            await postpone(batch[...], error)
        }
    }

    /// Ends an endpoint whose server says that it is gone for good, with all that waits for it: "the endpoint should be disabled"
    /// (Standard Webhooks 1.0.0, on 410).
    private func end(_ endpoint: WebhookEndpoint) async {
        failed.increment()
        logger.warning(
            "webhook endpoint ended",
            metadata: [
                "endpoint": "\(endpoint.id)", "merchant": "\(endpoint.merchant)", "reason": "it answered 410, gone",
            ])
        do {
            try await events.remove(endpoint.id, of: endpoint.merchant, at: time.now())
        } catch let error as StoreError where error.kind == .notFound {
            // The merchant was quicker.
        } catch {
            logger.error("webhooks wait", metadata: ["error": "\(error)"])
        }
    }

    private func postpone(_ events: ArraySlice<WebhookEvent>, _ error: any Error) async {
        failed.increment(by: events.count)
        let reason = (error as? ServerError)?.description ?? "the connection failed"
        for event in events {
            let now = time.now()
            let isOver = event.attempts >= settings.retries.count
            // Many that failed together do not come back together.
            let wait = isOver ? 0 : settings.retries[event.attempts]
            let retry = isOver ? nil : now.adding(seconds: wait + Int64.random(in: 0...(wait / 5)))
            logger.warning(
                "webhook failed",
                metadata: [
                    "event": "\(event.id)", "payment": "\(event.payment)", "endpoint": "\(event.endpoint.id)",
                    "try": "\(event.attempts + 1)", "reason": "\(reason)", "again": "\(retry != nil)",
                ])
            do {
                try await self.events.eventFailed(event.id, reason: reason, retryAt: retry, at: now)
            } catch {
                logger.error("webhooks wait", metadata: ["error": "\(error)"])
            }
        }
    }

    /// The same bytes at every try: of the payment only what never changes, and the status that the event tells.
    private func body(of event: WebhookEvent) async throws -> [UInt8] {
        guard let payment = try await payments.onlinePayment(event.payment) else {
            throw ServerError("payment \(event.payment) of a webhook is not in the ledger")
        }
        return try WebhookBody(event, payment).bytes()
    }
}

/// What an endpoint is told.
struct WebhookBody: Encodable {
    struct Payment: Encodable {
        let id: String
        let livemode: Bool
        let status: String
        let amount: Int64
        let currency: String
        let reference: String?
    }

    let type: String
    let timestamp: String
    let data: Payment

    init(_ event: WebhookEvent, _ payment: OnlinePayment) {
        type = event.type
        timestamp = Date(timeIntervalSince1970: Double(event.at.milliseconds) / 1000).formatted(.iso8601)
        data = Payment(
            id: payment.id.rawValue, livemode: payment.isLive, status: event.state.merchantStatus,
            amount: payment.amount.minorUnits, currency: payment.amount.currency.code.lowercased(),
            reference: payment.reference)
    }

    func bytes() throws -> [UInt8] { try JSONBytes.of(self) }
}

/// The endpoint is gone for good (410): nothing more is sent to it.
private struct WebhookGone: Error {}

/// A connection to one endpoint for a few events: to the address that was looked up and found to be allowed.
private struct Line {
    let client: HTTPClient
    let endpoint: WebhookEndpoint
    let settings: WebhookSender.Settings
    let secret: SecretBytes

    init(_ endpoint: WebhookEndpoint, _ settings: WebhookSender.Settings, secret: SecretBytes) async throws {
        let target = try WebhookTarget(
            endpoint.url, allowsPrivate: settings.allowsPrivate || settings.isOwn(endpoint.url))
        let address = try await target.address()
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: .init(connect: .seconds(settings.seconds), read: .seconds(settings.seconds)))
        // Under both spellings: the client looks the host up as it reads it.
        for host in [target.host, target.host.lowercased()] { configuration.dnsOverride[host] = address }
        configuration.http1_1ConnectionDebugInitializer = { channel in
            guard channel.remoteAddress?.ipAddress == address else {
                return channel.eventLoop.makeFailedFuture(ServerError("connected to another address than was allowed"))
            }
            return channel.eventLoop.makeSucceededVoidFuture()
        }
        configuration.httpVersion = .http1Only
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        self.endpoint = endpoint
        self.settings = settings
        self.secret = secret
    }

    func close() async { try? await client.shutdown() }

    func send(_ event: WebhookEvent, body: [UInt8], at time: Timestamp) async throws {
        let seconds = time.milliseconds / 1000
        var request = HTTPClientRequest(url: endpoint.url)
        request.method = .POST
        request.headers = [
            "content-type": "application/json", "user-agent": "ecard", "webhook-id": event.id.rawValue,
            "webhook-timestamp": "\(seconds)",
            "webhook-signature": WebhookSignature.v1(
                id: event.id.rawValue, timestamp: seconds, body: body, secret: secret),
        ]
        request.body = .bytes(body)
        let (client, settings, prepared) = (client, settings, request)
        let status = try await withThrowingTaskGroup(of: UInt.self) { group in
            group.addTask {
                let response = try await client.execute(prepared, deadline: .now() + .seconds(settings.seconds))
                // Read, so that the connection may serve the next event; too long an answer ends it.
                _ = try? await response.body.collect(upTo: settings.answerLimit)
                return response.status.code
            }
            group.addTask {
                try await Task.sleep(for: .seconds(settings.seconds))
                throw ServerError("no answer within \(settings.seconds) s")
            }
            defer { group.cancelAll() }
            return try await group.next() ?? 0
        }
        if status == 410 { throw WebhookGone() }
        guard (200..<300).contains(status) else { throw ServerError("the endpoint answered \(status)") }
    }
}
