public import CardData

public struct MerchantID: RecordIdentifier {
    public static let prefix = "mer"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

/// A shop that takes payments without a CVV.
public struct Merchant: Hashable, Sendable {
    public enum State: String, Sendable, CaseIterable {
        /// Registered; its identity is not verified yet, so it takes test payments alone.
        case registered
        /// Somebody of the bank's saw its papers.
        case verified
        case suspended
    }

    public let id: MerchantID
    /// As in the register of companies, and as the holder's prompt shows it: 1 to 40 printable characters.
    public let name: String
    /// Its number in that register.
    public let registration: String
    /// The country of that register, ISO 3166-1 alpha-2; `nil` where nobody said.
    public let country: String?
    public var state: State
    /// Who saw what, when it was verified.
    public var verifiedBy: String?
    /// Whether its requests that change something must be signed.
    public var requiresSignatures = false
    public let createdAt: Timestamp

    public init(
        id: MerchantID, name: String, registration: String, country: String? = nil, state: State, verifiedBy: String?,
        createdAt: Timestamp
    ) {
        self.id = id
        self.name = name
        self.registration = registration
        self.country = country
        self.state = state
        self.verifiedBy = verifiedBy
        self.createdAt = createdAt
    }
}

/// Who caused a step of a payment.
public enum PaymentRole: String, Sendable, CaseIterable, Codable {
    case merchant, holder, bank, issuer
    /// A deadline that passed.
    case timer
    /// A person of the bank's, at the review queue.
    case reviewer
}

/// A payment that is asked of a holder on a second channel, as the bank keeps it. It holds no PAN and no name of a person.
public struct OnlinePayment: Hashable, Sendable {
    /// docs/oopa.md has for each of them what leads there, who causes it, and what the merchant sees.
    public enum State: String, Sendable, CaseIterable, Codable {
        /// Announced to the issuer, not yet on its way to the holder.
        case created
        /// The notice to the holder is on its way.
        case prompting
        /// The holder can answer.
        case awaitingHolder = "awaiting_holder"
        /// A code came and is sealed; the issuer decides.
        case checking
        /// A pattern is unusual: a person decides before the issuer does.
        case review
        /// Held.
        case authorized
        /// Debited; perhaps in part returned.
        case captured
        /// Debited, and all of it returned.
        case refunded
        /// A hold that the merchant or the holder ended.
        case voided
        case declined
        /// The holder said no.
        case denied
        /// Ended by merchant or holder before a decision.
        case cancelled
        case expired

        /// Whether nothing can follow.
        public var isFinal: Bool {
            switch self {
            case .created, .prompting, .awaitingHolder, .checking, .review, .authorized, .captured: false
            case .refunded, .voided, .declined, .denied, .cancelled, .expired: true
            }
        }
    }

    public let id: PaymentID
    public let merchant: MerchantID
    /// As it was verified when the payment was created: what the prompt, the record and the receipt say.
    public let merchantName: String
    /// Whether it moves real money; test payments go to the same issuer and are marked everywhere.
    public let isLive: Bool
    public let amount: Money
    /// Whether the merchant captures by a call of its own.
    public let capturesLater: Bool
    /// The merchant's own number for it, and its words for it; shown to nobody else.
    public let reference: String?
    public let details: String?
    /// First six and last four, as the merchant gave it.
    public let panMasked: String
    public let route: HolderRoute
    public var state: State
    /// For the bank's own people, never for the merchant.
    public var reason: String
    /// The step that led to ``state``: 1 for the first.
    public var step: Int
    /// What was shown to the holder last.
    public var prompt: ShownPrompt?
    /// Tries with a code so far.
    public var attempts: Int
    /// The code of the try that is being decided, sealed to the issuer; gone at the verdict.
    public var sealedCode: [UInt8]?
    public var profile: CodeProfile?
    public var capturedMinorUnits: Int64
    public var refundedMinorUnits: Int64
    public let createdAt: Timestamp
    /// Until when the holder may answer.
    public let expiresAt: Timestamp
    /// When a timer looks at it next: the holder's deadline, the next inquiry in doubt, the end of a hold. `nil` when nothing
    /// is due any more. Data, so that a restart goes on where it was.
    public var dueAt: Timestamp?
    public var updatedAt: Timestamp
    /// The merchant's signed request that made it (``KeptRequest/id``); `nil` where it was not signed.
    public var request: String?

    public init(
        id: PaymentID, merchant: MerchantID, merchantName: String, isLive: Bool, amount: Money, capturesLater: Bool,
        reference: String?, details: String?, panMasked: String, route: HolderRoute, state: State, reason: String,
        step: Int, prompt: ShownPrompt?, attempts: Int, sealedCode: [UInt8]?, profile: CodeProfile?,
        capturedMinorUnits: Int64, refundedMinorUnits: Int64, createdAt: Timestamp, expiresAt: Timestamp,
        dueAt: Timestamp?, updatedAt: Timestamp
    ) {
        self.id = id
        self.merchant = merchant
        self.merchantName = merchantName
        self.isLive = isLive
        self.amount = amount
        self.capturesLater = capturesLater
        self.reference = reference
        self.details = details
        self.panMasked = panMasked
        self.route = route
        self.state = state
        self.reason = reason
        self.step = step
        self.prompt = prompt
        self.attempts = attempts
        self.sealedCode = sealedCode
        self.profile = profile
        self.capturedMinorUnits = capturedMinorUnits
        self.refundedMinorUnits = refundedMinorUnits
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.dueAt = dueAt
        self.updatedAt = updatedAt
    }
}

/// What a holder saw, word for word.
public struct ShownPrompt: Hashable, Sendable, Codable {
    public let text: String
    /// Where: `ussd:africastalking`, `ussd:hlr`, `simulator`.
    public let channel: String
    public let at: Timestamp

    public init(text: String, channel: String, at: Timestamp) {
        self.text = text
        self.channel = channel
        self.at = at
    }
}
