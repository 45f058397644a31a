public import CardData

/// How many attempts with a code that did not turn out right an hour may have. At a cap no code is looked at any more.
public struct AttemptCaps: Hashable, Sendable {
    public enum Scope: String, Sendable, CaseIterable { case card, customer, merchant, everywhere }

    public var card: Int
    /// All cards of one customer: what they answer for is asked on one telephone.
    public var customer: Int
    public var merchant: Int
    public var everywhere: Int

    public init(card: Int = 10, customer: Int = 20, merchant: Int = 300, everywhere: Int = 1000) {
        self.card = card
        self.customer = customer
        self.merchant = merchant
        self.everywhere = everywhere
    }

    public subscript(scope: Scope) -> Int {
        switch scope {
        case .card: card
        case .customer: customer
        case .merchant: merchant
        case .everywhere: everywhere
        }
    }

    /// The narrowest cap that one more attempt would exceed.
    public func exceeded(after failures: FailureCounts) -> Scope? {
        Scope.allCases.first { failures[$0] >= self[$0] }
    }
}

/// Attempts with a code that did not turn out right in the last hour (counted by the minute: 60 to 61 minutes).
public struct FailureCounts: Hashable, Sendable {
    /// Of this PAN, known or not.
    public var card: Int
    public var customer: Int
    public var merchant: Int
    public var everywhere: Int

    public init(card: Int, customer: Int, merchant: Int, everywhere: Int) {
        self.card = card
        self.customer = customer
        self.merchant = merchant
        self.everywhere = everywhere
    }

    public subscript(scope: AttemptCaps.Scope) -> Int {
        switch scope {
        case .card: card
        case .customer: customer
        case .merchant: merchant
        case .everywhere: everywhere
        }
    }
}

/// What one card may spend, in minor units of its account's currency.
public struct SpendingLimits: Hashable, Sendable {
    public enum Exceeded: String, Sendable, CaseIterable { case payment, approvals, day }

    /// The largest payment.
    public var payment: Int64
    /// Approvals in 24 hours.
    public var approvals: Int
    /// Their sum in 24 hours.
    public var day: Int64

    public init(payment: Int64, approvals: Int, day: Int64) {
        self.payment = payment
        self.approvals = approvals
        self.day = day
    }

    /// The limit that one more payment would exceed.
    public func exceeded(by minorUnits: Int64, after spent: Spending) -> Exceeded? {
        if minorUnits > payment { return .payment }
        if spent.approvals >= approvals { return .approvals }
        let (sum, overflow) = spent.minorUnits.addingReportingOverflow(minorUnits)
        return overflow || sum > day ? .day : nil
    }
}

/// Payments of one card approved in the last 24 hours, whatever became of them.
public struct Spending: Hashable, Sendable {
    public var approvals: Int
    /// In the account's currency.
    public var minorUnits: Int64

    public init(approvals: Int, minorUnits: Int64) {
        self.approvals = approvals
        self.minorUnits = minorUnits
    }
}

/// A payment as it is asked for: the first durable commit writes it down and counts the attempt.
public struct PaymentAttempt: Sendable {
    public var id: PaymentID
    /// Unique among the payments of ``merchant``.
    public var idempotencyKey: String
    /// HMAC under the PAN index key over everything that makes two requests the same request. Holds no code.
    public var requestDigest: [UInt8]
    public var channel: Payment.Channel
    public var merchant: String
    public var amount: Money
    /// HMAC of the PAN; the store finds the card by it.
    public var panIndex: [UInt8]
    public var panMasked: String
    /// Whether a code came with the request: then an attempt is counted against it before it is checked.
    public var countsCodeAttempt: Bool
    /// What proves that the card was there, if it does. What proves nothing about this card counts no attempt.
    public var cryptogram: VerifiedCryptogram?
    /// The try that this is, of a payment that was announced. Its card is the announcement's then, and ``panIndex`` is
    /// empty.
    public var announced: AnnouncedTry?
    public var caps: AttemptCaps
    /// Seconds until an undecided attempt with the same key counts as lost in a crash and can be begun again.
    public var retryAfter: Int64
    public var at: Timestamp
    /// Version of the PAN index key that ``requestDigest`` and ``panIndex`` are under: the current one.
    public var indexKeyVersion: Int
    /// The same under the versions before it, by which older cards and payments are known.
    public var underOlderKeys: [UnderOlderKey]
    /// ``KeyVersions/generation`` of the versions all this was computed under.
    public var keyGeneration: Int64

    /// A PAN's index and a request's digest under an older version of the PAN index key.
    public struct UnderOlderKey: Sendable {
        public let version: Int
        public let requestDigest: [UInt8]
        public let panIndex: [UInt8]

        public init(version: Int, requestDigest: [UInt8], panIndex: [UInt8]) {
            self.version = version
            self.requestDigest = requestDigest
            self.panIndex = panIndex
        }
    }

    public var panIndices: [[UInt8]] { [panIndex] + underOlderKeys.map(\.panIndex) }

    /// The digest under a version of the PAN index key; `nil` when that version has ended.
    public func requestDigest(under version: Int) -> [UInt8]? {
        version == indexKeyVersion ? requestDigest : underOlderKeys.first { $0.version == version }?.requestDigest
    }

    public init(
        id: PaymentID, idempotencyKey: String, requestDigest: [UInt8], channel: Payment.Channel, merchant: String,
        amount: Money, panIndex: [UInt8], panMasked: String, countsCodeAttempt: Bool,
        cryptogram: VerifiedCryptogram? = nil, announced: AnnouncedTry? = nil, caps: AttemptCaps = AttemptCaps(),
        retryAfter: Int64 = 30, at: Timestamp, indexKeyVersion: Int = 1, underOlderKeys: [UnderOlderKey] = [],
        keyGeneration: Int64 = 0
    ) {
        self.id = id
        self.idempotencyKey = idempotencyKey
        self.requestDigest = requestDigest
        self.channel = channel
        self.merchant = merchant
        self.amount = amount
        self.panIndex = panIndex
        self.panMasked = panMasked
        self.countsCodeAttempt = countsCodeAttempt
        self.cryptogram = cryptogram
        self.announced = announced
        self.caps = caps
        self.retryAfter = retryAfter
        self.at = at
        self.indexKeyVersion = indexKeyVersion
        self.underOlderKeys = underOlderKeys
        self.keyGeneration = keyGeneration
    }
}

/// A cryptogram that verified under the version of IMK-AC its chip named.
public struct VerifiedCryptogram: Hashable, Sendable {
    public let atc: UInt16
    /// Of IMK-AC.
    public let keyVersion: Int

    public init(atc: UInt16, keyVersion: Int) {
        self.atc = atc
        self.keyVersion = keyVersion
    }

    public enum Fault: Sendable {
        /// A rotated master key still makes cryptograms for its own cards, and for no others: whoever has it gets no
        /// further.
        case otherKey
        /// Not newer than the last one verified: somebody's recording.
        case replayed
    }

    /// Why it proves nothing about `card`; `nil` when it does.
    public func fault(for card: Card) -> Fault? {
        if let chip = card.keys.chip, chip.imkAC != keyVersion { return .otherKey }
        if let last = card.lastVerifiedATC, atc <= last { return .replayed }
        return nil
    }
}

/// What the first commit found, for the rules to decide on.
public struct AttemptSnapshot: Sendable {
    /// The payment's id: the attempt's, or that of an earlier attempt which a crash left undecided.
    public var payment: PaymentID
    public var card: Card?
    public var account: Account?
    /// The newest code. `failures` counts this attempt if it was counted; `state` is the one *before* it, but `locked`
    /// when `failureLimit` attempts were counted before this one: then there is no guess left and nothing may be checked.
    public var code: CodeRecord?
    /// Before this attempt.
    public var failures: FailureCounts
    /// The cap that kept this attempt from being counted: no code may be looked at.
    public var exceededCap: AttemptCaps.Scope?
    /// Payments on their way took the code's last tries. They may turn out right, so ``code`` is `locked` for this attempt
    /// alone, which was not counted.
    public var isCodeBusy: Bool
    public var spent: Spending
    /// Of a try at an announced payment: why no code may be looked at.
    public var obstacle: AnnouncedTry.Obstacle?
    /// The one to compare with where the try came with a one-time code; `failures` counts this attempt.
    public var oneTimeCode: OneTimeCode?

    public init(
        payment: PaymentID, card: Card?, account: Account?, code: CodeRecord?, failures: FailureCounts,
        exceededCap: AttemptCaps.Scope?, isCodeBusy: Bool = false, spent: Spending,
        obstacle: AnnouncedTry.Obstacle? = nil, oneTimeCode: OneTimeCode? = nil
    ) {
        self.payment = payment
        self.card = card
        self.account = account
        self.code = code
        self.failures = failures
        self.exceededCap = exceededCap
        self.isCodeBusy = isCodeBusy
        self.spent = spent
        self.obstacle = obstacle
        self.oneTimeCode = oneTimeCode
    }
}

public enum AttemptOutcome: Sendable {
    /// Decided before: this is the payment with its stored answer. Nothing was written.
    case alreadyDecided(Payment)
    /// Written, and counted where it counts. Decide.
    case proceed(AttemptSnapshot)
    /// A key was rotated or retired since ``PaymentAttempt/keyGeneration``. Nothing was written: compute it again.
    case keysChanged
}

/// A decision, with everything that the second durable commit writes.
public struct PaymentDecision: Sendable {
    public enum Capture: Hashable, Sendable {
        /// Debit at once.
        case now
        /// Hold until captured, voided or this moment.
        case later(expires: Timestamp)
    }

    public var payment: PaymentID
    public var responseCode: ResponseCode
    public var reason: String
    /// What the requester gets now and at every repeat.
    public var answer: [UInt8]
    /// How an approval takes its money; `nil` for a decline. A chip's is held until the chip confirms it.
    public var capture: Capture?
    /// What an approval must keep to, looked at again in the commit.
    public var limits: SpendingLimits?
    /// The ATC of a cryptogram that verified.
    public var verifiedATC: UInt16?
    /// Whether a code came and was right, and all else that only the holder knows: its failures go back to zero.
    public var codeWasRight: Bool
    public var at: Timestamp
    /// A right code's hash under a newer version of the code key: only now is there a code to hash.
    public var rehashedCode: RehashedCode?
    /// Whether a decline leaves an announced payment open for another try.
    public var mayTryAgain: Bool

    /// A code's digest under another version of the code key, over the same salt.
    public struct RehashedCode: Sendable {
        public let digest: [UInt8]
        public let keyVersion: Int

        public init(digest: [UInt8], keyVersion: Int) {
            self.digest = digest
            self.keyVersion = keyVersion
        }
    }

    public init(
        payment: PaymentID, responseCode: ResponseCode, reason: String, answer: [UInt8], capture: Capture?,
        limits: SpendingLimits? = nil, verifiedATC: UInt16?, codeWasRight: Bool, at: Timestamp,
        rehashedCode: RehashedCode? = nil, mayTryAgain: Bool = false
    ) {
        self.payment = payment
        self.responseCode = responseCode
        self.reason = reason
        self.answer = answer
        self.capture = capture
        self.limits = limits
        self.verifiedATC = verifiedATC
        self.codeWasRight = codeWasRight
        self.at = at
        self.rehashedCode = rehashedCode
        self.mayTryAgain = mayTryAgain
    }
}

/// All but the first wrote nothing: something changed between the two commits. Decide again.
public enum DecisionOutcome: Sendable {
    /// Durable. The answer may leave.
    case committed(Payment)
    /// Another payment took the funds.
    case insufficientFunds
    /// Other payments used the card up to a limit.
    case limitExceeded(SpendingLimits.Exceeded)
    /// Another payment used this ATC or a later one.
    case staleATC
    /// The card was blocked.
    case cardNotActive
    /// The code that was checked was locked, revoked or replaced.
    case codeNotActive
    /// The announced payment has ended: it was reversed, or another of its tries was decided.
    case announcementEnded(Announcement.State)
}
