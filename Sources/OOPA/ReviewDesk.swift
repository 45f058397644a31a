public import PaymentPorts

/// Where a person of the bank's looks at payments that are unusual, before the issuer does.
public struct ReviewDesk: Sendable {
    private let office: BankOffice

    public init(_ office: BankOffice) { self.office = office }

    public func waiting(limit: Int) async throws -> [OnlinePayment] { try await office.stores.inReview(limit: limit) }

    /// Has the issuer decide on the code that waits, sealed, since the holder gave it.
    /// - Returns: the payment after the verdict; `checking` while the issuer gives no answer.
    /// - Throws: ``DeskError`` `.notFound`; `.conflict` when it does not wait any more.
    public func approve(_ id: PaymentID, by person: String) async throws -> OnlinePayment {
        let payment = try await waiting(id)
        let now = office.time.now()
        var step = PaymentStep(
            id, on: .reviewApproved, by: .reviewer, because: "\(person) let it through", at: now)
        step.ofAttempt = payment.attempts
        step.dueAt = now.adding(seconds: office.policy.inquirySeconds)
        guard case .taken(let checking) = try await office.stores.take(step) else { throw gone(id) }
        return try await office.decide(checking).payment
    }

    /// - Throws: as ``approve(_:by:)``.
    public func decline(_ id: PaymentID, by person: String) async throws -> OnlinePayment {
        let outcome = try await office.end(
            waiting(id), on: .reviewDeclined, by: .reviewer, because: "\(person) declined it", signing: .declined)
        guard case .taken(let declined) = outcome else { throw gone(id) }
        return declined
    }

    private func waiting(_ id: PaymentID) async throws -> OnlinePayment {
        let payment = try await office.payment(id)
        guard payment.state == .review else { throw gone(id) }
        return payment
    }

    private func gone(_ id: PaymentID) -> DeskError {
        DeskError(.conflict, "payment \(id) does not wait for a person", advice: "See 'ecard review list'")
    }
}
