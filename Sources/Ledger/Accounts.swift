public import CardData
import GRDB
public import PaymentPorts

extension LedgerDatabase: AccountStore {
    public func open(_ id: AccountID, for customer: CustomerID, currency: Currency, at time: Timestamp) async throws {
        try await write { try $0.open(id, for: customer, currency: currency, at: time) }
    }

    public func account(_ id: AccountID) async throws -> Account? {
        try await read { try AccountTable.find(id, $0) }
    }

    public func accounts(limit: Int?) async throws -> [Account] {
        try await read { db in
            try db.newest(
                limit, "SELECT \(AccountTable.columns) FROM account WHERE customer IS NOT NULL",
                as: AccountTable.account)
        }
    }

    public func deposit(
        _ amount: Money, to account: AccountID, idempotencyKey: String, at time: Timestamp
    ) async throws {
        try await write { try $0.deposit(amount, to: account, idempotencyKey: idempotencyKey, at: time) }
    }

    public func postings(of account: AccountID) async throws -> [Posting] {
        try await read { db in
            _ = try AccountTable.get(account, db)
            return try PostingTable.all(of: account.rawValue, db)
        }
    }
}

extension Change {
    func open(_ id: AccountID, for customer: CustomerID, currency: Currency, at time: Timestamp) throws {
        try requireText(id.rawValue)
        guard try CustomerTable.find(customer, db) != nil else {
            throw StoreError(.notFound, "customer \(customer)", advice: "See 'ecard customer list'")
        }
        guard try db.first("SELECT 1 FROM account WHERE id = ?", [id.rawValue], as: { _ in true }) == nil else {
            throw StoreError(.conflict, "account \(id)", advice: "It exists; use a new identifier")
        }
        try run(
            "INSERT INTO account (id, customer, currency, created_at) VALUES (?, ?, ?, ?)",
            [id.rawValue, customer.rawValue, currency.code, time.milliseconds])
        try audit(
            .accountOpened, id.rawValue,
            seal(.account, [id.rawValue])
                .and(["currency": .text(currency.code), "customer": .text(customer.rawValue)]), at: time)
    }

    func deposit(_ amount: Money, to account: AccountID, idempotencyKey: String, at time: Timestamp) throws {
        try requireText(idempotencyKey)
        let request = "\(account) \(amount.minorUnits) \(amount.currency.code)"
        if try isRepeat(.deposit, key: idempotencyKey, request: request) { return }
        let found = try AccountTable.get(account, db)
        guard found.balance.currency == amount.currency else {
            throw StoreError(
                .conflict, "deposit of \(amount.currency) to \(account)",
                advice: "The account is kept in \(found.balance.currency)")
        }
        let facts = try book(
            .deposit, amount.minorUnits, from: cashAccount(amount.currency, at: time), to: account.rawValue,
            key: idempotencyKey, request: request, at: time)
        try audit(.accountDeposited, account.rawValue, facts, at: time)
    }
}

enum AccountTable {
    static let columns = "id, customer, balance, currency, held, created_at"
    static let width = 6

    static func account(_ row: inout RowReader) throws -> Account {
        Account(
            id: try row.identifier(), customer: try row.identifier(),
            balance: Money(minorUnits: try row.next(), currency: try row.currency()), heldMinorUnits: try row.next(),
            createdAt: try row.time())
    }

    /// A customer's account; the issuer's own are not to be had this way.
    static func find(_ id: AccountID, _ db: Database) throws -> Account? {
        try db.first("SELECT \(columns) FROM account WHERE id = ? AND customer IS NOT NULL", [id.rawValue], as: account)
    }

    static func get(_ id: AccountID, _ db: Database) throws -> Account {
        try found(find(id, db), id)
    }

    static func found(_ account: Account?, _ id: AccountID) throws -> Account {
        guard let account else {
            throw StoreError(.notFound, "account \(id)", advice: "See 'ecard account list'")
        }
        return account
    }
}

enum PostingTable {
    /// Every line of an account, oldest first.
    static func all(of account: String, _ db: Database) throws -> [Posting] {
        try db.all(
            """
            SELECT entry.number, entry.kind, posting.minor_units, entry.payment, entry.at
            FROM posting JOIN entry ON entry.number = posting.entry
            WHERE posting.account = ? ORDER BY posting.entry
            """, [account]
        ) { row in
            Posting(
                entry: try row.next(), kind: try row.next(), minorUnits: try row.next(),
                payment: try row.optional(String.self).map(PaymentID.init), at: try row.time())
        }
    }
}
