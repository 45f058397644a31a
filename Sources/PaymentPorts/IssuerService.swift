public import CardData

/// What the bank asks of the issuer: processes N and P of the paper. Every call is idempotent by its payment, so that a bank
/// that got no answer asks again and moves no money, and counts no attempt.
///
/// Where the parties are apart this is mutual TLS; where they are together, a call.
/// - Throws: ``IssuerServiceError``. `.noAnswer` leaves the outcome in doubt: ask with ``inquire(_:)``.
public protocol IssuerService: Sendable {
    /// The public keys that codes may be sealed to now, the newest first.
    func sealingKeys() async throws -> [CodeSealingKey]

    /// Process N: announces a payment and asks where its holder is asked. Durable before it returns. A card that is unknown,
    /// blocked or without a telephone gets a route too, which leads to nobody: it costs the same work and tells the same.
    /// - Throws: `.refused` for the same payment with other contents.
    func checkFunds(_ inquiry: FundsInquiry) async throws -> HolderRoute

    /// Process P: checks the code that the holder gave and decides. A repeat of the same try gets the stored verdict.
    func authorize(_ request: CodeAuthorization) async throws -> IssuerVerdict

    /// Debits a hold, whole (`nil`) or in part.
    func capture(_ payment: PaymentID, minorUnits: Int64?) async throws -> IssuerStanding
    /// Returns captured money, all that is left (`nil`) or a part; a repeat with the same key returns nothing again.
    func refund(_ payment: PaymentID, minorUnits: Int64?, key: String) async throws -> IssuerStanding
    /// Ends a payment: releases its hold, returns what was debited, and declines every later ``authorize(_:)``.
    func reverse(_ payment: PaymentID, reason: String) async throws -> IssuerStanding
    /// What became of a payment.
    func inquire(_ payment: PaymentID) async throws -> IssuerStanding

    /// The cards whose holder answers on this telephone.
    func cards(ofPhone phone: String) async throws -> [HolderCard]
    /// The holder blocks a card from the telephone that it answers on.
    /// - Throws: `.refused` when the card does not answer on this telephone.
    func block(_ card: CardID, fromPhone phone: String) async throws
    /// The language of menus, prompts and messages on this telephone.
    func setLanguage(_ language: String, ofPhone phone: String) async throws
}

/// How the holder's code came to the bank. The one in force stands in the signed record, and a card's policy may forbid
/// ``plain``: no silent downgrade.
public enum CodeProfile: String, Sendable, CaseIterable, Codable {
    /// A: digits inside the USSD session, sealed by the bank the moment they arrive.
    case plain = "A"
    /// B: sealed to the issuer in the handset or SIM (HPKE, RFC 9180).
    case sealed = "B"
    /// D: a one-time code that the issuer sent for this payment alone.
    case oneTime = "D"
}

/// A public key of the issuer's to seal codes to.
public struct CodeSealingKey: Hashable, Sendable, Codable {
    /// The key-id byte before every ciphertext: the key's version, 1 to 255.
    public let id: UInt8
    /// A point on P-256, uncompressed: 04 ‖ x ‖ y, 65 bytes (SEC 1, 2.3.3).
    public let publicKey: [UInt8]

    public init(id: UInt8, publicKey: [UInt8]) {
        self.id = id
        self.publicKey = publicKey
    }
}

/// A payment as the bank announces it.
public struct FundsInquiry: Sendable {
    public let payment: PaymentID
    public let pan: PAN
    public let expiry: ExpiryDate
    public let name: CardholderName?
    public let amount: Money
    public let merchant: MerchantID
    /// The verified name, as the holder sees it.
    public let merchantName: String
    /// Whether an approval is held until the merchant captures it.
    public let capturesLater: Bool
    /// Until when the holder may answer.
    public let expiresAt: Timestamp

    public init(
        payment: PaymentID, pan: PAN, expiry: ExpiryDate, name: CardholderName?, amount: Money, merchant: MerchantID,
        merchantName: String, capturesLater: Bool, expiresAt: Timestamp
    ) {
        self.payment = payment
        self.pan = pan
        self.expiry = expiry
        self.name = name
        self.amount = amount
        self.merchant = merchant
        self.merchantName = merchantName
        self.capturesLater = capturesLater
        self.expiresAt = expiresAt
    }
}

/// Where the holder of a card is asked. Nothing of it is for the merchant.
public struct HolderRoute: Hashable, Sendable, Codable {
    /// E.164; `nil` when there is nobody to ask: the payment takes its normal states and expires.
    public let phone: String?
    /// The issuer's identifier of the card; `nil` for nobody.
    public let card: CardID?
    public let email: String?
    /// `en`, `fr`, `tw`.
    public let language: String
    /// Those that the card's policy allows.
    public let profiles: [CodeProfile]
    /// Since when this telephone answers for the card: a fresh change lowers trust.
    public let phoneSince: Timestamp

    public init(
        phone: String?, card: CardID?, email: String?, language: String, profiles: [CodeProfile], phoneSince: Timestamp
    ) {
        self.phone = phone
        self.card = card
        self.email = email
        self.language = language
        self.profiles = profiles
        self.phoneSince = phoneSince
    }
}

/// One try of the holder's.
public struct CodeAuthorization: Hashable, Sendable, Codable {
    public let payment: PaymentID
    /// 1, 2, 3 … of this payment.
    public let attempt: Int
    /// Key-id byte ‖ encapsulated key ‖ ciphertext, made for exactly this context.
    public let sealedCode: [UInt8]
    public let profile: CodeProfile
    /// SHA-256 of the prompt's UTF-8, byte for byte as it was shown.
    public let promptDigest: [UInt8]
    /// The telephone that answered, E.164.
    public let phone: String
    /// Until when the code is good, as the prompt said.
    public let expiresAt: Timestamp

    public init(
        payment: PaymentID, attempt: Int, sealedCode: [UInt8], profile: CodeProfile, promptDigest: [UInt8],
        phone: String, expiresAt: Timestamp
    ) {
        self.payment = payment
        self.attempt = attempt
        self.sealedCode = sealedCode
        self.profile = profile
        self.promptDigest = promptDigest
        self.phone = phone
        self.expiresAt = expiresAt
    }
}

/// What the issuer decided on one try.
public struct IssuerVerdict: Hashable, Sendable, Codable {
    public enum Outcome: String, Sendable, Codable {
        /// Debited, or held where the merchant captures later.
        case approved
        /// The code was not right, and the holder may try again.
        case wrongCode = "wrong_code"
        /// Decided against, for good.
        case declined
    }

    public let outcome: Outcome
    /// ISO 8583 field 39.
    public let responseCode: String
    /// For the issuer's and the bank's own people, never for the merchant.
    public let reason: String
    /// Tries that the holder has left; `nil` where that is not known.
    public let triesLeft: Int?

    public init(outcome: Outcome, responseCode: String, reason: String, triesLeft: Int?) {
        self.outcome = outcome
        self.responseCode = responseCode
        self.reason = reason
        self.triesLeft = triesLeft
    }
}

/// Where a payment stands in the issuer's books.
public struct IssuerStanding: Hashable, Sendable, Codable {
    public enum State: String, Sendable, Codable {
        /// Never announced.
        case unknown
        /// Announced, and no try decided for or against it for good.
        case open
        case authorized, captured, refunded, declined, reversed, expired
    }

    public let state: State
    public let capturedMinorUnits: Int64
    public let refundedMinorUnits: Int64
    /// The newest try that was decided, and its verdict.
    public let lastAttempt: Int?
    public let lastVerdict: IssuerVerdict?

    public init(
        state: State, capturedMinorUnits: Int64, refundedMinorUnits: Int64, lastAttempt: Int?,
        lastVerdict: IssuerVerdict?
    ) {
        self.state = state
        self.capturedMinorUnits = capturedMinorUnits
        self.refundedMinorUnits = refundedMinorUnits
        self.lastAttempt = lastAttempt
        self.lastVerdict = lastVerdict
    }
}

/// A card as its holder sees it on the telephone.
public struct HolderCard: Hashable, Sendable, Codable {
    public let id: CardID
    /// First six and last four.
    public let panMasked: String
    public let isActive: Bool
    public let language: String

    public init(id: CardID, panMasked: String, isActive: Bool, language: String) {
        self.id = id
        self.panMasked = panMasked
        self.isActive = isActive
        self.language = language
    }
}

/// Why the issuer gave no answer, or none to this.
public struct IssuerServiceError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: String, Sendable, Codable {
        /// Nothing came back: whether it was done is in doubt.
        case noAnswer = "no_answer"
        /// Nothing was done, and asking again changes nothing.
        case refused
        /// Nothing was done; later it may be.
        case unavailable
    }

    public let kind: Kind
    public let reason: String
    public let advice: String

    public init(_ kind: Kind, _ reason: String, advice: String = "") {
        self.kind = kind
        self.reason = reason
        self.advice = advice
    }

    public var description: String { "the issuer: \(reason)" + (advice.isEmpty ? "" : ". \(advice)") }
}
