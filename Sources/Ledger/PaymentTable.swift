import CardData
import Foundation
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
    private static let columns = """
        payment.id, payment.idempotency_key, payment.channel, payment.merchant, payment.amount, payment.currency,
        payment.card, payment.pan_masked, payment.state, payment.response_code, payment.reason, payment.answer,
        payment.captured, payment.refunded, payment.created_at, payment.decided_at, payment.confirmed_at,
        hold.expires_at, payment.announcement, payment.try, payment.request_digest, payment.digest_key, payment.attempted_at, payment.card_scope,
        payment.customer_scope, payment.code_version
        """
    private static let select = "SELECT \(columns) FROM payment LEFT JOIN hold ON hold.payment = payment.id"
    private static let byID = "\(select) WHERE payment.id = ?"
    private static let byKey = "\(select) WHERE merchant = ? AND idempotency_key = ?"
    private static let withStanding = """
        SELECT \(columns), \(CardStanding.columns(besides: "payment.id"))
        FROM payment LEFT JOIN hold ON hold.payment = payment.id
        LEFT JOIN card ON card.id = payment.card \(CardStanding.joins) WHERE payment.id = ?
        """
    /// Those of a card stand in two indices: the decided, and the undecided of all cards.
    private static let newestOfCard = """
        SELECT \(columns) FROM (
            SELECT number FROM payment WHERE card = ?1 AND decided_at IS NOT NULL
            UNION ALL SELECT number FROM payment WHERE card = ?1 AND state = 'attempted' ORDER BY number DESC LIMIT ?2
        ) AS newest JOIN payment ON payment.number = newest.number LEFT JOIN hold ON hold.payment = payment.id
        ORDER BY payment.number DESC
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
            holdExpiresAt: try row.optionalTime(), announcement: try row.optional(String.self).map(PaymentID.init),
            attempt: try row.optional())
    }

    static func find(_ id: PaymentID, _ db: Database) throws -> PaymentRow? {
        try db.first(byID, [id.rawValue], as: row)
    }

    static func find(key: String, of merchant: String, _ db: Database) throws -> PaymentRow? {
        try db.first(byKey, [merchant, key], as: row)
    }

    static func get(_ id: PaymentID, _ db: Database) throws -> PaymentRow {
        try found(id, try find(id, db))
    }

    /// With the standing of its card.
    static func getWithStanding(_ id: PaymentID, _ db: Database) throws -> (payment: PaymentRow, standing: CardStanding)
    {
        try found(id, db.first(withStanding, [id.rawValue]) { (try row(&$0), try CardStanding(&$0)) })
    }

    private static func found<Value>(_ id: PaymentID, _ value: Value?) throws -> Value {
        guard let value else { throw StoreError(.notFound, "payment \(id)", advice: "See 'ecard payment list'") }
        return value
    }

    static func newest(of card: CardID?, limit: Int, _ db: Database) throws -> [Payment] {
        guard let card else {
            return try db.all("\(select) ORDER BY number DESC LIMIT ?", [max(0, limit)], as: payment)
        }
        return try db.all(newestOfCard, [card.rawValue, max(0, limit)], as: payment)
    }

    /// The newest decided try of an announcement.
    static func lastTry(of announcement: PaymentID, _ db: Database) throws -> Payment? {
        try db.first(
            "\(select) WHERE announcement = ? AND decided_at IS NOT NULL ORDER BY try DESC LIMIT 1",
            [announcement.rawValue], as: payment)
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
        facts["announcement"] = payment.announcement.map { .text($0.rawValue) }
        facts["try"] = payment.attempt.map { .number(Int64($0)) }
        facts["card"] = payment.card.map { .text($0.rawValue) }
        facts["response"] = payment.responseCode.map { .text($0.rawValue) }
        facts["confirmed"] = payment.confirmedAt.map { .number($0.milliseconds) }
        facts["decided"] = payment.decidedAt.map { .number($0.milliseconds) }
        facts["hold_ends"] = payment.holdExpiresAt.map { .number($0.milliseconds) }
        return facts
    }

    /// What a repeat is recognised by, and how the request came.
    static func requestDigest(_ payment: Payment, _ attempt: PaymentAttempt) -> String {
        RowDigest.of(
            payment.idempotencyKey.databaseValue, Data(attempt.requestDigest).databaseValue,
            attempt.indexKeyVersion.databaseValue, payment.channel.rawValue.databaseValue,
            payment.panMasked.databaseValue, payment.createdAt.milliseconds.databaseValue,
            (attempt.announced?.sealedDigest).map { Data($0) }.databaseValue)
    }

    static func spending(of card: CardID, until time: Timestamp, _ db: Database) throws -> Spending {
        try db.first(
            """
            SELECT count(*), ifnull(sum(amount), 0) FROM payment
            WHERE card = ? AND decided_at > ? AND response_code = '00'
            """, [card.rawValue, time.adding(seconds: -86_400).milliseconds]
        ) { Spending(approvals: try $0.next(), minorUnits: try $0.next()) } ?? Spending(approvals: 0, minorUnits: 0)
    }
}

extension Payment {
    init(undecided attempt: PaymentAttempt) {
        self.init(
            id: attempt.id, idempotencyKey: attempt.idempotencyKey, channel: attempt.channel,
            merchant: attempt.merchant, amount: attempt.amount, card: nil, panMasked: attempt.panMasked,
            state: .attempted, responseCode: nil, reason: "", storedAnswer: [], capturedMinorUnits: 0,
            refundedMinorUnits: 0, createdAt: attempt.at, decidedAt: nil, confirmedAt: nil, holdExpiresAt: nil,
            announcement: attempt.announced?.announcement, attempt: attempt.announced?.number)
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
                pan_masked, state, created_at, attempted_at, card_scope, customer_scope, code_version, announcement, try,
                sealed_digest)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (merchant, idempotency_key) DO UPDATE SET card = excluded.card,
                attempted_at = excluded.attempted_at, card_scope = excluded.card_scope,
                customer_scope = excluded.customer_scope, code_version = excluded.code_version
            """,
            [
                payment.id.rawValue, payment.idempotencyKey, attempt.requestDigest, attempt.indexKeyVersion,
                payment.channel.rawValue,
                payment.merchant, payment.amount.minorUnits, payment.amount.currency.code, payment.card?.rawValue,
                payment.panMasked, payment.state.rawValue, payment.createdAt.milliseconds, attempt.at.milliseconds,
                scopes?.card, scopes?.customer, codeVersion, payment.announcement?.rawValue, payment.attempt,
                attempt.announced?.sealedDigest,
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
                payment.state.rawValue, payment.responseCode?.rawValue, payment.reason, payment.storedAnswer,
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
        let hold = try db.first(
            "DELETE FROM hold WHERE payment = ? RETURNING account, minor_units", [payment.id.rawValue]
        ) { (account: try $0.next(String.self), minorUnits: try $0.next(Int64.self)) }
        guard let hold else {
            throw StoreError(.corrupt, "payment \(payment.id) has no hold", advice: "Run 'ecard ledger verify'")
        }
        payment.holdExpiresAt = nil
        try add(difference(0, hold.minorUnits, of: "the hold"), to: "held", of: hold.account)
    }
}
