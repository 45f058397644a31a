import PaymentPorts

/// The numbers of the decision: caps on attempts and limits on spending.
public struct DecisionPolicy: Hashable, Sendable {
    /// Wrong or undecided attempts in an hour: for one card, at one merchant, and over all cards.
    public var failuresPerCard = 10
    public var failuresPerMerchant = 300
    public var failuresEverywhere = 1000
    /// Approvals of one card in 24 hours.
    public var approvalsPerDay = 50
    /// Minor units of one payment and of one card's approvals in 24 hours.
    public var largestPayment: Int64 = 1_000_000_00
    public var largestDay: Int64 = 2_000_000_00
    /// Seconds an approval with later capture is held.
    public var holdLifetime: Int64 = 7 * 86_400
    /// Seconds a chip's approval is held until the chip confirms it.
    public var chipConfirmationLifetime: Int64 = 600
    /// Whether a name that does not match declines.
    public var nameIsDecisive = false

    public init() {}

    /// Whether this attempt is beyond a cap: then the code is not looked at.
    func exceedsCaps(_ snapshot: AttemptSnapshot) -> String? {
        if snapshot.failuresOfCard > failuresPerCard { return "more than \(failuresPerCard) failed attempts an hour on this card" }
        if snapshot.failuresAtMerchant > failuresPerMerchant {
            return "more than \(failuresPerMerchant) failed attempts an hour at this merchant"
        }
        if snapshot.failuresEverywhere > failuresEverywhere {
            return "more than \(failuresEverywhere) failed attempts an hour over all cards"
        }
        return nil
    }

    /// Whether this payment is beyond a limit.
    func exceedsLimits(_ minorUnits: Int64, _ snapshot: AttemptSnapshot) -> Verdict? {
        if minorUnits > largestPayment {
            return Verdict(.exceedsAmountLimit, "The amount is above the card's limit.", "single payment limit")
        }
        if snapshot.approvalsOfCard >= approvalsPerDay {
            return Verdict(.exceedsFrequencyLimit, "The card was used too often today.", "approvals in 24 hours")
        }
        let (day, overflow) = snapshot.approvedMinorUnits.addingReportingOverflow(minorUnits)
        if overflow || day > largestDay {
            return Verdict(.exceedsAmountLimit, "The amount is above the card's limit for a day.", "24 hour limit")
        }
        return nil
    }
}

/// Where a decision stands: what is answered, and what the issuer's own people read.
struct Verdict: Hashable, Sendable {
    let responseCode: ResponseCode
    let message: String
    /// For the ledger and the audit, never for the merchant.
    let reason: String

    init(_ responseCode: ResponseCode, _ message: String, _ reason: String) {
        self.responseCode = responseCode
        self.message = message
        self.reason = reason
    }

    static let approved = Verdict(.approved, "Approved.", "approved")

    static func cryptogramFailed(_ reason: String) -> Verdict {
        Verdict(.cryptogramFailed, "The chip's cryptogram was not accepted.", reason)
    }

    /// Unknown card, locked, wrong, expired or missing code: alike to whoever asks.
    static func notAccepted(_ reason: String) -> Verdict {
        Verdict(.doNotHonour, "The card or the code was not accepted.", reason)
    }
}
