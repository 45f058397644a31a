import CardData
import GRDB
import PaymentPorts

/// What was booked, as ``Posting/kind`` names it.
enum EntryKind: String {
    case deposit, capture, refund, reversal, payout
}

/// Double entry: every entry has a line that gives and one that takes.
extension Change {
    /// Moves `minorUnits` (positive) from one account to another of the same currency.
    /// - Returns: the entry's number and lines, for the audit record: the chain vouches for the books.
    func book(
        _ kind: EntryKind, _ minorUnits: Int64, from giver: String, to taker: String, payment: PaymentID? = nil,
        key: String? = nil, request: String? = nil, at time: Timestamp
    ) throws -> Facts {
        guard minorUnits > 0 else {
            throw StoreError(.conflict, "\(kind.rawValue) of \(minorUnits)", advice: "The amount must be positive")
        }
        try run(
            "INSERT INTO entry (kind, payment, idempotency_key, request, at) VALUES (?, ?, ?, ?, ?)",
            [kind.rawValue, payment?.rawValue, key, request, time.milliseconds])
        let entry = db.lastInsertedRowID
        for (account, amount) in [(giver, -minorUnits), (taker, minorUnits)] {
            try run("INSERT INTO posting (entry, account, minor_units) VALUES (?, ?, ?)", [entry, account, amount])
            try add(amount, to: "balance", of: account)
        }
        return ["entry": .number(entry), "lines": .amounts([giver: -minorUnits, taker: minorUnits])]
    }

    /// Changes an account's `balance` or `held` and keeps it within 64 bits.
    func add(_ minorUnits: Int64, to column: String, of account: String) throws {
        // SQLite goes on in floating point where 64 bits do not hold a sum (sqlite.org/lang_expr.html).
        try run(
            """
            UPDATE account SET \(column) = \(column) + ?1 WHERE id = ?2 AND typeof(\(column) + ?1) = 'integer'
            """, [minorUnits, account])
        if db.changesCount > 0 { return }
        let value = try db.first("SELECT \(column) FROM account WHERE id = ?", [account]) { try $0.next(Int64.self) }
        guard let value else { throw StoreError(.notFound, "account \(account)", advice: "See 'ecard account list'") }
        _ = try sum(value, minorUnits, of: "the \(column) of \(account)")
    }

    /// Where money comes from that customers bring.
    func cashAccount(_ currency: Currency, at time: Timestamp) throws -> String {
        try ownAccount("cash:\(currency.code)", currency, at: time)
    }

    /// Where a merchant's money waits for settlement.
    func merchantAccount(_ merchant: String, _ currency: Currency, at time: Timestamp) throws -> String {
        try ownAccount("merchant:\(currency.code):\(merchant)", currency, at: time)
    }

    func ownAccount(_ id: String, _ currency: Currency, at time: Timestamp) throws -> String {
        try run(
            "INSERT INTO account (id, currency, created_at) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING",
            [id, currency.code, time.milliseconds])
        return id
    }

    /// Whether an entry with this key is there already.
    /// - Throws: ``StoreError`` `.keyReused` when the key was used for another request.
    func isRepeat(_ kind: EntryKind, key: String, request: String) throws -> Bool {
        let known = try db.first(
            "SELECT request FROM entry WHERE kind = ? AND idempotency_key = ?", [kind.rawValue, key]
        ) { try $0.next(String.self) }
        guard let known else { return false }
        guard known == request else {
            throw StoreError(.keyReused, "\(kind.rawValue) '\(key)'", advice: "Use a new key for a new request")
        }
        return true
    }
}
