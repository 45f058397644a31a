/// A message that waits to leave. It is in the queue from the commit of what it tells.
public struct QueuedMessage: Sendable {
    public let message: OutgoingMessage
    /// How often it was tried.
    public let attempts: Int

    public init(message: OutgoingMessage, attempts: Int) {
        self.message = message
        self.attempts = attempts
    }
}

/// Messages on their way to people, known by their references. A code leaves at most once, all else at least once.
public protocol MessageQueueStore: Sendable {
    /// Those whose time has come, oldest first.
    /// - Parameter channel: of these alone; `nil`: of all.
    func messagesDue(at time: Timestamp, limit: Int, by channel: MessageChannel?) async throws -> [QueuedMessage]
    /// How many are still to leave, now or later.
    func messagesWaiting() async throws -> [MessageChannel: Int]
    /// Rings when this process has put messages into the queue; for ``OnlinePaymentStore/open(_:)`` its caller rings it.
    var bell: MessageBell { get }
    /// A code is about to be handed over: from this commit on it is due to nobody else.
    /// - Throws: ``StoreError`` `.conflict` when somebody has begun it already.
    func messageBegun(_ reference: String, at time: Timestamp) async throws
    /// Handed over. Its body is destroyed.
    func messagesSent(_ references: [String], at time: Timestamp) async throws
    /// Not handed over: a try more, and due again at `retryAt`, also if it was begun, because surely nothing of it left; or
    /// given up (`nil`) and its body destroyed.
    func messageFailed(_ reference: String, reason: String, retryAt: Timestamp?, at time: Timestamp) async throws
}

extension MessageQueueStore {
    public func messagesDue(at time: Timestamp, limit: Int) async throws -> [QueuedMessage] {
        try await messagesDue(at: time, limit: limit, by: nil)
    }
}

public struct WebhookEndpointID: RecordIdentifier {
    public static let prefix = "whe"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

public struct WebhookEventID: RecordIdentifier {
    public static let prefix = "evt"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

/// Where a merchant wants to be told (Standard Webhooks).
public struct WebhookEndpoint: Hashable, Sendable {
    public let id: WebhookEndpointID
    public let merchant: MerchantID
    public let isLive: Bool
    public let url: String
    /// The signing secret, sealed under the bank's webhook key: IV, ciphertext, tag.
    public let sealedSecret: [UInt8]
    public let createdAt: Timestamp

    public init(
        id: WebhookEndpointID, merchant: MerchantID, isLive: Bool, url: String, sealedSecret: [UInt8],
        createdAt: Timestamp
    ) {
        self.id = id
        self.merchant = merchant
        self.isLive = isLive
        self.url = url
        self.sealedSecret = sealedSecret
        self.createdAt = createdAt
    }
}

/// One event for one endpoint.
public struct WebhookEvent: Hashable, Sendable {
    public let id: WebhookEventID
    public let endpoint: WebhookEndpoint
    /// `payment.captured`
    public let type: String
    public let payment: PaymentID
    /// The state that the step led to, and its number: what the event tells, whatever follows.
    public let state: OnlinePayment.State
    public let step: Int
    public let attempts: Int
    public let at: Timestamp

    public init(
        id: WebhookEventID, endpoint: WebhookEndpoint, type: String, payment: PaymentID, state: OnlinePayment.State,
        step: Int, attempts: Int, at: Timestamp
    ) {
        self.id = id
        self.endpoint = endpoint
        self.type = type
        self.payment = payment
        self.state = state
        self.step = step
        self.attempts = attempts
        self.at = at
    }
}

/// An event that its endpoint has not taken yet.
public struct UndeliveredEvent: Hashable, Sendable {
    public let event: WebhookEvent
    /// When it is tried next; `nil` when it was given up.
    public let dueAt: Timestamp?
    /// What the last try came to; empty before the first.
    public let reason: String

    public init(event: WebhookEvent, dueAt: Timestamp?, reason: String) {
        self.event = event
        self.dueAt = dueAt
        self.reason = reason
    }
}

public protocol WebhookStore: Sendable {
    func add(_ endpoint: WebhookEndpoint) async throws
    func endpoints(of merchant: MerchantID) async throws -> [WebhookEndpoint]
    /// Ends an endpoint and the events that wait for it.
    func remove(_ endpoint: WebhookEndpointID, of merchant: MerchantID, at time: Timestamp) async throws
    /// Those whose time has come, oldest first.
    func eventsDue(at time: Timestamp, limit: Int) async throws -> [WebhookEvent]
    func eventsDelivered(_ events: [WebhookEventID], at time: Timestamp) async throws
    /// Tried again at `retryAt`, or given up (`nil`).
    func eventFailed(_ event: WebhookEventID, reason: String, retryAt: Timestamp?, at time: Timestamp) async throws
    /// What a merchant's endpoints have not taken, oldest first.
    func undelivered(of merchant: MerchantID, limit: Int) async throws -> [UndeliveredEvent]
    /// Has events leave again at `time`, with all tries before them.
    /// - Parameter events: those, or all that were given up (`nil`).
    /// - Returns: those that leave.
    /// - Throws: ``StoreError`` `.notFound` when one of them is not waiting for this merchant; then none leaves.
    func resend(
        _ events: [WebhookEventID]?, of merchant: MerchantID, at time: Timestamp
    ) async throws -> [WebhookEventID]
}

/// What will not leave the bank any more, although somebody was to have it. The issuer keeps nothing of the kind: what it gives
/// up is destroyed.
public protocol GivenUpStore: Sendable {
    /// How many messages were given up about payments that took a step since `time`.
    func messagesGivenUp(since time: Timestamp) async throws -> Int
    /// How many webhook events of steps since `time` were given up. Those of an endpoint that was removed are gone.
    func eventsGivenUp(since time: Timestamp) async throws -> Int
}

/// A dialogue on a telephone, where it stands. Holds no code.
public struct USSDSession: Hashable, Sendable {
    /// `africastalking`, `arkesel`, `hubtel`, `hlr`, `simulator`.
    public let gateway: String
    /// The gateway's own identifier.
    public let id: String
    /// E.164, as the gateway authenticated it.
    public let phone: String
    /// Where the dialogue stands, in its own words.
    public var position: [UInt8]
    /// Inputs taken so far.
    public var turn: Int
    /// HMAC over the last input: what a replay is recognised by.
    public var lastInput: [UInt8]
    /// What was answered to it, word for word.
    public var lastAnswer: [UInt8]
    public var updatedAt: Timestamp

    public init(
        gateway: String, id: String, phone: String, position: [UInt8], turn: Int, lastInput: [UInt8],
        lastAnswer: [UInt8], updatedAt: Timestamp
    ) {
        self.gateway = gateway
        self.id = id
        self.phone = phone
        self.position = position
        self.turn = turn
        self.lastInput = lastInput
        self.lastAnswer = lastAnswer
        self.updatedAt = updatedAt
    }
}

/// A turn of a dialogue as it is written: where the dialogue stands with it, and the turn that it follows.
public struct USSDTurn: Hashable, Sendable {
    public let session: USSDSession
    public let after: Int

    public init(_ session: USSDSession, after: Int) {
        self.session = session
        self.after = after
    }
}

public protocol USSDSessionStore: Sendable {
    func session(gateway: String, id: String) async throws -> USSDSession?
    /// Writes where a dialogue stands now.
    /// - Throws: ``StoreError`` `.conflict` when somebody else took this turn.
    func save(_ session: USSDSession, afterTurn turn: Int) async throws
    /// Forgets dialogues that nobody went on with since `time`.
    func endSessions(before time: Timestamp) async throws
}

/// A message's text in each language, sealed under the delivery key until it is handed over: AES-GCM over a JSON object
/// (`{"en":"…"}`), bound to the message's reference.
public struct SealedText: Hashable, Sendable {
    /// IV, ciphertext, tag.
    public let sealed: [UInt8]
    /// Of the delivery key.
    public let keyVersion: Int

    public init(sealed: [UInt8], keyVersion: Int) {
        self.sealed = sealed
        self.keyVersion = keyVersion
    }
}

/// A message that waits in the issuer's ledger.
public struct SealedMessage: Hashable, Sendable {
    public let reference: String
    public let kind: OutgoingMessage.Kind
    public let recipient: String
    /// The one that its text is sent in.
    public let language: String
    public let text: SealedText
    /// From then on it is destroyed unsent.
    public let expiresAt: Timestamp

    public init(
        reference: String, kind: OutgoingMessage.Kind, recipient: String, language: String, text: SealedText,
        expiresAt: Timestamp
    ) {
        self.reference = reference
        self.kind = kind
        self.recipient = recipient
        self.language = language
        self.text = text
        self.expiresAt = expiresAt
    }
}

/// The issuer's messages at rest: like ``MessageQueueStore``, but only the HSM opens them.
public protocol SealedMessageStore: Sendable {
    /// Those whose time has come, oldest first, with how often each was tried. What expired is destroyed first.
    /// - Parameter channel: of these alone; `nil`: of all.
    func sealedMessagesDue(
        at time: Timestamp, limit: Int, by channel: MessageChannel?
    ) async throws -> [(message: SealedMessage, attempts: Int)]
    func messagesWaiting() async throws -> [MessageChannel: Int]
    var bell: MessageBell { get }
    func messageBegun(_ reference: String, at time: Timestamp) async throws
    func messagesSent(_ references: [String], at time: Timestamp) async throws
    func messageFailed(_ reference: String, reason: String, retryAt: Timestamp?, at time: Timestamp) async throws
}

extension SealedMessageStore {
    public func sealedMessagesDue(
        at time: Timestamp, limit: Int
    ) async throws -> [(message: SealedMessage, attempts: Int)] {
        try await sealedMessagesDue(at: time, limit: limit, by: nil)
    }
}
