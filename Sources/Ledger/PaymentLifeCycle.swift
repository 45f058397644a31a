import CardData
import GRDB
public import PaymentPorts

extension LedgerDatabase: PaymentStore {
    public func begin(_ attempt: PaymentAttempt) async throws -> AttemptOutcome {
        // Of all cards, and of everybody's attempts in this commit: what this card had on hold cannot be told from how
        // long its answer takes.
        try await write(sweepingUntil: attempt.at) { try $0.begin(attempt) }
    }

    public func decide(_ decision: PaymentDecision) async throws -> DecisionOutcome {
        try await write { try $0.decide(decision) }
    }

    public func confirm(
        _ id: PaymentID, capture: PaymentDecision.Capture, at time: Timestamp
    ) async throws -> Payment {
        try await write { try $0.confirm(id, capture, at: time) }
    }

    public func capture(_ id: PaymentID, minorUnits: Int64?, at time: Timestamp) async throws -> Payment {
        try await write { try $0.capture(id, minorUnits, at: time) }
    }

    public func release(
        _ id: PaymentID, to state: Payment.State, reason: String, at time: Timestamp
    ) async throws -> Payment {
        try await write { try $0.release(id, to: state, reason, at: time) }
    }

    public func refund(
        _ id: PaymentID, minorUnits: Int64?, idempotencyKey: String, at time: Timestamp
    ) async throws -> Payment {
        try await write { try $0.refund(id, minorUnits, key: idempotencyKey, at: time) }
    }

    public func payment(_ id: PaymentID) async throws -> Payment? {
        try await read { try PaymentTable.find(id, $0)?.payment }
    }

    public func payments(of card: CardID?, limit: Int) async throws -> [Payment] {
        try await read { try PaymentTable.newest(of: card, limit: limit, $0) }
    }

    public func expireHolds(at time: Timestamp) async throws -> Int {
        var count = 0
        while true {
            let due = try await read { try PaymentTable.due(at: time, limit: 100, $0) }
            if due.isEmpty { break }
            count += try await write { change in try due.count { try change.end($0, at: time) } }
        }
        guard try await read({ try AnnouncementTable.due(at: time, limit: 1, $0) }).first != nil else { return count }
        return try await count + write { try $0.endAnnouncements(until: time) }
    }
}

/// What happens to a payment after its decision.
extension Change {
    /// Ends what has ended by `time`, and forgets as many attempts of earlier hours as `attempts` new ones can add.
    func sweep(until time: Timestamp, for attempts: Int) throws {
        guard try hasToSweep(until: time) else { return }
        while true {
            let due = try PaymentTable.due(at: time, limit: 100, db)
            for payment in due { _ = try end(payment, at: time) }
            if due.count < 100 { break }
        }
        _ = try endAnnouncements(until: time)
        try forgetFailures(before: time, limit: 8 * attempts)
    }

    /// One look in place of three: mostly there is nothing.
    private func hasToSweep(until time: Timestamp) throws -> Bool {
        try db.first(
            """
            SELECT EXISTS (SELECT 1 FROM hold WHERE expires_at <= ?1)
                OR EXISTS (SELECT 1 FROM payment WHERE state = 'attempted' AND attempted_at <= ?2)
                OR EXISTS (SELECT 1 FROM announcement WHERE state = 'open' AND expires_at <= ?1)
                OR EXISTS (SELECT 1 FROM code_failure WHERE minute < ?3)
            """,
            [time.milliseconds, time.adding(seconds: -3600).milliseconds, FailureScopes.earliestMinute(at: time)]
        ) { try $0.next(Int.self) != 0 } ?? true
    }

    fileprivate func confirm(
        _ id: PaymentID, _ capture: PaymentDecision.Capture, at time: Timestamp
    ) throws -> Payment {
        var payment = try PaymentTable.get(id, db).payment
        if payment.confirmedAt != nil, payment.state == .captured || capture != .now { return payment }
        try requireRunningHold(payment, "confirmed", at: time)
        payment.confirmedAt = payment.confirmedAt ?? time
        var booked: Facts = [:]
        switch capture {
        case .now: booked = try take(&payment, payment.amount.minorUnits, at: time)
        case .later(let end): try moveHold(of: &payment, to: end)
        }
        return try write(payment, .paymentConfirmed, booked, at: time)
    }

    private func requireRunningHold(_ payment: Payment, _ what: String, at time: Timestamp) throws {
        guard payment.state == .authorized else {
            throw refusal(payment, what, "Only an authorized payment can be, and once")
        }
        if let end = payment.holdExpiresAt, end <= time {
            throw refusal(payment, what, "Its hold ended; ask for a new payment")
        }
    }

    /// Turns a hold into a debit.
    private func take(_ payment: inout Payment, _ minorUnits: Int64, at time: Timestamp) throws -> Facts {
        try closeHold(of: &payment)
        payment.state = .captured
        payment.capturedMinorUnits = minorUnits
        return try bookCapture(of: payment, from: account(of: payment), at: time)
    }

    fileprivate func capture(_ id: PaymentID, _ minorUnits: Int64?, at time: Timestamp) throws -> Payment {
        var payment = try PaymentTable.get(id, db).payment
        let wanted = minorUnits ?? payment.amount.minorUnits
        let isCaptured = payment.state == .captured || payment.state == .refunded
        if isCaptured, wanted == payment.capturedMinorUnits { return payment }
        try requireRunningHold(payment, "captured", at: time)
        guard payment.channel != .chip || payment.confirmedAt != nil else {
            throw refusal(payment, "captured", "Its chip has not confirmed it; the hold ends by itself")
        }
        guard wanted > 0, wanted <= payment.amount.minorUnits else {
            throw refusal(payment, "captured with \(wanted)", "Capture 1 to \(payment.amount.minorUnits) minor units")
        }
        let booked = try take(&payment, wanted, at: time)
        return try write(payment, .paymentCaptured, booked, at: time)
    }

    func release(
        _ id: PaymentID, to state: Payment.State, _ reason: String, at time: Timestamp
    ) throws -> Payment {
        try requireText(reason)
        var payment = try PaymentTable.get(id, db).payment
        guard let kind = releaseKind(state) else {
            throw refusal(payment, "released to \(state.rawValue)", "Release to voided, reversed or expired")
        }
        if payment.state == state { return payment }
        let before = payment
        payment.state = state
        payment.reason = reason
        switch before.state {
        case .authorized:
            if state == .expired, let end = before.holdExpiresAt, end > time {
                throw refusal(before, "expired", "Its hold has not ended; void or reverse it")
            }
            try closeHold(of: &payment)
            return try write(payment, kind, [:], at: time)
        case .captured where state == .reversed:
            let rest = try difference(payment.capturedMinorUnits, payment.refundedMinorUnits, of: "the rest of \(id)")
            payment.refundedMinorUnits = payment.capturedMinorUnits
            return try write(payment, kind, try bookReturn(.reversal, of: payment, rest, at: time), at: time)
        case .captured:
            throw refusal(before, state.rawValue, "Its hold is gone; refund or reverse it")
        default:
            throw refusal(before, state.rawValue, "It holds no money")
        }
    }

    private func releaseKind(_ state: Payment.State) -> AuditKind? {
        switch state {
        case .voided: .paymentVoided
        case .reversed: .paymentReversed
        case .expired: .paymentExpired
        default: nil
        }
    }

    fileprivate func refund(
        _ id: PaymentID, _ minorUnits: Int64?, key: String, at time: Timestamp
    ) throws -> Payment {
        try requireText(key)
        var payment = try PaymentTable.get(id, db).payment
        let request = "\(id) \(minorUnits.map(String.init) ?? "rest")"
        if try isRepeat(.refund, key: key, request: request) { return payment }
        guard payment.state == .captured else {
            throw refusal(payment, "refunded", "Only captured money can be")
        }
        let rest = try difference(payment.capturedMinorUnits, payment.refundedMinorUnits, of: "the rest of \(id)")
        let amount = minorUnits ?? rest
        guard amount > 0, amount <= rest else {
            throw refusal(payment, "refunded by \(amount)", "Refund 1 to \(rest) minor units")
        }
        let booked = try bookReturn(.refund, of: payment, amount, key: key, request: request, at: time)
        payment.refundedMinorUnits = try sum(payment.refundedMinorUnits, amount, of: "the refunds of \(id)")
        if payment.refundedMinorUnits == payment.capturedMinorUnits { payment.state = .refunded }
        return try write(payment, .paymentRefunded, booked, at: time)
    }

    /// Ends a payment whose time is over.
    /// - Returns: whether it was not ended in between.
    fileprivate func end(_ id: PaymentID, at time: Timestamp) throws -> Bool {
        switch try PaymentTable.get(id, db).payment.state {
        case .authorized:
            _ = try release(id, to: .expired, "the hold ended before it was captured", at: time)
        case .attempted:
            _ = try decide(
                PaymentDecision(
                    payment: id, responseCode: .issuerInoperative, reason: "left undecided", answer: [], capture: nil,
                    verifiedATC: nil, codeWasRight: false, at: time, mayTryAgain: true))
        default: return false
        }
        return true
    }

    private func write(_ payment: Payment, _ kind: AuditKind, _ booked: Facts, at time: Timestamp) throws -> Payment {
        try update(payment)
        try audit(kind, payment.id.rawValue, PaymentTable.facts(payment).and(booked), at: time)
        return try PaymentTable.get(payment.id, db).payment
    }

    private func refusal(_ payment: Payment, _ what: String, _ advice: String) -> StoreError {
        StoreError(
            .conflict, "payment \(payment.id) is \(payment.state.rawValue) and cannot be \(what)", advice: advice)
    }
}
