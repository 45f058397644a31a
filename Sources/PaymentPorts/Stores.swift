public import CardData

/// What a store refuses or cannot do, where, and what to do next.
public struct StoreError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Kind: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        private init(_ description: String) { self.description = description }

        public static let notFound = Kind("not found")
        /// The record is not in a state that allows this.
        public static let conflict = Kind("not possible now")
        /// Same idempotency key, another request.
        public static let keyReused = Kind("the idempotency key was used for another request")
        /// The database is missing, cannot be opened or is read-only.
        public static let unavailable = Kind("the ledger cannot be used")
        /// The database was written by a newer version.
        public static let tooNew = Kind("the ledger was written by a newer version")
        /// The database is damaged.
        public static let corrupt = Kind("the ledger is damaged")
    }

    public let kind: Kind
    public let place: String
    public let advice: String

    public init(_ kind: Kind, _ place: String, advice: String = "") {
        self.kind = kind
        self.place = place
        self.advice = advice
    }

    public var description: String { "\(kind): \(place)" + (advice.isEmpty ? "" : ". \(advice)") }
}

/// Customers. Every change is durable and in the audit chain when its call returns; so for every store below.
public protocol CustomerStore: Sendable {
    func add(_ customer: Customer) async throws
    func customer(_ id: CustomerID) async throws -> Customer?
    /// The newest, or all, in order of creation.
    func customers(limit: Int?) async throws -> [Customer]
}

/// Accounts, kept by double entry: a deposit credits the account and debits the cash account of its currency.
public protocol AccountStore: Sendable {
    func open(_ id: AccountID, for customer: CustomerID, currency: Currency, at time: Timestamp) async throws
    func account(_ id: AccountID) async throws -> Account?
    /// The newest, or all, in order of opening.
    func accounts(limit: Int?) async throws -> [Account]
    /// Books money in. A repeat with the same idempotency key books nothing.
    func deposit(_ amount: Money, to account: AccountID, idempotencyKey: String, at time: Timestamp) async throws
    /// The postings of one account, oldest first.
    func postings(of account: AccountID) async throws -> [Posting]
}

/// One line of one account. All lines of an entry sum to zero.
public struct Posting: Hashable, Sendable {
    public let entry: Int64
    /// What was booked: `deposit`, `capture`, `refund`.
    public let kind: String
    /// Positive: the account's owner has more.
    public let minorUnits: Int64
    public let payment: PaymentID?
    public let at: Timestamp

    public init(entry: Int64, kind: String, minorUnits: Int64, payment: PaymentID?, at: Timestamp) {
        self.entry = entry
        self.kind = kind
        self.minorUnits = minorUnits
        self.payment = payment
        self.at = at
    }
}

public protocol CardStore: KeyVersionStore {
    /// - Throws: ``StoreError`` `.conflict` for a PAN or an identifier that is taken, and for a key version that ended.
    func add(_ card: Card) async throws
    func card(_ id: CardID) async throws -> Card?
    /// The card with one of these indices of its PAN, which differ by the version of the index key.
    func card(panIndices: [[UInt8]]) async throws -> Card?
    /// The newest, or all, in order of creation.
    func cards(limit: Int?) async throws -> [Card]
    /// Moves a card from one of `states` to `new`; `isExposed` can be set, never taken back.
    /// - Throws: ``StoreError`` `.notFound`, `.conflict` when the card is in another state.
    func setState(
        _ new: Card.State, of card: CardID, from states: Set<Card.State>, isExposed: Bool, at time: Timestamp
    ) async throws

    /// Moves a card that is `created` or `personalizing` to `personalizing`, with the master keys its chip is to get.
    /// - Throws: ``StoreError`` `.notFound`, `.conflict` when the card is in another state or a key version ended.
    func beginPersonalizing(_ card: CardID, under keys: ChipKeys, at time: Timestamp) async throws

    /// Ties a chip to a card, once and for all on both sides: the keys of a chip come from its key diversification data,
    /// so data that was served once is never served for another card. A repeat changes nothing.
    /// - Parameters:
    ///   - chip: KDD (key diversification data), 10 bytes.
    ///   - kmc: the version of the KMC that the chip's keys are to come from.
    /// - Returns: the version they come from: of the first call.
    /// - Throws: ``StoreError`` `.notFound`; `.conflict` when the chip is another card's, or the card has another chip.
    @discardableResult
    func bind(chip: [UInt8], to card: CardID, kmc: Int, at time: Timestamp) async throws -> Int

    /// The version of the KMC that the keys of the card's chip come from; `nil` while it has no chip.
    func kmcVersion(of card: CardID) async throws -> Int?
}

public protocol CodeStore: Sendable {
    /// The newest version, whatever its state.
    func code(of card: CardID) async throws -> CodeRecord?
    /// Adds a version, with the mailer that brings it to its holder if there is one, in one commit; the one before it
    /// becomes `replaced`. A mailer that is still there for a code replaced or revoked goes with it.
    func add(_ code: CodeRecord, mailer: Mailer?) async throws
    /// Moves the newest version from one of `states` to `new`; to `active` also takes the failures back to zero.
    func setState(
        _ new: CodeRecord.State, of card: CardID, from states: Set<CodeRecord.State>, at time: Timestamp
    ) async throws
}

extension CodeStore {
    /// A version that is handed over at once.
    public func add(_ code: CodeRecord) async throws { try await add(code, mailer: nil) }
}

public protocol PaymentStore: Sendable {
    /// The first durable commit. What ``expireHolds(at:)`` ends is ended first, in commits of its own.
    ///
    /// An attempt with a code is counted before the code is checked, unless a cap is exceeded or the card is not active:
    /// then no code may be looked at and nothing is counted, neither on the code nor in the hour's windows.
    /// Exactly `failureLimit` wrong guesses of a code can be checked between two right ones: a try is given back by a
    /// right code only, and the wrong one that reaches the limit locks the code at its decision. A request that a crash
    /// left undecided proceeds under its first payment id and counts again.
    /// What was computed under other key versions than those of now is not looked at, and nothing is written.
    /// - Throws: ``StoreError`` `.keyReused` for the same merchant and key with another digest; `.conflict` while
    ///   another attempt with this key, younger than ``PaymentAttempt/retryAfter``, is undecided.
    func begin(_ attempt: PaymentAttempt) async throws -> AttemptOutcome
    /// The second durable commit. A payment already decided keeps its decision and is returned.
    /// - Throws: ``StoreError`` `.notFound`; `.conflict` for an approval (response code `00`) without `capture` or a
    ///   decline with one, of an amount that is not positive, of an unknown card, or of a chip and debited at once.
    func decide(_ decision: PaymentDecision) async throws -> DecisionOutcome
    /// The chip confirmed an approval with its second cryptogram: debits it (`.now`), or holds it until the merchant
    /// captures. A repeat changes nothing.
    /// - Throws: ``StoreError`` `.conflict` when there is no running hold.
    func confirm(_ id: PaymentID, capture: PaymentDecision.Capture, at time: Timestamp) async throws -> Payment

    /// Debits a hold, whole or in part; the rest of it is released. A repeat with the same amount changes nothing.
    /// - Throws: ``StoreError`` `.conflict` when there is no running hold, it is smaller, or its chip has not confirmed.
    func capture(_ id: PaymentID, minorUnits: Int64?, at time: Timestamp) async throws -> Payment
    /// Releases a hold: `.voided`, `.reversed`, or `.expired` once its time has passed. A captured payment is booked
    /// back by a reversal only. A repeat changes nothing.
    /// - Throws: ``StoreError`` `.conflict` for any other state.
    func release(_ id: PaymentID, to state: Payment.State, reason: String, at time: Timestamp) async throws -> Payment
    /// Returns captured money: `minorUnits`, or all that was not returned yet. A repeat with the same key returns
    /// nothing again.
    /// - Throws: ``StoreError`` `.conflict` beyond what was captured, `.keyReused` for the same key with another request.
    func refund(_ id: PaymentID, minorUnits: Int64?, idempotencyKey: String, at time: Timestamp) async throws -> Payment
    func payment(_ id: PaymentID) async throws -> Payment?
    /// Newest first.
    func payments(of card: CardID?, limit: Int) async throws -> [Payment]
    /// Ends what time has ended: releases every hold whose time has passed, and declines (91) every payment left
    /// undecided for an hour.
    /// - Returns: how many payments it ended.
    func expireHolds(at time: Timestamp) async throws -> Int
}

/// Seals audit records: a MAC by the HSM's audit key. Called inside a database transaction, so it blocks.
public protocol AuditSealing {
    /// 32 bytes over `record`, under this version of the audit key.
    func seal(_ record: [UInt8], keyVersion: Int) throws -> [UInt8]
    func verify(_ seal: [UInt8], of record: [UInt8], keyVersion: Int) throws -> Bool
}

/// What seals one record by itself, or lends itself for many.
public protocol AuditSealer: AuditSealing, Sendable {
    /// Runs `body` with sealing that is at hand: the way to an HSM costs several times what a seal costs.
    func batch<Result: Sendable>(
        _ body: @escaping @Sendable (any AuditSealing) throws -> Result
    ) throws -> Result
}

extension AuditSealer {
    /// For sealing that is always at hand.
    public func batch<Result: Sendable>(
        _ body: @escaping @Sendable (any AuditSealing) throws -> Result
    ) throws -> Result {
        try body(self)
    }
}

/// One link of the audit chain. Its seal covers number, time, kind, subject, detail and the seal before it.
public struct AuditRecord: Hashable, Sendable {
    /// 1, 2, 3 … without a gap.
    public let number: Int64
    public let at: Timestamp
    /// What happened: `card.created`, `payment.approved`.
    public let kind: String
    /// To what: an identifier.
    public let subject: String
    /// Facts without secrets, JSON with sorted keys.
    public let detail: String
    public let seal: [UInt8]

    public init(number: Int64, at: Timestamp, kind: String, subject: String, detail: String, seal: [UInt8]) {
        self.number = number
        self.at = at
        self.kind = kind
        self.subject = subject
        self.detail = detail
        self.seal = seal
    }
}

/// How far a chain had come: kept elsewhere, it bounds what truncation or rollback can hide.
public struct AuditCheckpoint: Hashable, Sendable {
    public let count: Int64
    /// Seal of record `count`; 32 zero bytes for an empty chain.
    public let seal: [UInt8]

    public init(count: Int64, seal: [UInt8]) {
        self.count = count
        self.seal = seal
    }
}

public protocol AuditStore: Sendable {
    /// Appends a record of something that no other store writes, such as a personalization that was refused.
    /// - Throws: ``StoreError`` `.conflict` for a kind that a store writes itself.
    func append(kind: String, subject: String, detail: String, at time: Timestamp) async throws
    /// Newest last; all when `limit` is `nil`.
    func records(limit: Int?) async throws -> [AuditRecord]
    /// Those of one kind that tell of one thing, newest last.
    func records(kind: String, subject: String) async throws -> [AuditRecord]
    func checkpoint() async throws -> AuditCheckpoint
    /// Whether a write would be durable now, for probes: it waits a second at most, and writes once a minute at most while all
    /// is well.
    /// - Throws: ``StoreError`` `.unavailable` where it would not: locked, no room, read-only.
    func checkWritable() async throws
    /// Leaves nothing in files beside the books of what was wiped from them, such as codes that are decided. Where somebody
    /// writes or reads just now it may be left to the next call.
    func emptyLog() async
    /// Walks the whole chain and the books. An empty result means: nothing changed, missing or reordered, every entry
    /// sums to zero, every balance is the sum of its postings, no hold is orphaned, and entries, cards, codes and
    /// payments are what the chain tells of them.
    func verify(since checkpoint: AuditCheckpoint?) async throws -> [String]
}

/// A message to a person: a code, a receipt. Its body is as secret as what it says.
public struct OutgoingMessage: Sendable {
    public enum Kind: String, Sendable {
        case code, receipt
        /// That a payment waits for the holder's answer.
        case notice
        /// The same, for a gateway that brings the payment's prompt to the telephone by itself.
        case prompt
    }

    public let kind: Kind
    /// E.164 number or mail address.
    public let recipient: String
    public let body: String
    /// What a repeat of the same message is recognised by.
    public let reference: String

    public init(kind: Kind, recipient: String, body: String, reference: String) {
        self.kind = kind
        self.recipient = recipient
        self.body = body
        self.reference = reference
    }
}

/// Brings messages to people.
public protocol MessageDelivery: Sendable {
    /// Returns when the message is handed over durably. The same reference is never delivered twice.
    func deliver(_ message: OutgoingMessage) async throws
}

extension CustomerStore {
    /// All, in order of creation.
    public func customers() async throws -> [Customer] { try await customers(limit: nil) }
}

extension AccountStore {
    /// All, in order of opening.
    public func accounts() async throws -> [Account] { try await accounts(limit: nil) }
}

extension CardStore {
    /// All, in order of creation.
    public func cards() async throws -> [Card] { try await cards(limit: nil) }
}

/// All the stores of one issuer, from one adapter.
public typealias IssuerStores = CustomerStore & AccountStore & CardStore & CodeStore & PaymentStore & AuditStore
    & KeyRotationStore & EnrollmentStore & MailerStore & ReceiptStore & AnnouncementStore & HolderStore
    & TelephoneStore & SealedMessageStore

/// All the stores of one bank, from one adapter.
public typealias BankStores = MerchantStore & OnlinePaymentStore & MessageQueueStore & WebhookStore & USSDSessionStore
    & GivenUpStore & ActivityStore & SettlementStore & AuditStore
