public import PaymentPorts

/// What can happen to an online payment, with who causes it. Processes M to R are those of the OOPA paper (docs/oopa.md).
public enum PaymentEvent: String, Hashable, Sendable, CaseIterable {
    /// O: the notice to the holder is queued.
    case noticeQueued
    /// O: the prompt is shown, for the first time or again.
    case noticeSent
    /// O, Q: the holder's code arrived and is sealed to the issuer.
    case codeArrived
    /// A pattern is unusual; a person looks first.
    case held
    case reviewApproved, reviewDeclined
    /// P, R: the issuer's verdict.
    case approvedWithHold, approvedAndCaptured
    case wrongCode, declined
    /// N: nothing was tried although the issuer could not be reached: the holder may try again.
    case checkingGivenUp
    case captured, refundedInPart, refundedWhole
    /// A hold that merchant, holder or bank ended.
    case voided
    case deniedByHolder
    case cancelled
    case timeOver
}

/// The states of a payment and what leads from one to the next: exhaustive, without I/O. A store applies it inside the commit
/// that writes the step.
public enum PaymentMachine {
    /// - Returns: the state that `event` leads to; `nil` when it cannot happen in `state`.
    public static func next(_ state: OnlinePayment.State, on event: PaymentEvent) -> OnlinePayment.State? {
        switch (state, event) {
        case (.created, .noticeQueued): .prompting
        case (.created, .noticeSent), (.prompting, .noticeSent), (.awaitingHolder, .noticeSent): .awaitingHolder
        case (.prompting, .codeArrived), (.awaitingHolder, .codeArrived): .checking
        case (.checking, .held), (.awaitingHolder, .held), (.prompting, .held), (.created, .held): .review
        case (.review, .reviewDeclined): .declined
        case (.review, .approvedWithHold), (.checking, .approvedWithHold): .authorized
        case (.review, .approvedAndCaptured), (.checking, .approvedAndCaptured): .captured
        case (.review, .reviewApproved): .checking
        case (.checking, .wrongCode), (.checking, .checkingGivenUp): .awaitingHolder
        case (.checking, .declined), (.created, .declined), (.prompting, .declined), (.awaitingHolder, .declined):
            .declined
        case (.authorized, .captured): .captured
        case (.authorized, .voided): .voided
        case (.authorized, .timeOver): .expired
        case (.captured, .refundedInPart): .captured
        case (.captured, .refundedWhole): .refunded
        case (.created, .deniedByHolder), (.prompting, .deniedByHolder), (.awaitingHolder, .deniedByHolder),
            (.review, .deniedByHolder):
            .denied
        case (.created, .cancelled), (.prompting, .cancelled), (.awaitingHolder, .cancelled), (.review, .cancelled),
            (.checking, .cancelled):
            .cancelled
        case (.created, .timeOver), (.prompting, .timeOver), (.awaitingHolder, .timeOver), (.review, .timeOver),
            (.checking, .timeOver):
            .expired
        default: nil
        }
    }

    /// The states in which `event` can happen.
    public static func sources(of event: PaymentEvent) -> Set<OnlinePayment.State> {
        Set(OnlinePayment.State.allCases.filter { next($0, on: event) != nil })
    }
}
