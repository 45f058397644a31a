public import PaymentPorts

extension PaymentMachine {
    /// Where `event` leads; every event leads to one state.
    static func target(of event: PaymentEvent) -> OnlinePayment.State {
        switch event {
        case .noticeQueued: .prompting
        case .noticeSent, .wrongCode, .checkingGivenUp: .awaitingHolder
        case .codeArrived, .reviewApproved: .checking
        case .held: .review
        case .reviewDeclined, .declined: .declined
        case .approvedWithHold: .authorized
        case .approvedAndCaptured, .captured, .refundedInPart: .captured
        case .refundedWhole: .refunded
        case .voided: .voided
        case .deniedByHolder: .denied
        case .cancelled: .cancelled
        case .timeOver: .expired
        }
    }
}

extension PaymentStep {
    /// The step that an event takes, from every state in which it can happen, or those of them in `states`.
    ///
    /// The merchant is told of ends and of money, never of what happens between the bank and the holder.
    init(
        _ payment: PaymentID, on event: PaymentEvent, in states: Set<OnlinePayment.State>? = nil, by role: PaymentRole,
        because reason: String, at time: Timestamp
    ) {
        let sources = PaymentMachine.sources(of: event)
        self.init(
            payment: payment, from: states.map(sources.intersection) ?? sources, to: PaymentMachine.target(of: event),
            role: role, reason: reason, at: time)
        tellsMerchant = to.isTold
        // Whoever has answered needs no notice, and whoever dials after the end is asked nothing any more.
        if to.isTold || event == .codeArrived || event == .held {
            withdraws = [BankMessages.noticeReference(payment)]
        }
    }
}

extension OnlinePayment.State {
    /// Whether a step to this state is a webhook event.
    public var isTold: Bool {
        switch self {
        case .created, .prompting, .awaitingHolder, .checking, .review: false
        case .authorized, .captured, .refunded, .voided, .declined, .denied, .cancelled, .expired: true
        }
    }
}
