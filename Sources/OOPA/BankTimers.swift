import PaymentPorts

/// What happens to payments by time alone: answers that never came, verdicts in doubt, holds that end, reversals owed. When
/// is data in the books, so a restart goes on where it was; a clock that steps back only delays.
public struct BankTimers: Sendable {
    private let office: BankOffice

    public init(_ office: BankOffice) { self.office = office }

    /// Looks at everything whose time has come. One payment that fails, as with a token that is gone, keeps none of the others
    /// waiting.
    /// - Returns: how many payments it looked at.
    /// - Throws: the first failure, after all were looked at.
    @discardableResult
    public func runDue(limit: Int = 256) async throws -> Int {
        let due = try await office.stores.due(at: office.time.now(), limit: limit)
        let failure = await withTaskGroup(of: (any Error)?.self) { group in
            var failure: (any Error)?
            // The issuer answers several at once; a slow answer for one holds up few.
            for (index, payment) in due.enumerated() {
                if index >= 16, let error = await group.next() ?? nil { failure = failure ?? error }
                group.addTask {
                    do {
                        try await look(at: payment)
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            for await error in group { failure = failure ?? error }
            return failure
        }
        if let failure { throw failure }
        return due.count
    }

    func look(at payment: OnlinePayment) async throws {
        let now = office.time.now()
        switch payment.state {
        case .created, .prompting, .awaitingHolder, .review:
            guard payment.expiresAt <= now else { return try await again(payment, at: payment.expiresAt) }
            let isReview = payment.state == .review
            _ = try await office.end(
                payment, on: .timeOver, by: .timer,
                because: isReview ? "nobody decided in time" : "the holder did not answer in time",
                signing: isReview ? .declined : .unanswered)
        case .checking: try await inquire(payment, at: now)
        case .authorized: try await lookAtHold(payment, at: now)
        case .captured:
            guard let standing = try await standing(of: payment) else { return }
            if case .stands = try await office.reconcile(payment, standing, by: .timer) {
                try await again(payment, at: nil)
            }
        case .voided, .declined, .denied, .cancelled, .expired: await office.reverse(payment)
        case .refunded: try await again(payment, at: nil)
        }
    }

    private func again(_ payment: OnlinePayment, at time: Timestamp?) async throws {
        try await office.stores.reschedule(payment.id, afterStep: payment.step, at: time)
    }

    /// What the issuer says; without an answer the payment is looked at again later.
    private func standing(of payment: OnlinePayment) async throws -> IssuerStanding? {
        do {
            return try await office.issuer.inquire(payment.id)
        } catch is IssuerServiceError {
            try await again(payment, at: office.time.now().adding(seconds: office.policy.inquirySeconds))
            return nil
        }
    }

    /// In doubt: the issuer is asked until it answers, and at the deadline the payment is reversed.
    private func inquire(_ payment: OnlinePayment, at now: Timestamp) async throws {
        if payment.expiresAt.adding(seconds: office.policy.doubtSeconds) <= now {
            _ = try await office.end(
                payment, on: .timeOver, by: .timer, because: "the issuer gave no answer until the deadline",
                signing: .declined)
            return
        }
        guard let standing = try await standing(of: payment) else { return }
        let verdict = standing.lastAttempt == payment.attempts ? standing.lastVerdict : nil
        let after: OnlinePayment
        switch (standing.state, verdict) {
        case (.open, nil): after = try await office.decide(payment).payment
        case (.open, let verdict?), (.authorized, let verdict?), (.declined, let verdict?):
            after = try await office.conclude(payment, verdict)
        case (.captured, let verdict?), (.refunded, let verdict?):
            after = try await office.conclude(payment, verdict, captured: standing.capturedMinorUnits)
        default:
            after = try await office.conclude(
                payment,
                IssuerVerdict(
                    outcome: .declined, responseCode: "05",
                    reason:
                        "it is \(standing.state.rawValue) at the issuer, with no verdict on try \(payment.attempts)",
                    triesLeft: nil))
        }
        if after.state == .checking, after.step == payment.step {
            try await again(payment, at: now.adding(seconds: office.policy.inquirySeconds))
        }
    }

    private func lookAtHold(_ payment: OnlinePayment, at now: Timestamp) async throws {
        guard let standing = try await standing(of: payment) else { return }
        if standing.capturedMinorUnits > 0 {
            _ = try await office.reconcile(payment, standing, by: .timer)
            return
        }
        let end = payment.updatedAt.adding(seconds: office.policy.holdSeconds)
        if standing.state == .authorized, end > now { return try await again(payment, at: end) }
        _ = try await office.end(
            payment, on: .timeOver, by: .timer, because: "the hold ended before it was captured", signing: nil)
    }
}
