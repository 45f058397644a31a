import GRDB
public import PaymentPorts

/// The stores in one SQLite file: customers, accounts, cards, codes, payments, double entry and the audit chain.
///
/// - Every change is one SQLite transaction (WAL, `synchronous=FULL`) together with its sealed audit record; writers
///   that wait at the same time share one transaction and one sync (``GroupWriter``).
/// - Reads run on connections of their own and see what was committed when they began.
/// - Several processes may use one file; a writer waits up to ``busySeconds`` for another's transaction.
///
/// Text with a NUL character is refused: SQLite would cut it there. A task cancelled while it waits for its write does
/// not undo it; ask again with the same idempotency key.
public final class LedgerDatabase: Sendable {
    /// What this version reads and writes (`PRAGMA user_version`).
    public static let schemaVersion = Schema.version
    /// How long one process waits for another's transaction.
    public static let busySeconds = 10

    /// Where the file is.
    public let path: String
    /// The key versions in use when the file was opened. ``keyVersions()`` says what is true now.
    public let keyVersionsAtOpening: KeyVersions
    let sealer: any AuditSealer
    let pool: DatabasePool
    let writer: GroupWriter
    let checkpointer: Checkpointer

    /// Opens the ledger at `path`.
    /// - Parameters:
    ///   - sealer: MACs the audit records; called inside transactions.
    ///   - create: makes a missing file (mode 0600) and its missing folders (mode 0700). A file that is there is
    ///     opened and never emptied.
    /// - Throws: ``StoreError`` `.unavailable` (missing, not allowed, read-only, not a ledger of ours), `.tooNew`,
    ///   `.corrupt`; each with the path and what to do.
    public init(path: String, sealer: any AuditSealer, create: Bool) throws(StoreError) {
        self.path = path
        self.sealer = sealer
        do {
            try LedgerFile.prepare(path, create: create)
            try LedgerFile.inspect(path, create: create)
            pool = try LedgerFile.open(path)
            checkpointer = try Checkpointer(LedgerFile.openBeside(path))
            try pool.writeWithoutTransaction { [checkpointer] in checkpointer.watch($0) }
            keyVersionsAtOpening = try pool.read { try KeyVersionTable.all($0) }
        } catch {
            throw StoreError(opening: error, path: path)
        }
        writer = GroupWriter(pool, sealer, checkpointer)
    }

    /// Whether anything was ever written to the file at `path`. One that a crash left empty is made anew by `create`.
    /// - Throws: ``StoreError``, as opening does.
    public static func isThere(_ path: String) throws(StoreError) -> Bool {
        do { return try LedgerFile.holdsAnything(path) } catch { throw StoreError(opening: error, path: path) }
    }

    /// Closes all connections; what was promised is on disk already. Later calls fail with `.unavailable`.
    public func close() throws {
        do {
            // Leaves one whole file to copy; where another process reads or writes, the log stays and is as good.
            try? pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA wal_checkpoint(TRUNCATE)") }
            try checkpointer.close()
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

    /// Runs `body` on a snapshot of the committed data.
    func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        do {
            return try await pool.read(body)
        } catch {
            throw StoreError.from(error, path: path)
        }
    }
}

/// What one transaction changes: the connection, and the end of the chain that it extends.
struct Change {
    let db: Database
    let chain: ChainEnd

    func run(_ sql: String, _ values: [any SQLArgument] = []) throws { try db.run(sql, values) }
}
