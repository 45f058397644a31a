import GRDB
import PaymentPorts

/// An SQLite file of ours with an audit chain in it: what the issuer's ledger and the bank's books have in common.
final class AuditedDatabase: Sendable {
    /// How long one process waits for another's transaction.
    static let busySeconds = 10

    let path: String
    let sealer: any AuditSealer
    let pool: DatabasePool
    let writer: GroupWriter
    private let reader: GroupReader
    private let books: BookRules
    let checkpointer: Checkpointer
    private let probe: WriteProbe

    /// - Throws: ``StoreError`` `.unavailable` (missing, not allowed, read-only, not a file of this schema), `.tooNew`,
    ///   `.corrupt`; each with the path and what to do.
    init(
        path: String, schema: Schema, books: BookRules, sealer: any AuditSealer, create: Bool
    ) throws(StoreError) {
        self.path = path
        self.sealer = sealer
        self.books = books
        do {
            try LedgerFile.prepare(path, schema, create: create)
            try LedgerFile.inspect(path, schema, create: create)
            pool = try LedgerFile.open(path, schema)
            reader = try GroupReader(LedgerFile.openForLookups(path))
            checkpointer = try Checkpointer(LedgerFile.openBeside(path))
            pool.writeWithoutTransaction { [checkpointer] in checkpointer.watch($0) }
        } catch {
            throw StoreError(opening: error, path: path)
        }
        probe = WriteProbe(path)
        writer = GroupWriter(pool, sealer, checkpointer, probe)
    }

    func emptyLog() async { await checkpointer.emptyLog() }

    func close() throws {
        do {
            // Leaves one whole file to copy; where another process reads or writes, the log stays and is as good.
            try? pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA wal_checkpoint(TRUNCATE)") }
            try probe.close()
            try checkpointer.close()
            try reader.close()
            try pool.close()
        } catch {
            throw StoreError.from(error, path: path)
        }
    }

    /// Runs `body` in a durable transaction shared with whoever else is writing.
    /// - Parameter sweep: what has ended by this time is ended in the same transaction, before anybody's write.
    func write<Value: Sendable>(
        sweepingUntil sweep: Timestamp? = nil, _ body: @escaping @Sendable (Change) throws -> Value
    ) async throws -> Value {
        do {
            return try await writer.write(sweepingUntil: sweep, body)
        } catch {
            throw StoreError.from(error, path: path)
        }
    }

    /// Finds a few rows by their key, on a snapshot of the committed data that is shared with whoever else looks.
    func lookUp<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do {
            return try await reader.read(body)
        } catch {
            throw StoreError.from(error, path: path)
        }
    }

    /// Runs `body` on a snapshot of the committed data, however long it takes.
    func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do {
            return try await pool.read(body)
        } catch {
            throw StoreError.from(error, path: path)
        }
    }
}

extension AuditedDatabase: AuditStore {
    func append(kind: String, subject: String, detail: String, at time: Timestamp) async throws {
        guard AuditKind(rawValue: kind) == nil else {
            throw StoreError(
                .conflict, "audit kind '\(kind)'", advice: "The ledger writes it itself; choose another kind")
        }
        try await write { try $0.audit(kind, subject, detail, at: time) }
    }

    func records(limit: Int?) async throws -> [AuditRecord] {
        try await read { db in
            try db.newest(limit, "SELECT \(AuditChain.columns) FROM audit", as: AuditChain.record)
        }
    }

    func records(kind: String, subject: String) async throws -> [AuditRecord] {
        try await read { db in
            try db.all(
                "SELECT \(AuditChain.columns) FROM audit WHERE kind = ? AND subject = ? ORDER BY number",
                [kind, subject], as: AuditChain.record)
        }
    }

    func checkpoint() async throws -> AuditCheckpoint {
        try await read { try AuditChain.head($0) }
    }

    func checkWritable() async throws {
        do {
            try await probe.check()
        } catch {
            throw StoreError.from(error, path: path)
        }
    }

    func verify(since checkpoint: AuditCheckpoint?) async throws -> [String] {
        try await read { [sealer, books] db in
            try Verification(db: db, sealer: sealer).run(books, since: checkpoint)
        }
    }
}

/// What one transaction changes: the connection, and the end of the chain that it extends.
struct Change {
    let db: Database
    let chain: ChainEnd

    func run(_ sql: String, _ values: [any SQLArgument] = []) throws { try db.run(sql, values) }
}
