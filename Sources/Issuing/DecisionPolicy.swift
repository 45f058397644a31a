public import CardData
public import PaymentPorts

/// The numbers of the decision: caps on attempts and limits on spending.
public struct DecisionPolicy: Hashable, Sendable {
    /// Wrong or undecided attempts in an hour.
    public var caps = AttemptCaps()
    /// Approvals of one card in 24 hours.
    public var approvalsPerDay = 50
    /// One payment, and one card's approvals in 24 hours, in whole units of whatever currency: cedis, yen, dinars.
    public var largestPayment: Int64 = 1_000_000
    public var largestDay: Int64 = 2_000_000
    /// Seconds an approval with later capture is held.
    public var holdLifetime: Int64 = 7 * 86_400
    /// Seconds a chip's approval is held until the chip confirms it.
    public var chipConfirmationLifetime: Int64 = 600
    /// Seconds until a request that got no decision can be repeated.
    public var retryAfter: Int64 = 30
    /// An answer leaves at a whole multiple of this after its request arrived: what its making took tells nothing then,
    /// as long as it took less than one step. `.zero`: as soon as it is there.
    public var answerStep = Duration.milliseconds(5)
    /// Whether a name that does not match declines.
    public var nameIsDecisive = false

    public init() {}

    /// The limits in a currency's minor units; as much as there can be where 64 bits do not hold them.
    public func limits(in currency: Currency) -> SpendingLimits {
        func minorUnits(_ units: Int64) -> Int64 {
            (0..<currency.exponent).reduce(units) { result, _ in
                let (product, overflow) = result.multipliedReportingOverflow(by: 10)
                return overflow ? (units < 0 ? .min : .max) : product
            }
        }
        return SpendingLimits(
            payment: minorUnits(largestPayment), approvals: approvalsPerDay, day: minorUnits(largestDay))
    }
}

/// Where a decision stands: what is answered, and what the issuer's own people read.
struct Verdict: Hashable, Sendable {
    let responseCode: ResponseCode
    let message: String
    /// For the ledger and the audit, never for the merchant.
    let reason: String
    /// Of a try at an announced payment: whether it leaves the payment open for another.
    let mayTryAgain: Bool

    init(_ responseCode: ResponseCode, _ message: String, _ reason: String, mayTryAgain: Bool = false) {
        self.responseCode = responseCode
        self.message = message
        self.reason = reason
        self.mayTryAgain = mayTryAgain
    }

    static let approved = Verdict(.approved, "Approved.", "approved")

    static func cryptogramFailed(_ reason: String) -> Verdict {
        Verdict(.cryptogramFailed, "The chip's cryptogram was not accepted.", reason)
    }

    /// Unknown card, locked, wrong, expired or missing code: alike to whoever asks.
    static func notAccepted(_ reason: String, mayTryAgain: Bool = false) -> Verdict {
        Verdict(.doNotHonour, "The card or the code was not accepted.", reason, mayTryAgain: mayTryAgain)
    }

    /// What keeps a try from being looked at. Only a ciphertext that was sent twice leaves the holder another one.
    static func obstructed(_ obstacle: AnnouncedTry.Obstacle) -> Verdict {
        switch obstacle {
        case .ended(let state): .notAccepted("the payment is \(state.rawValue) already")
        case .tooLate: .notAccepted("the code came after its time")
        case .otherPhone: .notAccepted("the card's holder answers on another telephone")
        case .profileForbidden: .notAccepted("the card's policy forbids codes that come this way")
        case .usedBefore: .notAccepted("this sealed code was used in another try", mayTryAgain: true)
        case .noOneTimeCode: .notAccepted("there is no one-time code for this payment any more")
        }
    }

    /// A cap is exceeded: the code was not looked at.
    static func capped(_ scope: AttemptCaps.Scope, _ caps: AttemptCaps) -> Verdict {
        let place =
            switch scope {
            case .card: "on this card"
            case .customer: "on this customer's cards"
            case .merchant: "at this merchant"
            case .everywhere: "over all cards"
            }
        return .notAccepted("\(caps[scope]) failed attempts an hour \(place)")
    }

    static func exceeded(_ limit: SpendingLimits.Exceeded) -> Verdict {
        switch limit {
        case .payment:
            Verdict(.exceedsAmountLimit, "The amount is above the card's limit.", "single payment limit")
        case .approvals:
            Verdict(.exceedsFrequencyLimit, "The card was used too often today.", "approvals in 24 hours")
        case .day:
            Verdict(.exceedsAmountLimit, "The amount is above the card's limit for a day.", "24 hour limit")
        }
    }

    static let noFunds = Verdict(.insufficientFunds, "The funds do not suffice.", "funds")
}
