import GRDB
public import PaymentPorts

/// The stores of an issuer in one SQLite file: customers, accounts, cards, codes, payments, double entry and the audit chain.
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
    public static let schemaVersion = Schema.issuer.version
    /// How long one process waits for another's transaction.
    public static let busySeconds = AuditedDatabase.busySeconds

    /// The key versions in use when the file was opened. ``keyVersions()`` says what is true now.
    public let keyVersionsAtOpening: KeyVersions
    private let file: AuditedDatabase
    public let bell = MessageBell()

    /// Opens the ledger at `path`.
    /// - Parameters:
    ///   - sealer: MACs the audit records; called inside transactions.
    ///   - create: makes a missing file (mode 0600) and its missing folders (mode 0700). A file that is there is
    ///     opened and never emptied.
    /// - Throws: ``StoreError`` `.unavailable` (missing, not allowed, read-only, not a ledger of ours), `.tooNew`,
    ///   `.corrupt`; each with the path and what to do.
    public init(path: String, sealer: any AuditSealer, create: Bool) throws(StoreError) {
        file = try AuditedDatabase(path: path, schema: .issuer, books: .issuer, sealer: sealer, create: create)
        do {
            keyVersionsAtOpening = try file.pool.read { try KeyVersionTable.all($0) }
        } catch {
            throw StoreError(opening: error, path: path)
        }
    }

    /// Where the file is.
    public var path: String { file.path }
    var pool: DatabasePool { file.pool }
    var writer: GroupWriter { file.writer }
    var checkpointer: Checkpointer { file.checkpointer }

    /// Whether anything was ever written to the file at `path`. One that a crash left empty is made anew by `create`.
    /// - Throws: ``StoreError``, as opening does.
    public static func isThere(_ path: String) throws(StoreError) -> Bool {
        do { return try LedgerFile.holdsAnything(path) } catch { throw StoreError(opening: error, path: path) }
    }

    /// Closes all connections; what was promised is on disk already. Later calls fail with `.unavailable`.
    public func close() throws { try file.close() }

    func write<Value: Sendable>(
        sweepingUntil sweep: Timestamp? = nil, _ body: @escaping @Sendable (Change) throws -> Value
    ) async throws -> Value {
        try await file.write(sweepingUntil: sweep, body)
    }

    func lookUp<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await file.lookUp(body)
    }

    func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await file.read(body)
    }
}

extension LedgerDatabase: AuditStore {
    public func append(kind: String, subject: String, detail: String, at time: Timestamp) async throws {
        try await file.append(kind: kind, subject: subject, detail: detail, at: time)
    }

    public func records(limit: Int?) async throws -> [AuditRecord] { try await file.records(limit: limit) }

    public func records(kind: String, subject: String) async throws -> [AuditRecord] {
        try await file.records(kind: kind, subject: subject)
    }

    public func checkpoint() async throws -> AuditCheckpoint { try await file.checkpoint() }

    public func checkWritable() async throws { try await file.checkWritable() }

    public func emptyLog() async { await file.emptyLog() }

    public func verify(since checkpoint: AuditCheckpoint?) async throws -> [String] {
        try await file.verify(since: checkpoint)
    }
}
