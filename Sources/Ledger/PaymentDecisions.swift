import CardData
import GRDB
import PaymentPorts

/// The second durable commit.
extension Change {
    func decide(_ decision: PaymentDecision) throws -> DecisionOutcome {
        try requireText(decision.reason, decision.responseCode.rawValue)
        let row = try PaymentTable.get(decision.payment, db)
        guard row.payment.state == .attempted else { return .committed(row.payment) }
        let card = try row.payment.card.flatMap { try CardTable.find($0, db) }
        try check(decision, card)
        if let atc = decision.verifiedATC, let last = card?.lastVerifiedATC, atc <= last { return .staleATC }
        var account: Account?
        if let card, decision.capture != nil {
            let found = try AccountTable.get(card.account, db)
            guard try covers(found, row.payment.amount) else { return .insufficientFunds }
            account = found
        }
        // Nothing above writes; from here on the decision stands.
        let payment = try write(decision, on: row.payment, card, account)
        try settleCode(of: row, wasRight: decision.codeWasRight, at: decision.at)
        return .committed(payment)
    }

    /// What no decision may say, whatever the funds.
    private func check(_ decision: PaymentDecision, _ card: Card?) throws {
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
        if decision.capture != nil, card?.state == .blocked {
            throw refuse("the card was blocked in between", "Begin the payment again")
        }
        if case .later(let end) = decision.capture, end <= decision.at {
            throw refuse("the hold would end before it begins", "Give it a later end")
        }
    }

    /// Whether what is not held pays for `amount`.
    private func covers(_ account: Account, _ amount: Money) throws -> Bool {
        guard amount.minorUnits > 0 else {
            throw StoreError(.conflict, "amount \(amount)", advice: "Only a positive amount can be approved")
        }
        guard account.balance.currency == amount.currency else { return false }
        let left = try difference(account.balance.minorUnits, account.heldMinorUnits, of: "what \(account.id) has left")
        return left >= amount.minorUnits
    }

    private func write(
        _ decision: PaymentDecision, on undecided: Payment, _ card: Card?, _ account: Account?
    ) throws -> Payment {
        var payment = undecided
        payment.state = .declined
        payment.responseCode = decision.responseCode
        payment.reason = decision.reason
        payment.storedAnswer = decision.answer
        payment.decidedAt = decision.at
        var facts: Facts = ["response": .text(decision.responseCode.rawValue)]
        if let account, let capture = decision.capture {
            facts = facts.and(try take(&payment, capture, from: account.id, at: decision.at))
        }
        try update(payment)
        if let atc = decision.verifiedATC, let card {
            try run("UPDATE card SET last_atc = ? WHERE id = ?", [atc, card.id.rawValue])
        }
        try audit(
            account == nil ? .paymentDeclined : .paymentApproved, payment.id.rawValue,
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
