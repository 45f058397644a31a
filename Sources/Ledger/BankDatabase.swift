import GRDB
public import PaymentPorts

/// The stores of a bank in one SQLite file: merchants, online payments, what is owed, and what is still to leave. It keeps the
/// rules of ``LedgerDatabase``: durable commits shared by whoever waits, each step with its sealed audit record.
public final class BankDatabase: Sendable {
    private let file: AuditedDatabase
    /// Told of each step that became durable here.
    let onStep: @Sendable (PaymentID, OnlinePayment.State, PaymentRole) -> Void
    public let bell = MessageBell()

    /// Opens the bank's books at `path`.
    /// - Parameters:
    ///   - sealer: MACs the audit records under the bank's own audit key; called inside transactions.
    ///   - create: makes a missing file (mode 0600) and its missing folders (mode 0700).
    ///   - onStep: told of each step of a payment that became durable here.
    /// - Throws: ``StoreError``, as ``LedgerDatabase/init(path:sealer:create:)``.
    public init(
        path: String, sealer: any AuditSealer, create: Bool,
        onStep: @escaping @Sendable (PaymentID, OnlinePayment.State, PaymentRole) -> Void = { _, _, _ in }
    ) throws(StoreError) {
        self.onStep = onStep
        file = try AuditedDatabase(path: path, schema: .bank, books: .bank, sealer: sealer, create: create)
    }

    /// Where the file is.
    public var path: String { file.path }
    var pool: DatabasePool { file.pool }

    /// Closes all connections; what was promised is on disk already. Later calls fail with `.unavailable`.
    public func close() throws { try file.close() }

    func write<Value: Sendable>(_ body: @escaping @Sendable (Change) throws -> Value) async throws -> Value {
        try await file.write(body)
    }

    func lookUp<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await file.lookUp(body)
    }

    func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await file.read(body)
    }
}

extension BankDatabase: AuditStore {
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
