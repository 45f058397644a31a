public import CardData

/// A person or firm that holds accounts.
public struct Customer: Hashable, Sendable {
    public let id: CustomerID
    public let name: CardholderName
    /// E.164, `+233201234567`.
    public let phone: String?
    public let email: String?
    /// Two letters (ISO 639-1), of menus, prompts and messages.
    public let language: String
    public let createdAt: Timestamp
    /// Since when ``phone`` is theirs; `nil`: from the start.
    public let phoneChangedAt: Timestamp?

    public init(
        id: CustomerID, name: CardholderName, phone: String?, email: String?, language: String = "en",
        createdAt: Timestamp, phoneChangedAt: Timestamp? = nil
    ) {
        self.id = id
        self.name = name
        self.phone = phone
        self.email = email
        self.language = language
        self.createdAt = createdAt
        self.phoneChangedAt = phoneChangedAt
    }
}

/// Money held for a customer in one currency.
public struct Account: Hashable, Sendable {
    public let id: AccountID
    public let customer: CustomerID
    /// The sum of all postings.
    public let balance: Money
    /// The part of it that open holds have set aside, in minor units.
    public let heldMinorUnits: Int64
    public let createdAt: Timestamp

    public init(id: AccountID, customer: CustomerID, balance: Money, heldMinorUnits: Int64, createdAt: Timestamp) {
        self.id = id
        self.customer = customer
        self.balance = balance
        self.heldMinorUnits = heldMinorUnits
        self.createdAt = createdAt
    }

    /// What a new payment may use. Figures beyond 64 bits, which only damage could bring, leave nothing.
    public var available: Money {
        let (rest, overflow) = balance.minorUnits.subtractingReportingOverflow(heldMinorUnits)
        return Money(minorUnits: overflow ? 0 : rest, currency: balance.currency)
    }
}

/// A card as the issuer knows it. The PAN is sealed; only the HSM opens it.
public struct Card: Hashable, Sendable {
    public enum State: String, Sendable, CaseIterable {
        /// Recorded; the chip is not personalized yet.
        case created
        /// Personalization began and did not end: the chip must be personalized again.
        case personalizing
        case active
        /// Blocked for good or until unblocked by the issuer.
        case blocked
    }

    public let id: CardID
    public let account: AccountID
    /// HMAC of the PAN under the PAN index key, 32 bytes.
    public let panIndex: [UInt8]
    /// AES-GCM under the PAN key: IV, ciphertext, tag.
    public let panSealed: [UInt8]
    /// First six and last four.
    public let panMasked: String
    /// Tag 5F34, 0 to 99.
    public let sequenceNumber: Int
    public let expiry: ExpiryDate
    public let name: CardholderName
    /// Name of the card profile, `classic`.
    public let profile: String
    public var state: State
    /// Whether the chip once had publicly known keys: whoever recorded that has its keys.
    public var isExposed: Bool
    /// The highest ATC (application transaction counter) of a verified cryptogram.
    public var lastVerifiedATC: UInt16?
    public let createdAt: Timestamp
    public var keys: CardKeys

    public init(
        id: CardID, account: AccountID, panIndex: [UInt8], panSealed: [UInt8], panMasked: String, sequenceNumber: Int,
        expiry: ExpiryDate, name: CardholderName, profile: String, state: State, isExposed: Bool,
        lastVerifiedATC: UInt16?, createdAt: Timestamp, keys: CardKeys = CardKeys()
    ) {
        self.id = id
        self.account = account
        self.panIndex = panIndex
        self.panSealed = panSealed
        self.panMasked = panMasked
        self.sequenceNumber = sequenceNumber
        self.expiry = expiry
        self.name = name
        self.profile = profile
        self.state = state
        self.isExposed = isExposed
        self.lastVerifiedATC = lastVerifiedATC
        self.createdAt = createdAt
        self.keys = keys
    }
}

/// What the issuer keeps of a secret code: never the code.
public struct CodeRecord: Hashable, Sendable {
    public enum State: String, Sendable, CaseIterable {
        case active
        /// Too many wrong attempts; `code unlock` or `code rotate` mends it.
        case locked
        /// Ended by the issuer or the holder; only a new code helps.
        case revoked
        /// A newer version took its place.
        case replaced
    }

    public let card: CardID
    /// 1 for a card's first code, one more for each rotation.
    public let version: Int
    /// 16 random bytes.
    public let salt: [UInt8]
    /// HMAC-SHA-256 under the code key, 32 bytes.
    public let digest: [UInt8]
    /// 3 to 8.
    public let digits: Int
    public var state: State
    /// Attempts counted since the last right code. Counted before the code is checked.
    public var failures: Int
    /// At this many the code locks.
    public let failureLimit: Int
    public let expiresAt: Timestamp?
    public let issuedAt: Timestamp
    /// Version of the code key that the digest is under.
    public let keyVersion: Int

    public init(
        card: CardID, version: Int, salt: [UInt8], digest: [UInt8], digits: Int, state: State, failures: Int,
        failureLimit: Int, expiresAt: Timestamp?, issuedAt: Timestamp, keyVersion: Int = 1
    ) {
        self.card = card
        self.version = version
        self.salt = salt
        self.digest = digest
        self.digits = digits
        self.state = state
        self.failures = failures
        self.failureLimit = failureLimit
        self.expiresAt = expiresAt
        self.issuedAt = issuedAt
        self.keyVersion = keyVersion
    }
}

/// ISO 8583 field 39: what the issuer answers.
public struct ResponseCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// Two characters.
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }

    public static let approved = ResponseCode(rawValue: "00")
    public static let doNotHonour = ResponseCode(rawValue: "05")
    public static let invalidTransaction = ResponseCode(rawValue: "12")
    public static let invalidAmount = ResponseCode(rawValue: "13")
    public static let invalidCard = ResponseCode(rawValue: "14")
    public static let insufficientFunds = ResponseCode(rawValue: "51")
    public static let expiredCard = ResponseCode(rawValue: "54")
    public static let incorrectCode = ResponseCode(rawValue: "55")
    public static let exceedsAmountLimit = ResponseCode(rawValue: "61")
    public static let restrictedCard = ResponseCode(rawValue: "62")
    public static let securityViolation = ResponseCode(rawValue: "63")
    public static let exceedsFrequencyLimit = ResponseCode(rawValue: "65")
    public static let tooManyAttempts = ResponseCode(rawValue: "75")
    public static let cryptogramFailed = ResponseCode(rawValue: "82")
    public static let issuerInoperative = ResponseCode(rawValue: "91")
    public static let duplicate = ResponseCode(rawValue: "94")
}

/// One payment, from the first durable attempt to its end.
public struct Payment: Hashable, Sendable {
    public enum Channel: String, Sendable {
        case chip, cardNotPresent = "card_not_present"
        /// Announced by a bank, and answered by the holder on a second channel: one try of it.
        case online
    }

    public enum State: String, Sendable, CaseIterable {
        /// The attempt is counted; there is no decision yet.
        case attempted
        /// Approved, funds held.
        case authorized
        /// Approved, account debited (possibly in part refunded).
        case captured
        case declined
        /// The hold was released by the merchant.
        case voided
        /// The hold was released because the chip was lost or refused.
        case reversed
        /// The hold was released by time.
        case expired
        /// Captured, and all of it returned.
        case refunded
    }

    public let id: PaymentID
    public let idempotencyKey: String
    public let channel: Channel
    public let merchant: String
    public let amount: Money
    /// `nil` when the card is unknown to us.
    public var card: CardID?
    public let panMasked: String
    public var state: State
    public var responseCode: ResponseCode?
    /// A sentence for a person.
    public var reason: String
    /// What was answered, byte for byte, for a repeat of the request.
    public var storedAnswer: [UInt8]
    /// Minor units captured so far.
    public var capturedMinorUnits: Int64
    /// Minor units returned so far.
    public var refundedMinorUnits: Int64
    public let createdAt: Timestamp
    public var decidedAt: Timestamp?
    /// When the chip confirmed an approval with its second cryptogram: until then it cannot be captured. Always `nil`
    /// without a chip.
    public var confirmedAt: Timestamp?
    /// When an open hold ends by itself.
    public var holdExpiresAt: Timestamp?
    /// What the bank calls the payment that this is a try of, and which try it is.
    public let announcement: PaymentID?
    public let attempt: Int?

    public init(
        id: PaymentID, idempotencyKey: String, channel: Channel, merchant: String, amount: Money, card: CardID?,
        panMasked: String, state: State, responseCode: ResponseCode?, reason: String, storedAnswer: [UInt8],
        capturedMinorUnits: Int64, refundedMinorUnits: Int64, createdAt: Timestamp, decidedAt: Timestamp?,
        confirmedAt: Timestamp?, holdExpiresAt: Timestamp?, announcement: PaymentID? = nil, attempt: Int? = nil
    ) {
        self.id = id
        self.idempotencyKey = idempotencyKey
        self.channel = channel
        self.merchant = merchant
        self.amount = amount
        self.card = card
        self.panMasked = panMasked
        self.state = state
        self.responseCode = responseCode
        self.reason = reason
        self.storedAnswer = storedAnswer
        self.capturedMinorUnits = capturedMinorUnits
        self.refundedMinorUnits = refundedMinorUnits
        self.createdAt = createdAt
        self.decidedAt = decidedAt
        self.confirmedAt = confirmedAt
        self.holdExpiresAt = holdExpiresAt
        self.announcement = announcement
        self.attempt = attempt
    }
}
