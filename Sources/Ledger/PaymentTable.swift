import CardData
import GRDB
import PaymentPorts

/// A payment's row: what the port shows and what the ledger keeps beside it.
struct PaymentRow {
    var payment: Payment
    let requestDigest: [UInt8]
    /// Version of the PAN index key that it is under.
    let digestKey: Int
    /// When the newest attempt was counted.
    let attemptedAt: Timestamp
    /// What the attempt's code was counted under; `nil` when nothing was counted.
    let failureScopes: FailureScopes?
    /// The code version whose failures were counted; `nil` when none was active.
    let codeVersion: Int?
}

enum PaymentTable {
    private static let select = """
        SELECT payment.id, idempotency_key, channel, merchant, amount, currency, card, pan_masked, state,
            response_code, reason, answer, captured, refunded, created_at, decided_at, confirmed_at,
            hold.expires_at, request_digest, digest_key, attempted_at, card_scope, customer_scope, code_version
        FROM payment LEFT JOIN hold ON hold.payment = payment.id
        """

    private static func row(_ row: inout RowReader) throws -> PaymentRow {
        let payment = try payment(&row)
        let (digest, digestKey, attemptedAt) = (try row.bytes(), try row.next(Int.self), try row.time())
        let (card, customer): (String?, String?) = (try row.optional(), try row.optional())
        return PaymentRow(
            payment: payment, requestDigest: digest, digestKey: digestKey, attemptedAt: attemptedAt,
            failureScopes: card.flatMap { card in
                customer.map { FailureScopes(card: card, customer: $0, merchant: payment.merchant) }
            }, codeVersion: try row.optional())
    }

    private static func payment(_ row: inout RowReader) throws -> Payment {
        Payment(
            id: try row.identifier(), idempotencyKey: try row.next(), channel: try row.state(),
            merchant: try row.next(), amount: Money(minorUnits: try row.next(), currency: try row.currency()),
            card: try row.optional(String.self).map(CardID.init), panMasked: try row.next(), state: try row.state(),
            responseCode: try row.optional(String.self).map(ResponseCode.init), reason: try row.next(),
            storedAnswer: try row.bytes(), capturedMinorUnits: try row.next(), refundedMinorUnits: try row.next(),
            createdAt: try row.time(), decidedAt: try row.optionalTime(), confirmedAt: try row.optionalTime(),
            holdExpiresAt: try row.optionalTime())
    }

    static func find(_ id: PaymentID, _ db: Database) throws -> PaymentRow? {
        guard var found = try db.first("\(select) WHERE payment.id = ?", [id.rawValue]) else { return nil }
        return try row(&found)
    }

    static func find(key: String, of merchant: String, _ db: Database) throws -> PaymentRow? {
        guard var found = try db.first("\(select) WHERE merchant = ? AND idempotency_key = ?", [merchant, key]) else {
            return nil
        }
        return try row(&found)
    }

    static func get(_ id: PaymentID, _ db: Database) throws -> PaymentRow {
        guard let found = try find(id, db) else {
            throw StoreError(.notFound, "payment \(id)", advice: "See 'ecard payment list'")
        }
        return found
    }

    static func newest(of card: CardID?, limit: Int, _ db: Database) throws -> [Payment] {
        let filter = card == nil ? "" : "WHERE card = ?"
        let arguments: StatementArguments = card.map { [$0.rawValue, max(0, limit)] } ?? [max(0, limit)]
        return try db.all("\(select) \(filter) ORDER BY number DESC LIMIT ?", arguments, as: payment)
    }

    /// Authorized payments whose hold has ended, and payments left undecided for an hour.
    static func due(at time: Timestamp, limit: Int, _ db: Database) throws -> [PaymentID] {
        try db.all(
            """
            SELECT payment.id FROM hold JOIN payment ON payment.id = hold.payment
            WHERE hold.expires_at <= ?1 AND payment.state = 'authorized'
            UNION ALL SELECT id FROM payment WHERE state = 'attempted' AND attempted_at <= ?2 LIMIT ?3
            """, [time.milliseconds, time.adding(seconds: -3600).milliseconds, limit]
        ) { try $0.identifier() }
    }

    /// What every audit record of a payment says, so that the newest one vouches for the row.
    static func facts(_ payment: Payment) -> Facts {
        var facts: Facts = [
            "amount": .number(payment.amount.minorUnits), "captured": .number(payment.capturedMinorUnits),
            "currency": .text(payment.amount.currency.code), "merchant": .text(payment.merchant),
            "refunded": .number(payment.refundedMinorUnits), "state": .text(payment.state.rawValue),
        ]
        if let card = payment.card { facts = facts.and(["card": .text(card.rawValue)]) }
        if let response = payment.responseCode { facts = facts.and(["response": .text(response.rawValue)]) }
        let times = [
            ("confirmed", payment.confirmedAt), ("decided", payment.decidedAt), ("hold_ends", payment.holdExpiresAt),
        ]
        for case (let name, let time?) in times { facts = facts.and([name: .number(time.milliseconds)]) }
        return facts
    }

    static func spending(of card: CardID, until time: Timestamp, _ db: Database) throws -> Spending {
        var row = try db.first(
            """
            SELECT count(*), ifnull(sum(amount), 0) FROM payment
            WHERE card = ? AND response_code = '00' AND decided_at > ?
            """, [card.rawValue, time.adding(seconds: -86_400).milliseconds])
        return Spending(approvals: try row?.next() ?? 0, minorUnits: try row?.next() ?? 0)
    }
}

extension Payment {
    init(undecided attempt: PaymentAttempt) {
        self.init(
            id: attempt.id, idempotencyKey: attempt.idempotencyKey, channel: attempt.channel,
            merchant: attempt.merchant, amount: attempt.amount, card: nil, panMasked: attempt.panMasked,
            state: .attempted, responseCode: nil, reason: "", storedAnswer: [], capturedMinorUnits: 0,
            refundedMinorUnits: 0, createdAt: attempt.at, decidedAt: nil, confirmedAt: nil, holdExpiresAt: nil)
    }
}

extension Change {
    /// A new attempt's row, or the newest attempt in the row of one that a crash left undecided.
    func insert(
        _ payment: Payment, _ attempt: PaymentAttempt, _ scopes: FailureScopes?, codeVersion: Int?
    ) throws {
        try run(
            """
            INSERT INTO payment (id, idempotency_key, request_digest, digest_key, channel, merchant, amount, currency, card,
                pan_masked, state, created_at, attempted_at, card_scope, customer_scope, code_version)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (merchant, idempotency_key) DO UPDATE SET card = excluded.card,
                attempted_at = excluded.attempted_at, card_scope = excluded.card_scope,
                customer_scope = excluded.customer_scope, code_version = excluded.code_version
            """,
            [
                payment.id.rawValue, payment.idempotencyKey, blob(attempt.requestDigest), attempt.indexKeyVersion,
                payment.channel.rawValue,
                payment.merchant, payment.amount.minorUnits, payment.amount.currency.code, payment.card?.rawValue,
                payment.panMasked, payment.state.rawValue, payment.createdAt.milliseconds, attempt.at.milliseconds,
                scopes?.card, scopes?.customer, codeVersion,
            ])
    }

    /// Writes what the decision and what comes after it can change.
    func update(_ payment: Payment) throws {
        try run(
            """
            UPDATE payment SET state = ?, response_code = ?, reason = ?, answer = ?, captured = ?, refunded = ?,
                decided_at = ?, confirmed_at = ? WHERE id = ?
            """,
            [
                payment.state.rawValue, payment.responseCode?.rawValue, payment.reason, blob(payment.storedAnswer),
                payment.capturedMinorUnits, payment.refundedMinorUnits, payment.decidedAt?.milliseconds,
                payment.confirmedAt?.milliseconds, payment.id.rawValue,
            ])
    }

    /// The account behind a payment's card.
    func account(of payment: Payment) throws -> AccountID {
        guard let id = payment.card, let card = try CardTable.find(id, db) else {
            throw StoreError(.conflict, "payment \(payment.id) has no card of ours", advice: "It can only be declined")
        }
        return card.account
    }

    func openHold(_ minorUnits: Int64, for payment: PaymentID, on account: AccountID, until end: Timestamp) throws {
        try run(
            "INSERT INTO hold (payment, account, minor_units, expires_at) VALUES (?, ?, ?, ?)",
            [payment.rawValue, account.rawValue, minorUnits, end.milliseconds])
        try add(minorUnits, to: "held", of: account.rawValue)
    }

    func moveHold(of payment: inout Payment, to end: Timestamp) throws {
        try run("UPDATE hold SET expires_at = ? WHERE payment = ?", [end.milliseconds, payment.id.rawValue])
        payment.holdExpiresAt = end
    }

    func closeHold(of payment: inout Payment) throws {
        guard
            var row = try db.first("SELECT account, minor_units FROM hold WHERE payment = ?", [payment.id.rawValue])
        else {
            throw StoreError(.corrupt, "payment \(payment.id) has no hold", advice: "Run 'ecard ledger verify'")
        }
        let account: String = try row.next()
        let minorUnits: Int64 = try row.next()
        try run("DELETE FROM hold WHERE payment = ?", [payment.id.rawValue])
        payment.holdExpiresAt = nil
        try add(difference(0, minorUnits, of: "the hold"), to: "held", of: account)
    }
}
