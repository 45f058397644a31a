import CardData
import Foundation
import GRDB
import PaymentPorts

/// The second durable commit: for a decline the same statements and one seal, whatever is known of card and code.
extension Change {
    func decide(_ decision: PaymentDecision) throws -> DecisionOutcome {
        try requireText(decision.reason, decision.responseCode.rawValue)
        let (row, standing) = try PaymentTable.getWithStanding(decision.payment, db)
        guard row.payment.state == .attempted else { return .committed(row.payment) }
        let card = standing.card
        try check(decision, row.payment, card)
        let announcement = try row.payment.announcement.flatMap { try AnnouncementTable.find($0, db) }
        if let state = announcement?.announcement.state, decision.capture != nil, state != .open {
            return .announcementEnded(state)
        }
        if let atc = decision.verifiedATC, let last = card?.lastVerifiedATC, atc <= last { return .staleATC }
        if let card, decision.capture != nil, let changed = try change(since: decision, row, card, standing) {
            return changed
        }
        // Nothing above writes; from here on the decision stands.
        let settled = try settleCode(of: standing, after: row, wasRight: decision.codeWasRight)
        let rehashed = decision.codeWasRight ? try rehash(settled, of: row, as: decision.rehashedCode) : [:]
        let told = try settle(announcement, after: decision)
        return .committed(try write(decision, on: row.payment, card, settled, rehashed.and(told)))
    }

    /// What no decision may say, whatever the funds.
    private func check(_ decision: PaymentDecision, _ payment: Payment, _ card: Card?) throws {
        func refuse(_ what: String, _ advice: String) -> StoreError {
            StoreError(.conflict, "decision on payment \(decision.payment): \(what)", advice: advice)
        }
        guard (decision.responseCode == .approved) == (decision.capture != nil) else {
            throw refuse(
                "response code \(decision.responseCode)",
                "An approval (00) says how its money is taken, a decline does not")
        }
        if card == nil, decision.verifiedATC != nil || decision.capture != nil {
            throw refuse("the card is not ours", "It can only be declined")
        }
        if payment.channel == .chip, decision.capture == .now {
            throw refuse("the chip has not confirmed", "Hold the amount until it does")
        }
        if decision.capture != nil, payment.amount.minorUnits <= 0 {
            throw refuse("amount \(payment.amount)", "Only a positive amount can be approved")
        }
        if case .later(let end) = decision.capture, end <= decision.at {
            throw refuse("the hold would end before it begins", "Give it a later end")
        }
    }

    /// What happened since the first commit that takes an approval its ground.
    private func change(
        since decision: PaymentDecision, _ row: PaymentRow, _ card: Card, _ standing: CardStanding
    ) throws -> DecisionOutcome? {
        guard card.state == .active else { return .cardNotActive }
        if let version = row.codeVersion, standing.code?.version != version || standing.code?.state != .active {
            return .codeNotActive
        }
        let amount = row.payment.amount
        if let limits = decision.limits,
            let exceeded = limits.exceeded(
                by: amount.minorUnits, after: try PaymentTable.spending(of: card.id, until: decision.at, db))
        {
            return .limitExceeded(exceeded)
        }
        let account = try AccountTable.found(standing.account, card.account)
        let left = try difference(account.balance.minorUnits, account.heldMinorUnits, of: "what \(account.id) has left")
        return account.balance.currency == amount.currency && left >= amount.minorUnits ? nil : .insufficientFunds
    }

    private func write(
        _ decision: PaymentDecision, on undecided: Payment, _ card: Card?, _ code: CodeRecord?, _ rehashed: Facts
    ) throws -> Payment {
        var payment = undecided
        payment.state = .declined
        payment.responseCode = decision.responseCode
        payment.reason = decision.reason
        payment.storedAnswer = decision.answer
        payment.decidedAt = decision.at
        var facts = CodeTable.told(code).and(rehashed)
        facts["answer"] = .text(RowDigest.of(Data(payment.storedAnswer).databaseValue))
        if let card, let capture = decision.capture {
            facts = facts.and(try take(&payment, capture, from: card.account, at: decision.at))
        }
        try update(payment)
        if let atc = decision.verifiedATC, let card {
            try run("UPDATE card SET last_atc = ? WHERE id = ?", [atc, card.id.rawValue])
            facts = facts.and(["atc": .number(Int64(atc))])
        }
        try audit(
            decision.capture == nil ? .paymentDeclined : .paymentApproved, payment.id.rawValue,
            PaymentTable.facts(payment).and(facts), at: decision.at)
        return payment
    }

    private func take(
        _ payment: inout Payment, _ capture: PaymentDecision.Capture, from account: AccountID, at time: Timestamp
    ) throws -> Facts {
        switch capture {
        case .now:
            payment.state = .captured
            payment.capturedMinorUnits = payment.amount.minorUnits
            return try bookCapture(of: payment, from: account, at: time)
        case .later(let end):
            payment.state = .authorized
            payment.holdExpiresAt = end
            try openHold(payment.amount.minorUnits, for: payment.id, on: account, until: end)
            return [:]
        }
    }

    /// Account to merchant: what was captured.
    func bookCapture(of payment: Payment, from account: AccountID, at time: Timestamp) throws -> Facts {
        let merchant = try merchantAccount(payment.merchant, payment.amount.currency, at: time)
        return try book(
            .capture, payment.capturedMinorUnits, from: account.rawValue, to: merchant, payment: payment.id, at: time)
    }

    /// Merchant back to account.
    func bookReturn(
        _ kind: EntryKind, of payment: Payment, _ minorUnits: Int64, key: String? = nil, request: String? = nil,
        at time: Timestamp
    ) throws -> Facts {
        let merchant = try merchantAccount(payment.merchant, payment.amount.currency, at: time)
        return try book(
            kind, minorUnits, from: merchant, to: account(of: payment).rawValue, payment: payment.id, key: key,
            request: request, at: time)
    }
}
