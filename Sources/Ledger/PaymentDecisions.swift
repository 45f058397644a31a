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
        var payment = row.payment
        payment.state = .declined
        if let capture = decision.capture {
            let account = try account(of: payment)
            guard try covers(account, payment.amount) else { return .insufficientFunds }
            try take(&payment, capture, from: account.id, at: decision.at)
        }
        try write(decision, payment, card)
        try settleCode(of: row, wasRight: decision.codeWasRight, at: decision.at)
        return .committed(try PaymentTable.get(payment.id, db).payment)
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

    private func take(
        _ payment: inout Payment, _ capture: PaymentDecision.Capture, from account: AccountID, at time: Timestamp
    ) throws {
        switch capture {
        case .now:
            payment.state = .captured
            payment.capturedMinorUnits = payment.amount.minorUnits
        case .later(let end):
            payment.state = .authorized
            try openHold(payment.amount.minorUnits, for: payment.id, on: account, until: end)
        }
    }

    private func write(_ decision: PaymentDecision, _ payment: Payment, _ card: Card?) throws {
        var facts = PaymentTable.facts(payment).and(["response": .text(decision.responseCode.rawValue)])
        if payment.state == .captured {
            facts = facts.and(
                try bookCapture(of: payment, payment.capturedMinorUnits, from: account(of: payment), at: decision.at))
        }
        try update(payment)
        try run(
            "UPDATE payment SET response_code = ?, reason = ?, answer = ?, decided_at = ? WHERE id = ?",
            [
                decision.responseCode.rawValue, decision.reason, blob(decision.answer), decision.at.milliseconds,
                payment.id.rawValue,
            ])
        if let atc = decision.verifiedATC, let card {
            try run("UPDATE card SET last_atc = ? WHERE id = ?", [atc, card.id.rawValue])
        }
        try audit(
            decision.capture == nil ? .paymentDeclined : .paymentApproved, payment.id.rawValue, facts, at: decision.at)
    }

    /// Account to merchant.
    func bookCapture(
        of payment: Payment, _ minorUnits: Int64, from account: Account, at time: Timestamp
    ) throws -> Facts {
        let merchant = try merchantAccount(payment.merchant, payment.amount.currency, at: time)
        return try book(
            .capture, minorUnits, from: account.id.rawValue, to: merchant, payment: payment.id, at: time)
    }

    /// Merchant back to account.
    func bookReturn(
        _ kind: EntryKind, of payment: Payment, _ minorUnits: Int64, key: String? = nil, request: String? = nil,
        at time: Timestamp
    ) throws -> Facts {
        let merchant = try merchantAccount(payment.merchant, payment.amount.currency, at: time)
        return try book(
            kind, minorUnits, from: merchant, to: account(of: payment).id.rawValue, payment: payment.id, key: key,
            request: request, at: time)
    }
}
