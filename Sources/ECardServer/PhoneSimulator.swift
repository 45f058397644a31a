import ByteCoding
import Foundation
import HTTPTypes
import Hummingbird
public import Logging
public import OOPA
public import PaymentPorts
import Synchronization

/// A telephone as a web page, with the gateway behind it and a shop's webhook receiver beside it: `ecard serve
/// --simulator`, for people who try payments out. Whoever reaches it is any telephone, so it is for loopback alone.
///
/// The page and its backend speak Hubtel's callbacks to each other, a request an input; what is signed says
/// `ussd:simulator`. `ecard handset` is the same telephone without the page (``SimulatorLine``).
public struct PhoneSimulator: Sendable {
    public static let gateway = "simulator"

    /// A message to a telephone, as the page lists it.
    public struct Message: Encodable, Sendable {
        /// `notice`, `receipt` or `code`.
        let kind: String
        let reference: String
        let body: String
        /// ISO 8601.
        let at: String

        public init(kind: String, reference: String, body: String, at time: Timestamp) {
            self.kind = kind
            self.reference = reference
            self.body = body
            at = PhoneSimulator.iso(time)
        }
    }

    private struct Secret: Encodable {
        let secret: String
    }

    private struct Key: Encodable {
        let key: Int
        let publicKey: String
    }

    private struct News: Encodable {
        let messages: [Message]
        /// Dialogues that the network begins on this telephone.
        let prompts: [SimulatedNetwork.Prompt]
        let webhooks: [ReceivedWebhook]
    }

    /// Messages that the page is shown, the newest.
    private static let most = 50

    private let gate: PhoneGate
    private let scheme: String
    private let dialogue: USSDDialogue
    private let keys: @Sendable () async throws -> [CodeSealingKey]
    private let messages: @Sendable (_ phone: String) async throws -> [Message]
    private let time: any TimeSource
    private let logger: Logger
    private let webhooks = WebhookInbox()
    private let network: SimulatedNetwork
    private let port = PortNumber()

    /// - Parameters:
    ///   - place: where the server listens.
    ///   - silence: after it a telephone that has not asked for news is off.
    ///   - keys: the issuer's public keys, the newest first.
    ///   - messages: those to a telephone (E.164), the oldest first.
    /// - Throws: ``ServerError`` for a place that more than this machine reaches.
    public init(
        at place: ListeningPlace, dialogue: USSDDialogue, time: any TimeSource, logger: Logger,
        silence: Duration = .seconds(15), keys: @escaping @Sendable () async throws -> [CodeSealingKey],
        messages: @escaping @Sendable (_ phone: String) async throws -> [Message]
    ) throws {
        try Self.require(host: place.host)
        scheme = place.scheme
        gate = PhoneGate(scheme: scheme)
        network = SimulatedNetwork(silence: silence)
        self.dialogue = dialogue
        self.keys = keys
        self.messages = messages
        self.time = time
        self.logger = logger
    }

    /// - Throws: ``ServerError`` for a host that more than this machine reaches.
    public static func require(host: String) throws {
        guard ListeningPlace.isLoopback(host) else {
            throw ServerError(
                "no simulator on \(host): whoever reaches it answers payments as any telephone",
                advice: "Leave the host out, so that only this machine reaches it, or leave out the simulator")
        }
    }

    public var routes: [Route] {
        PhonePage.routes(gate) + [
            Route(.get, "/phone/secret") { request, _ in
                try gate.requireNoOtherSite(request)
                return try Response(.ok, json: Secret(secret: gate.token))
            },
            Route(.get, "/phone/keys") { request, _ in
                try gate.requirePage(request)
                return try Response(
                    .ok, json: await keys().map { Key(key: Int($0.id), publicKey: $0.publicKey.hex) })
            },
            Route(.post, "/phone/ussd") { request, context in
                try gate.requirePage(request)
                return try await exchange(request, context)
            },
            Route(.get, "/phone/news", isRoutine: true) { request, _ in
                try gate.requirePage(request)
                let phone = MSISDN.normalized(request.uri.queryParameters["phone"] ?? "")
                let shown = if let phone { try await messages(phone) } else { [Message]() }
                let prompts = phone.map { network.hear($0) } ?? []
                return try Response(
                    .ok, json: News(messages: shown.suffix(Self.most), prompts: prompts, webhooks: webhooks.all))
            },
            Route(.post, WebhookInbox.path) { request, _ in
                try gate.requireNoPage(request)
                guard request.mediaType == Response.json else { throw APIError.wrongMediaType(Response.json) }
                webhooks.add(request, try await request.bytes(), at: Self.iso(time.now()))
                return Response(.ok, Response.json, "{}".utf8)
            },
        ]
    }

    /// Shows prompts by itself on the telephones that are open.
    public var prompts: any PromptGateway { network }

    /// What the server is to tell of the port that it got.
    public func listens(on port: Int) { self.port.value.withLock { $0 = port } }

    /// Whether a webhook's URL is this simulator's receiver: allowed, although it is no public address.
    public func receives(_ url: String) -> Bool {
        guard let parts = URLComponents(string: url), let host = parts.host, parts.scheme == scheme else {
            return false
        }
        return ListeningPlace.isLoopback(NetworkAddress.text(ofURLHost: host))
            && parts.port == port.value.withLock { $0 }
            && parts.path == WebhookInbox.path && parts.query == nil
    }

    private func exchange(_ request: Request, _ context: ServerContext) async throws -> Response {
        let asked: USSDRequest
        do {
            asked = try Hubtel.request(from: try await request.bytes(), contentType: request.headers[.contentType])
        } catch let error as USSDRequestError {
            throw APIError(.badRequest, .invalidRequest, "callback_invalid", "\(error)", param: error.place)
        }
        // In the books and in what is signed it stands as what it is.
        let mine = USSDRequest(
            gateway: Self.gateway, session: asked.session, phone: asked.phone, kind: asked.kind, text: asked.text,
            sequence: asked.sequence, limit: asked.limit, pushed: network.take(asked.session, by: asked.phone))
        let answer = try await dialogue.respond(to: mine)
        context.payment.id = answer.payment
        if let failure = answer.failure {
            logger.error("telephone", metadata: ["gateway": "\(Self.gateway)", "error": "\(failure)"])
        }
        let (contentType, body) = Hubtel.response(to: mine, with: answer)
        return Response(.ok, contentType, body)
    }

    private static func iso(_ time: Timestamp) -> String {
        Date(timeIntervalSince1970: Double(time.milliseconds) / 1000).formatted(.iso8601)
    }

    /// Known once the server listens.
    private final class PortNumber: Sendable {
        let value = Mutex(0)
    }
}
