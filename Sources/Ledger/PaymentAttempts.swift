import ByteCoding
import CardData
import GRDB
import PaymentPorts

/// The first durable commit.
///
/// Statements, seals and rows written are the same whether the card is known or not, and whatever its code's state:
/// what they take tells nobody which card exists.
extension Change {
    func begin(_ attempt: PaymentAttempt) throws -> AttemptOutcome {
        try requireText(attempt.id.rawValue, attempt.idempotencyKey, attempt.merchant, attempt.panMasked)
        guard try KeyVersionTable.generation(db) == attempt.keyGeneration else { return .keysChanged }
        let earlier = try PaymentTable.find(key: attempt.idempotencyKey, of: attempt.merchant, db)
        if let earlier, let decided = try decided(earlier, again: attempt) { return .alreadyDecided(decided) }

        let announced = try attempt.announced.map { try tryStanding(of: $0, at: attempt.at) }
        let standing = try announced?.card ?? CardStanding.find(panIndices: attempt.panIndices, db)
        let card = standing.card
        let scopes = FailureScopes(attempt, card?.id, of: standing.account?.customer)
        let failures = try scopes.counts(until: attempt.at, db)
        let cap = attempt.caps.exceeded(after: failures)
        // A cryptogram that proves nothing counts nothing: else a recorded one would lock the code.
        let isAtFault = card.map { $0.state != .active || attempt.cryptogram?.fault(for: $0) != nil } ?? false
        let isOneTime = attempt.announced?.profile == .oneTime
        let isBusy = !isOneTime && standing.hasTriesOnTheirWay(at: attempt.at, lostAfter: attempt.retryAfter)
        let counts =
            attempt.countsCodeAttempt && cap == nil && !isAtFault && !isBusy && announced?.obstacle == nil

        var payment = earlier?.payment ?? Payment(undecided: attempt)
        payment.card = card?.id
        let counted = try countAttempt(on: standing.code, counts && !isOneTime)
        let oneTime = try announced.map { try countOneTime($0, counts && isOneTime) }
        let version = counts && !isOneTime && counted?.state == .active ? counted?.version : nil
        try insert(payment, attempt, counts ? scopes : nil, codeVersion: version)
        try add(counts ? 1 : 0, to: scopes, at: attempt.at)
        var facts: Facts = [
            "again": .flag(earlier != nil), "channel": .text(attempt.channel.rawValue),
            "code": .flag(attempt.countsCodeAttempt),
        ]
        facts["cap"] = cap.map { .text($0.rawValue) }
        facts["profile"] = attempt.announced.map { .text($0.profile.rawValue) }
        // Of a request that a crash left undecided the row has what came first.
        if earlier == nil { facts["request"] = .text(PaymentTable.requestDigest(payment, attempt)) }
        try audit(
            .paymentAttempted, payment.id.rawValue,
            PaymentTable.facts(payment).and(facts).and(CodeTable.told(counted)).and(AnnouncementTable.told(oneTime)),
            at: attempt.at)
        var shown = counted
        if isBusy { shown?.state = .locked }
        return .proceed(
            AttemptSnapshot(
                payment: payment.id, card: card, account: standing.account, code: shown, failures: failures,
                exceededCap: cap, isCodeBusy: isBusy,
                spent: try PaymentTable.spending(of: card?.id ?? .nobody, until: attempt.at, db),
                obstacle: announced?.obstacle, oneTimeCode: isOneTime ? oneTime?.oneTimeCode : nil))
    }

    /// The stored decision of a request seen before; `nil` when a crash left it undecided.
    private func decided(_ earlier: PaymentRow, again attempt: PaymentAttempt) throws -> Payment? {
        guard let digest = attempt.requestDigest(under: earlier.digestKey),
            constantTimeEqual(earlier.requestDigest, digest)
        else {
            throw StoreError(
                .keyReused, "merchant '\(attempt.merchant)'", advice: "Use a new key for a new request")
        }
        guard earlier.payment.state == .attempted else { return earlier.payment }
        guard earlier.attemptedAt.adding(seconds: attempt.retryAfter) <= attempt.at else {
            throw StoreError(
                .conflict, "a payment with this idempotency key is in progress",
                advice: "Repeat it in \(attempt.retryAfter) seconds")
        }
        return nil
    }
}

extension RecordIdentifier {
    /// What no record has: a query for it does the work of one that finds something.
    static var nobody: Self { Self(rawValue: "") }
}
