import CardData
import GRDB
public import PaymentPorts

extension BankDatabase: OnlinePaymentStore {
    public func open(_ opening: PaymentOpening) async throws {
        try await write { try $0.open(opening) }
        for step in opening.steps { onStep(opening.payment.id, step.state, step.role) }
    }

    public func take(_ step: PaymentStep) async throws -> StepOutcome {
        let outcome = try await write { try $0.take(step) }
        if case .taken(let payment) = outcome {
            onStep(payment.id, payment.state, step.role)
            if !step.messages.isEmpty { bell.ring() }
        }
        return outcome
    }

    public func reschedule(
        _ id: PaymentID, afterStep step: Int, at time: Timestamp?, keeping request: KeptRequest?
    ) async throws {
        try await write { change in
            if let request { try change.keep(request) }
            try change.run(
                "UPDATE payment SET due_at = ? WHERE id = ? AND step = ?", [time?.milliseconds, id.rawValue, step])
        }
    }

    public func remember(_ request: RememberedRequest) async throws {
        try await write { try $0.remember(request) }
    }

    public func remembered(
        _ key: String, of merchant: MerchantID, at time: Timestamp
    ) async throws -> RememberedRequest? {
        try await lookUp { db in
            try db.first(
                "SELECT digest, status, body, at FROM remembered WHERE merchant = ? AND idempotency_key = ? AND at > ?",
                [merchant.rawValue, key, Remembering.end(time)]
            ) { row in
                RememberedRequest(
                    merchant: merchant, key: key, digest: try row.bytes(), status: try row.next(),
                    body: try row.bytes(), at: try row.time())
            }
        }
    }

    public func onlinePayment(_ id: PaymentID) async throws -> OnlinePayment? {
        try await lookUp { try OnlinePaymentTable.find(id, $0) }
    }

    public func steps(of id: PaymentID) async throws -> [PaymentStepRecord] {
        try await read { db in
            try db.all(
                """
                SELECT json_extract(detail, '$.step'), json_extract(detail, '$.state'), json_extract(detail, '$.role'),
                    json_extract(detail, '$.reason'), at
                FROM audit WHERE subject = ? AND kind = ? ORDER BY number
                """, [id.rawValue, AuditKind.paymentStep.rawValue], as: OnlinePaymentTable.step)
        }
    }

    public func evidence(of id: PaymentID) async throws -> String? {
        try await read { db in
            try db.first("SELECT signed FROM evidence WHERE payment = ?", [id.rawValue]) { try $0.next() }
        }
    }

    public func onlinePayments(
        of merchant: MerchantID, isLive: Bool, after cursor: PaymentID?, limit: Int
    ) async throws -> [OnlinePayment] {
        try await read { db in
            // A cursor of somebody else's leads nowhere.
            let before = try cursor.map { cursor in
                try db.first(
                    "SELECT number FROM payment WHERE id = ? AND merchant = ? AND is_live = ?",
                    [cursor.rawValue, merchant.rawValue, isLive]
                ) { try $0.next(Int64.self) } ?? 0
            }
            return try OnlinePaymentTable.all(
                "WHERE merchant = ? AND is_live = ? AND number < ? ORDER BY number DESC LIMIT ?",
                [merchant.rawValue, isLive, before ?? .max, max(0, limit)], db)
        }
    }

    public func pending(phone: String, at time: Timestamp) async throws -> [OnlinePayment] {
        try await lookUp { db in
            try OnlinePaymentTable.all(
                """
                WHERE phone = ? AND state IN ('created', 'prompting', 'awaiting_holder') AND expires_at > ?
                ORDER BY number LIMIT 20
                """, [phone, time.milliseconds], db)
        }
    }

    public func uncollected(phone: String) async throws -> [OnlinePayment] {
        try await lookUp { db in
            try OnlinePaymentTable.all(
                "WHERE phone = ? AND state IN ('checking', 'review', 'authorized') ORDER BY number LIMIT 20", [phone],
                db)
        }
    }

    public func receipts(phone: String, limit: Int) async throws -> [OnlinePayment] {
        try await read { db in
            try OnlinePaymentTable.all(
                "WHERE phone = ? AND captured > 0 ORDER BY number DESC LIMIT ?", [phone, max(0, limit)], db)
        }
    }

    public func due(at time: Timestamp, limit: Int) async throws -> [OnlinePayment] {
        try await read { db in
            try OnlinePaymentTable.all(
                "WHERE due_at <= ? ORDER BY due_at LIMIT ?", [time.milliseconds, max(0, limit)], db)
        }
    }

    public func inReview(limit: Int) async throws -> [OnlinePayment] {
        try await read {
            try OnlinePaymentTable.all("WHERE state = 'review' ORDER BY number LIMIT ?", [max(0, limit)], $0)
        }
    }

    public func onlinePayments(limit: Int) async throws -> [OnlinePayment] {
        try await read { try OnlinePaymentTable.all("ORDER BY number DESC LIMIT ?", [max(0, limit)], $0) }
    }
}

extension Change {
    fileprivate func open(_ opening: PaymentOpening) throws {
        let payment = opening.payment
        try forgetOld(before: payment.createdAt)
        if let request = opening.remembered { try remember(request) }
        try OnlinePaymentTable.insert(payment, self)
        if let request = opening.request { try keep(request) }
        for step in opening.steps {
            var stepped = payment
            (stepped.state, stepped.step, stepped.reason) = (step.state, step.number, step.reason)
            var facts = OnlinePaymentTable.facts(stepped, step.role)
            if step.number == 1 { facts = facts.and(OnlinePaymentTable.firstFacts(payment)) }
            try audit(.paymentStep, payment.id.rawValue, facts, at: step.at)
        }
        let reached = try reached(opening.noticeCaps, at: payment.createdAt)
        try count(opening.counts, at: payment.createdAt)
        try queue(opening.notice, leaves: reached == nil, at: opening.noticeAt ?? payment.createdAt)
        if let prompt = opening.prompt { try queue(prompt, leaves: reached == nil, at: payment.createdAt) }
    }

    fileprivate func remember(_ request: RememberedRequest) throws {
        try requireText(request.key)
        try run(
            """
            INSERT INTO remembered (merchant, idempotency_key, digest, status, body, at) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (merchant, idempotency_key) DO UPDATE SET digest = excluded.digest, status = excluded.status,
                body = excluded.body, at = excluded.at WHERE at <= ?
            """,
            [
                request.merchant.rawValue, request.key, request.digest, request.status, request.body,
                request.at.milliseconds, Remembering.end(request.at),
            ])
        guard db.changesCount > 0 else {
            throw StoreError(
                .conflict, "the request with key '\(request.key)'",
                advice: "The same request was answered meanwhile; ask again for its answer")
        }
    }

    private func forgetOld(before time: Timestamp) throws {
        try run(
            """
            DELETE FROM remembered WHERE (merchant, idempotency_key) IN
                (SELECT merchant, idempotency_key FROM remembered WHERE at <= ? ORDER BY at LIMIT 4)
            """, [Remembering.end(time)])
        try forgetActivity(before: time)
    }

    fileprivate func take(_ step: PaymentStep) throws -> StepOutcome {
        var payment = try OnlinePaymentTable.get(step.payment, db)
        guard step.from.contains(payment.state), step.ofAttempt == nil || step.ofAttempt == payment.attempts,
            step.afterStep == nil || step.afterStep == payment.step
        else { return .stands(payment) }
        let returned = try step.refunded.map { try difference($0, payment.refundedMinorUnits, of: "the refund") } ?? 0
        if step.refunded != nil, returned <= 0 { return .stands(payment) }
        if let cap = try reached(step.caps, at: step.at) { return .capped(payment, cap) }
        if let turn = step.turn { try save(turn) }
        if let request = step.request { try keep(request) }
        try count(step.counts, at: step.at)
        payment.state = step.to
        payment.reason = step.reason
        payment.step += 1
        payment.dueAt = step.dueAt
        payment.updatedAt = step.at
        if let prompt = step.prompt { payment.prompt = prompt }
        if let (code, profile) = step.sealedCode {
            payment.sealedCode = code
            payment.profile = profile
            payment.attempts += 1
        }
        if step.purgesCode { payment.sealedCode = nil }
        var facts = try book(step, returned, for: &payment)
        if let evidence = step.evidence {
            try requireText(evidence)
            try run("INSERT INTO evidence (payment, signed) VALUES (?, ?)", [payment.id.rawValue, evidence])
            facts["evidence"] = .text(RowDigest.of(evidence.databaseValue))
        }
        try OnlinePaymentTable.update(payment, self)
        try audit(
            .paymentStep, payment.id.rawValue, OnlinePaymentTable.facts(payment, step.role).and(facts), at: step.at)
        for reference in step.withdraws { try withdraw(reference) }
        for message in step.messages { try queue(message, leaves: true, at: step.at) }
        if step.tellsMerchant {
            try tell(step.refunded == nil ? payment.state : .refunded, of: payment, at: step.at)
        }
        return .taken(payment)
    }

    /// Double entry: a capture moves money from the issuer to the merchant, a refund moves it back.
    private func book(_ step: PaymentStep, _ returned: Int64, for payment: inout OnlinePayment) throws -> Facts {
        let accounts = SettlementAccounts(payment.merchant, payment.amount.currency, isLive: payment.isLive)
        var facts: Facts = [:]
        if let captured = step.captured, captured != payment.capturedMinorUnits {
            guard payment.capturedMinorUnits == 0 else {
                throw StoreError(
                    .conflict, "capture of \(captured) for payment \(payment.id)", advice: "It was captured already")
            }
            facts = try book(
                .capture, captured, from: ownAccount(accounts.issuer, payment.amount.currency, at: step.at),
                to: ownAccount(accounts.merchant, payment.amount.currency, at: step.at), payment: payment.id,
                at: step.at)
            payment.capturedMinorUnits = captured
        }
        if returned > 0 {
            facts = try book(
                .refund, returned, from: accounts.merchant, to: accounts.issuer, payment: payment.id, at: step.at)
            payment.refundedMinorUnits += returned
        }
        return facts
    }
}

/// Requests are remembered for 24 hours.
private enum Remembering {
    static func end(_ time: Timestamp) -> Int64 { time.adding(seconds: -86_400).milliseconds }
}
