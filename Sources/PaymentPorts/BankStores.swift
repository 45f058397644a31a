/// One step of a payment with all that becomes durable with it, in one commit: its effects leave afterwards.
public struct PaymentStep: Sendable {
    public let payment: PaymentID
    /// The states it starts from; in any other nothing is written.
    public let from: Set<OnlinePayment.State>
    /// The try that it decides: while another is looked at, or none, nothing is written.
    public var ofAttempt: Int?
    /// The step that it follows: after any other nothing is written. For what was reckoned from the payment as it was read.
    public var afterStep: Int?
    public let to: OnlinePayment.State
    public let role: PaymentRole
    /// A sentence for the bank's own people: what happened.
    public let reason: String
    public let at: Timestamp
    /// What is changed in the row besides its state.
    public var prompt: ShownPrompt?
    /// Seals a code in, and counts the try.
    public var sealedCode: (code: [UInt8], profile: CodeProfile)?
    /// Destroys the sealed code: at the verdict.
    public var purgesCode = false
    /// When a timer looks next; `nil`: never.
    public var dueAt: Timestamp?
    /// All that the issuer debited for the merchant, in minor units; what is not booked yet is booked.
    public var captured: Int64?
    /// All that the issuer returned until now, in minor units; what is not booked yet is booked, and an older sum changes
    /// nothing: so no refund is booked twice.
    public var refunded: Int64?
    /// Counted, unless a cap is reached: then nothing is written.
    public var counts: [Activity] = []
    public var caps: [ActivityCap] = []
    /// Messages to people, in the queue from this commit on.
    public var messages: [OutgoingMessage] = []
    /// References of messages that have no point any more: those that still wait are destroyed.
    public var withdraws: [String] = []
    /// Whether the merchant's webhook endpoints are told: `payment.captured` and so on.
    public var tellsMerchant = true
    /// The signed record (JWS compact serialization, RFC 7515).
    public var evidence: String?
    /// The merchant's signed request that caused it.
    public var request: KeptRequest?
    /// The turn of a holder's dialogue that this step is a part of: both are written or neither.
    public var turn: USSDTurn?

    public init(
        payment: PaymentID, from: Set<OnlinePayment.State>, to: OnlinePayment.State, role: PaymentRole, reason: String,
        at: Timestamp
    ) {
        self.payment = payment
        self.from = from
        self.to = to
        self.role = role
        self.reason = reason
        self.at = at
    }
}

public enum StepOutcome: Sendable {
    /// Durable: the payment as it is now.
    case taken(OnlinePayment)
    /// It was in none of the states it could start from: the loser of a race is told how it stands.
    case stands(OnlinePayment)
    /// A cap is reached, and nothing was written.
    case capped(OnlinePayment, ActivityCap)

    public var payment: OnlinePayment {
        switch self {
        case .taken(let payment), .stands(let payment), .capped(let payment, _): payment
        }
    }
}

/// The first commit of a payment.
public struct PaymentOpening: Sendable {
    /// As it is after its first steps.
    public let payment: OnlinePayment
    /// The first steps, in order; the last leads to the payment's state.
    public let steps: [PaymentStepRecord]
    /// The notice to the holder. One without a recipient leaves to nobody: it costs the same work.
    public let notice: OutgoingMessage
    public var counts: [Activity] = []
    /// Where one of them is reached the payment is opened all the same, and neither notice nor prompt leaves.
    public var noticeCaps: [ActivityCap] = []
    /// For a gateway that brings the prompt to the telephone by itself: due at once. The notice is the way besides.
    public var prompt: OutgoingMessage?
    /// When the notice is due; `nil`: at once.
    public var noticeAt: Timestamp?
    /// The answer for repeats.
    public var remembered: RememberedRequest?
    /// The merchant's signed request.
    public var request: KeptRequest?

    public init(payment: OnlinePayment, steps: [PaymentStepRecord], notice: OutgoingMessage) {
        self.payment = payment
        self.steps = steps
        self.notice = notice
    }
}

/// A step that was taken, for lists and the signed record.
public struct PaymentStepRecord: Hashable, Sendable {
    public let number: Int
    public let state: OnlinePayment.State
    public let role: PaymentRole
    public let reason: String
    public let at: Timestamp

    public init(number: Int, state: OnlinePayment.State, role: PaymentRole, reason: String, at: Timestamp) {
        self.number = number
        self.state = state
        self.role = role
        self.reason = reason
        self.at = at
    }
}

/// What a merchant's key for a request (`Idempotency-Key`) stands for, kept 24 hours.
public struct RememberedRequest: Hashable, Sendable {
    public let merchant: MerchantID
    public let key: String
    /// HMAC over method, path and body.
    public let digest: [UInt8]
    /// HTTP status and body, given again at a repeat.
    public let status: Int
    public let body: [UInt8]
    public let at: Timestamp

    public init(merchant: MerchantID, key: String, digest: [UInt8], status: Int, body: [UInt8], at: Timestamp) {
        self.merchant = merchant
        self.key = key
        self.digest = digest
        self.status = status
        self.body = body
        self.at = at
    }
}

/// A merchant's signed request as the bank keeps it: it holds no card number and no secret (docs/oopa.md, "Signed requests").
public struct KeptRequest: Hashable, Sendable {
    /// SHA-256 of what was signed, base64url: the same request is kept once.
    public let id: String
    public let payment: PaymentID
    /// The request in JSON.
    public let text: String
    /// The bank's own record of it (JWS compact serialization); `nil` where the payment's signed record holds the request.
    public let signed: String?
    public let at: Timestamp

    public init(id: String, payment: PaymentID, text: String, signed: String?, at: Timestamp) {
        self.id = id
        self.payment = payment
        self.text = text
        self.signed = signed
        self.at = at
    }
}

/// A public key that a merchant signs its requests with.
public struct MerchantSigningKey: Hashable, Sendable {
    /// The JWK thumbprint (RFC 7638), base64url: what requests name it by.
    public let id: String
    public let merchant: MerchantID
    /// Whether it signs requests of real money; one for test payments signs no others.
    public let isLive: Bool
    /// A point of P-256: 04 ‖ x ‖ y, 65 bytes.
    public let point: [UInt8]
    public let createdAt: Timestamp
    public let endedAt: Timestamp?

    public init(
        id: String, merchant: MerchantID, isLive: Bool, point: [UInt8], createdAt: Timestamp, endedAt: Timestamp? = nil
    ) {
        self.id = id
        self.merchant = merchant
        self.isLive = isLive
        self.point = point
        self.createdAt = createdAt
        self.endedAt = endedAt
    }
}

/// An API key as the bank knows it: not the key.
public struct MerchantKey: Hashable, Sendable {
    /// How it begins and ends, for people.
    public let hint: String
    public let isLive: Bool
    public let createdAt: Timestamp
    public let endedAt: Timestamp?

    public init(hint: String, isLive: Bool, createdAt: Timestamp, endedAt: Timestamp?) {
        self.hint = hint
        self.isLive = isLive
        self.createdAt = createdAt
        self.endedAt = endedAt
    }
}

public protocol MerchantStore: Sendable {
    /// - Throws: ``StoreError`` `.conflict` for a name or registration number that is taken.
    func add(_ merchant: Merchant) async throws
    func merchant(_ id: MerchantID) async throws -> Merchant?
    func merchants(limit: Int?) async throws -> [Merchant]
    func setState(_ new: Merchant.State, of merchant: MerchantID, by person: String, at time: Timestamp) async throws
    /// Adds a secret API key by its digest; the key itself is shown once and kept nowhere.
    /// - Parameter digest: SHA-256 of the key, which has 256 random bits of its own.
    func addKey(
        _ digest: [UInt8], hint: String, of merchant: MerchantID, isLive: Bool, at time: Timestamp
    ) async throws
    /// - Throws: ``StoreError`` `.notFound`.
    func endKey(hint: String, of merchant: MerchantID, at time: Timestamp) async throws
    func keys(of merchant: MerchantID) async throws -> [MerchantKey]
    /// Whose key this is; `nil` for an unknown or ended one.
    func merchant(keyDigest: [UInt8]) async throws -> (merchant: Merchant, isLive: Bool)?
    /// - Throws: ``StoreError`` `.conflict` for a key that was registered before, whoever's it was.
    func add(_ key: MerchantSigningKey) async throws
    /// Requests signed with it are refused from now on; what it signed before can still be verified.
    /// - Throws: ``StoreError`` `.notFound`.
    func endSigningKey(_ id: String, of merchant: MerchantID, at time: Timestamp) async throws
    func signingKeys(of merchant: MerchantID) async throws -> [MerchantSigningKey]
    /// The key with this name; `nil` for an unknown or ended one.
    func signingKey(_ id: String) async throws -> MerchantSigningKey?
    /// Whether unsigned requests of this merchant's that change something are refused.
    /// - Throws: ``StoreError`` `.notFound`; `.conflict` where the merchant has no key to sign with.
    func requireSignatures(_ isRequired: Bool, of merchant: MerchantID, by person: String, at time: Timestamp)
        async throws
}

public protocol OnlinePaymentStore: Sendable {
    /// Makes a payment and queues its notice; whoever calls rings the bell, since a sender at work beside it would show in the
    /// time of the answer.
    /// - Throws: ``StoreError`` `.conflict` for an identifier that is taken, or a request that was remembered meanwhile.
    func open(_ opening: PaymentOpening) async throws
    /// Takes a step, or leaves everything as it stands.
    /// - Throws: ``StoreError`` `.conflict` when somebody else took the dialogue's turn.
    func take(_ step: PaymentStep) async throws -> StepOutcome
    /// Has a message that waits for its time leave at `time` already. One that was begun, given up or withdrawn stays so.
    func hasten(_ reference: String, to time: Timestamp) async throws
    /// Has a timer look at a payment at `time`, or never (`nil`), unless it has taken a step since `step`.
    /// - Parameter request: a merchant's signed request, kept in the same commit, whatever becomes of the timer.
    func reschedule(_ id: PaymentID, afterStep step: Int, at time: Timestamp?, keeping request: KeptRequest?)
        async throws
    /// Keeps the answer to a request whose work is durable already, and is recognised by a key of its own.
    /// - Throws: ``StoreError`` `.conflict` for a key that is taken.
    func remember(_ request: RememberedRequest) async throws
    func remembered(_ key: String, of merchant: MerchantID, at time: Timestamp) async throws -> RememberedRequest?
    func onlinePayment(_ id: PaymentID) async throws -> OnlinePayment?
    func steps(of id: PaymentID) async throws -> [PaymentStepRecord]
    func evidence(of id: PaymentID) async throws -> String?
    /// The merchant's signed requests, in the order that they came.
    func requests(of id: PaymentID) async throws -> [KeptRequest]
    /// Of one merchant, newest first, beginning after `cursor`.
    func onlinePayments(
        of merchant: MerchantID, isLive: Bool, after cursor: PaymentID?, limit: Int
    ) async throws -> [OnlinePayment]
    /// Those that the holder on this telephone can answer now, oldest first.
    func pending(phone: String, at time: Timestamp) async throws -> [OnlinePayment]
    /// Those that the holder on this telephone has answered and that nobody has collected yet, oldest first: checked, looked
    /// at by a person, or held.
    func uncollected(phone: String) async throws -> [OnlinePayment]
    /// The newest of this telephone that were captured.
    func receipts(phone: String, limit: Int) async throws -> [OnlinePayment]
    /// Those that a timer must look at by `time`, the earliest first.
    func due(at time: Timestamp, limit: Int) async throws -> [OnlinePayment]
    /// The oldest that wait for a person.
    func inReview(limit: Int) async throws -> [OnlinePayment]
    /// The newest of all merchants, newest first.
    func onlinePayments(limit: Int) async throws -> [OnlinePayment]
}

extension OnlinePaymentStore {
    public func reschedule(_ id: PaymentID, afterStep step: Int, at time: Timestamp?) async throws {
        try await reschedule(id, afterStep: step, at: time, keeping: nil)
    }
}
