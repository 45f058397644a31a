import ByteCoding
import CardData
import GRDB
import PaymentPorts

/// The first durable commit.
extension Change {
    func begin(_ attempt: PaymentAttempt) throws -> AttemptOutcome {
        try requireText(attempt.id.rawValue, attempt.idempotencyKey, attempt.merchant, attempt.panMasked)
        let earlier = try PaymentTable.find(key: attempt.idempotencyKey, db)
        if let earlier {
            guard constantTimeEqual(earlier.requestDigest, attempt.requestDigest) else {
                throw StoreError(
                    .keyReused, "payment \(earlier.payment.id)", advice: "Use a new key for a new request")
            }
            if earlier.payment.state != .attempted { return .alreadyDecided(earlier.payment) }
        }
        let card = try CardTable.find(panIndex: attempt.panIndex, db)
        if let card { try expireHolds(of: card.account, at: attempt.at) }
        let code = try countedCode(of: card, attempt)
        let codeVersion = code.counted ? code.code?.version : nil
        let payment = try write(attempt, over: earlier?.payment, card: card, codeVersion: codeVersion)
        return .proceed(try snapshot(attempt, payment: payment, card: card, code: code.code))
    }

    private func countedCode(of card: Card?, _ attempt: PaymentAttempt) throws -> (code: CodeRecord?, counted: Bool) {
        guard let card, let code = try CodeTable.newest(of: card.id, db) else { return (nil, false) }
        guard attempt.countsCodeAttempt else { return (code, false) }
        let shown = try countAttempt(on: code, at: attempt.at)
        return (shown, shown.state == .active)
    }

    /// The payment's row, its counts and its record: the same writes for a known card and an unknown one.
    private func write(
        _ attempt: PaymentAttempt, over earlier: Payment?, card: Card?, codeVersion: Int?
    ) throws -> PaymentID {
        let payment = earlier ?? Payment(undecided: attempt, card: card?.id)
        let scope = attempt.countsCodeAttempt ? FailureWindow.card(attempt.panIndex) : nil
        if earlier == nil {
            try insert(payment, attempt.requestDigest)
        }
        try run(
            "UPDATE payment SET card = ?, attempted_at = ?, failure_scope = ?, code_version = ? WHERE id = ?",
            [card?.id.rawValue, attempt.at.milliseconds, scope, codeVersion, payment.id.rawValue])
        if let scope { try countFailure(scope, attempt.merchant, at: attempt.at) }
        var facts = PaymentTable.facts(payment).and([
            "again": .flag(earlier != nil), "channel": .text(attempt.channel.rawValue),
            "code": .flag(attempt.countsCodeAttempt), "merchant": .text(attempt.merchant),
        ])
        if let card { facts = facts.and(["card": .text(card.id.rawValue)]) }
        try audit(.paymentAttempted, payment.id.rawValue, facts, at: attempt.at)
        return payment.id
    }

    private func snapshot(
        _ attempt: PaymentAttempt, payment: PaymentID, card: Card?, code: CodeRecord?
    ) throws -> AttemptSnapshot {
        let failures = try FailureWindow.attempts(
            FailureWindow.card(attempt.panIndex), attempt.merchant, until: attempt.at, db)
        var approvals = try card.flatMap { card in
            try db.first(
                """
                SELECT count(*), ifnull(sum(amount), 0) FROM payment
                WHERE card = ? AND response_code = '00' AND decided_at > ?
                """, [card.id.rawValue, attempt.at.adding(seconds: -86_400).milliseconds])
        }
        return AttemptSnapshot(
            payment: payment, card: card, account: try card.map { try AccountTable.get($0.account, db) }, code: code,
            failuresOfCard: failures.card, failuresAtMerchant: failures.merchant,
            failuresEverywhere: failures.everywhere,
            approvalsOfCard: try approvals?.next() ?? 0, approvedMinorUnits: try approvals?.next() ?? 0)
    }
}
