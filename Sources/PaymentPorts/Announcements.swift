public import CardData

/// A payment that a bank announced to the issuer, and what became of it. The tries of its holder are payments of the ledger,
/// one each, and at most one of them is approved.
public struct Announcement: Hashable, Sendable {
    public enum State: String, Sendable, CaseIterable {
        /// No try decided for or against it for good.
        case open
        case approved
        case declined
        /// Ended by the bank: no try is approved any more.
        case reversed
        /// Nobody answered in time.
        case expired
    }

    /// What the bank announced. Holds no PAN.
    public struct Terms: Hashable, Sendable {
        public let amount: Money
        public let merchant: MerchantID
        public let capturesLater: Bool
        /// Until when the holder may answer.
        public let expiresAt: Timestamp
        /// The card whose holder is asked; `nil` for nobody: such a payment can only end.
        public let card: CardID?
        /// First six and last four.
        public let panMasked: String

        public init(
            amount: Money, merchant: MerchantID, capturesLater: Bool, expiresAt: Timestamp, card: CardID?,
            panMasked: String
        ) {
            self.amount = amount
            self.merchant = merchant
            self.capturesLater = capturesLater
            self.expiresAt = expiresAt
            self.card = card
            self.panMasked = panMasked
        }
    }

    /// The bank's own identifier.
    public let id: PaymentID
    /// `nil` when the reversal came before the announcement, which is refused then.
    public let terms: Terms?
    public var state: State
    /// The try that was approved.
    public var approved: PaymentID?

    public init(id: PaymentID, terms: Terms?, state: State, approved: PaymentID?) {
        self.id = id
        self.terms = terms
        self.state = state
        self.approved = approved
    }
}

/// A payment about to be announced, with what the HSM computed for it.
public struct NewAnnouncement: Sendable {
    public let id: PaymentID
    public let amount: Money
    public let merchant: MerchantID
    public let capturesLater: Bool
    public let expiresAt: Timestamp
    public let panMasked: String
    /// As the merchant gave it: another than the card's leads to nobody.
    public let expiry: ExpiryDate
    /// The name that the card must bear; `nil` where it does not matter.
    public let name: CardholderName?
    /// The PAN's index and a digest of the announcement, under the current version of the PAN index key.
    public let newest: PaymentAttempt.UnderOlderKey
    /// The same under the versions before it.
    public let older: [PaymentAttempt.UnderOlderKey]
    /// Kept only if the card takes one-time codes, but made for every announcement: all cost the same.
    public let oneTimeCode: OneTimeCode
    /// What brings that code to the holder.
    public let message: SealedText
    /// ``KeyVersions/generation`` of the versions all this was computed under.
    public let keyGeneration: Int64
    public let at: Timestamp

    public init(
        id: PaymentID, amount: Money, merchant: MerchantID, capturesLater: Bool, expiresAt: Timestamp,
        panMasked: String, expiry: ExpiryDate, name: CardholderName?, newest: PaymentAttempt.UnderOlderKey,
        older: [PaymentAttempt.UnderOlderKey], oneTimeCode: OneTimeCode, message: SealedText, keyGeneration: Int64,
        at: Timestamp
    ) {
        self.id = id
        self.amount = amount
        self.merchant = merchant
        self.capturesLater = capturesLater
        self.expiresAt = expiresAt
        self.panMasked = panMasked
        self.expiry = expiry
        self.name = name
        self.newest = newest
        self.older = older
        self.oneTimeCode = oneTimeCode
        self.message = message
        self.keyGeneration = keyGeneration
        self.at = at
    }

    public var panIndices: [[UInt8]] { [newest.panIndex] + older.map(\.panIndex) }
}

/// A code for one payment alone: of it too only a keyed hash is kept.
public struct OneTimeCode: Hashable, Sendable {
    /// Wrong guesses that end it.
    public static let failureLimit = 3

    /// What the message that carries the code of a payment is known by.
    public static func messageReference(_ payment: PaymentID) -> String { "code-\(payment)" }

    /// 16 random bytes.
    public let salt: [UInt8]
    /// HMAC-SHA-256 under the code key, bound to the payment: 32 bytes.
    public let digest: [UInt8]
    /// Version of the code key.
    public let keyVersion: Int
    /// Attempts counted, each before its code was looked at.
    public var failures: Int

    public init(salt: [UInt8], digest: [UInt8], keyVersion: Int, failures: Int = 0) {
        self.salt = salt
        self.digest = digest
        self.keyVersion = keyVersion
        self.failures = failures
    }
}

/// One try of the holder's at an announced payment, as the first commit of its decision takes it.
public struct AnnouncedTry: Hashable, Sendable {
    public let announcement: PaymentID
    /// 1, 2, 3 … of this payment.
    public let number: Int
    public let profile: CodeProfile
    /// SHA-256 of the sealed code: one ciphertext, one try.
    public let sealedDigest: [UInt8]
    /// The telephone that answered.
    public let phone: String
    /// Until when the code is good, as the prompt said.
    public let expiresAt: Timestamp

    public init(
        announcement: PaymentID, number: Int, profile: CodeProfile, sealedDigest: [UInt8], phone: String,
        expiresAt: Timestamp
    ) {
        self.announcement = announcement
        self.number = number
        self.profile = profile
        self.sealedDigest = sealedDigest
        self.phone = phone
        self.expiresAt = expiresAt
    }

    /// Why no code may be looked at. Nothing is counted then.
    public enum Obstacle: Hashable, Sendable {
        case ended(Announcement.State)
        case tooLate
        /// Not the telephone that the card's holder answers on now.
        case otherPhone
        /// The card's policy forbids how the code came.
        case profileForbidden
        /// The same ciphertext was another try.
        case usedBefore
        /// No one-time code was made for this payment, or its guesses are used up.
        case noOneTimeCode
    }
}

public enum AnnouncementOutcome: Sendable {
    case announced(HolderRoute)
    /// A key was rotated or retired since ``NewAnnouncement/keyGeneration``. Nothing was written: compute it again.
    case keysChanged
}

/// An announcement with the money behind it.
public struct AnnouncementStanding: Sendable {
    public let announcement: Announcement
    /// The try that was approved, as it is now.
    public let approved: Payment?
    /// The newest try that was decided.
    public let lastTry: (number: Int, payment: Payment)?

    public init(announcement: Announcement, approved: Payment?, lastTry: (number: Int, payment: Payment)?) {
        self.announcement = announcement
        self.approved = approved
        self.lastTry = lastTry
    }
}

/// Payments that banks announced. Their tries go through ``PaymentStore/begin(_:)`` and ``PaymentStore/decide(_:)``.
public protocol AnnouncementStore: Sendable {
    /// Writes an announcement down and finds its holder. The statements are the same whether there is one or not. A repeat
    /// writes nothing and finds the holder as of now.
    /// - Throws: ``StoreError`` `.keyReused` for the same payment with other contents, `.conflict` for one that was
    ///   reversed before.
    func announce(_ announcement: NewAnnouncement) async throws -> AnnouncementOutcome
    func announcement(_ id: PaymentID) async throws -> Announcement?
    func standing(of id: PaymentID) async throws -> AnnouncementStanding?
    /// Ends a payment, announced or not: releases its hold, books back what was captured and not returned yet, and has
    /// every try declined that is not decided. A repeat, and a payment that holds no money and has ended, change nothing.
    func reverse(_ id: PaymentID, reason: String, at time: Timestamp) async throws -> AnnouncementStanding
}

/// What holders say on their telephones, and which way they are asked.
public protocol HolderStore: Sendable {
    /// The cards, active or blocked, of the customers who answer on this telephone.
    func holderCards(phone: String) async throws -> [HolderCard]
    /// Blocks an active card from the telephone that it answers on. A repeat changes nothing.
    /// - Throws: ``StoreError`` `.notFound` for a card that does not answer on this telephone.
    func block(_ card: CardID, fromPhone phone: String, at time: Timestamp) async throws
    /// - Parameter language: two letters (ISO 639-1), of every customer who answers on this telephone.
    func setLanguage(_ language: String, ofPhone phone: String, at time: Timestamp) async throws
    func setLanguage(_ language: String, of customer: CustomerID, at time: Timestamp) async throws
    /// The ways in which a card takes codes; ``CodeProfile/standing`` unless something else was set.
    /// - Throws: ``StoreError`` `.notFound`.
    func profiles(of card: CardID) async throws -> [CodeProfile]
    func setProfiles(_ profiles: [CodeProfile], of card: CardID, at time: Timestamp) async throws
}

extension CodeProfile {
    /// A card takes the code that its holder knows, and no one-time codes, unless its policy says otherwise.
    public static let standing: [CodeProfile] = [.plain, .sealed]
}
