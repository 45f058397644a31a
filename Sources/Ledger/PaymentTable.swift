import CardData
import GRDB
import PaymentPorts

/// A payment's row: what the port shows and what the ledger keeps beside it.
struct PaymentRow {
    var payment: Payment
    let requestDigest: [UInt8]
    /// When the newest attempt was counted.
    let attemptedAt: Timestamp
    /// The card scope the attempt's code was counted under; `nil` when no code came.
    let failureScope: String?
    /// The code version whose failures were counted; `nil` when none was active.
    let codeVersion: Int?
}

enum PaymentTable {
    private static let select = """
        SELECT payment.id, idempotency_key, channel, merchant, amount, currency, card, pan_masked, state,
            response_code, reason, answer, captured, refunded, created_at, decided_at, hold.expires_at,
            request_digest, attempted_at, failure_scope, code_version
        FROM payment LEFT JOIN hold ON hold.payment = payment.id
        """

    private static func row(_ row: inout RowReader) throws -> PaymentRow {
        PaymentRow(
            payment: try payment(&row), requestDigest: try row.bytes(), attemptedAt: try row.time(),
            failureScope: try row.optional(), codeVersion: try row.optional())
    }

    private static func payment(_ row: inout RowReader) throws -> Payment {
        Payment(
            id: try row.identifier(), idempotencyKey: try row.next(), channel: try row.state(),
            merchant: try row.next(), amount: Money(minorUnits: try row.next(), currency: try row.currency()),
            card: try row.optional(String.self).map(CardID.init), panMasked: try row.next(), state: try row.state(),
            responseCode: try row.optional(String.self).map(ResponseCode.init), reason: try row.next(),
            storedAnswer: try row.bytes(), capturedMinorUnits: try row.next(), refundedMinorUnits: try row.next(),
            createdAt: try row.time(), decidedAt: try row.optionalTime(), holdExpiresAt: try row.optionalTime())
    }

    static func find(_ id: PaymentID, _ db: Database) throws -> PaymentRow? {
        guard var found = try db.first("\(select) WHERE payment.id = ?", [id.rawValue]) else { return nil }
        return try row(&found)
    }

    static func find(key: String, _ db: Database) throws -> PaymentRow? {
        guard var found = try db.first("\(select) WHERE idempotency_key = ?", [key]) else { return nil }
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

    /// What every audit record of a payment says, so that the newest one vouches for the row.
    static func facts(_ payment: Payment) -> Facts {
        [
            "amount": .number(payment.amount.minorUnits), "captured": .number(payment.capturedMinorUnits),
            "currency": .text(payment.amount.currency.code), "refunded": .number(payment.refundedMinorUnits),
            "state": .text(payment.state.rawValue),
        ]
    }
}

extension Payment {
    init(undecided attempt: PaymentAttempt, card: CardID?) {
        self.init(
            id: attempt.id, idempotencyKey: attempt.idempotencyKey, channel: attempt.channel,
            merchant: attempt.merchant, amount: attempt.amount, card: card, panMasked: attempt.panMasked,
            state: .attempted, responseCode: nil, reason: "", storedAnswer: [], capturedMinorUnits: 0,
            refundedMinorUnits: 0, createdAt: attempt.at, decidedAt: nil, holdExpiresAt: nil)
    }
}

extension Change {
    func insert(_ payment: Payment, _ requestDigest: [UInt8]) throws {
        try run(
            """
            INSERT INTO payment (id, idempotency_key, request_digest, channel, merchant, amount, currency, pan_masked,
                state, created_at, attempted_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                payment.id.rawValue, payment.idempotencyKey, blob(requestDigest), payment.channel.rawValue,
                payment.merchant, payment.amount.minorUnits, payment.amount.currency.code, payment.panMasked,
                payment.state.rawValue, payment.createdAt.milliseconds, payment.createdAt.milliseconds,
            ])
    }

    /// Writes what the decision and what comes after it can change.
    func update(_ payment: Payment) throws {
        try run(
            """
            UPDATE payment SET state = ?, response_code = ?, reason = ?, answer = ?, captured = ?, refunded = ?,
                decided_at = ? WHERE id = ?
            """,
            [
                payment.state.rawValue, payment.responseCode?.rawValue, payment.reason, blob(payment.storedAnswer),
                payment.capturedMinorUnits, payment.refundedMinorUnits, payment.decidedAt?.milliseconds,
                payment.id.rawValue,
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

    func closeHold(of payment: PaymentID) throws {
        guard
            var row = try db.first("SELECT account, minor_units FROM hold WHERE payment = ?", [payment.rawValue])
        else {
            throw StoreError(.corrupt, "payment \(payment) has no hold", advice: "Run 'ecard ledger verify'")
        }
        let account: String = try row.next()
        let minorUnits: Int64 = try row.next()
        try run("DELETE FROM hold WHERE payment = ?", [payment.rawValue])
        try add(difference(0, minorUnits, of: "the hold"), to: "held", of: account)
    }
}
