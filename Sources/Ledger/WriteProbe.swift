import GRDB
import PaymentPorts
import Synchronization

/// Whether the file can be written now, for whoever asks again and again.
///
/// A durable write of anybody's vouches for the next ones: while payments are made nothing more is done. Else a transaction is
/// begun and given up, which finds another process's lock, and once a minute, or after a write that failed, one is committed,
/// which finds a full disk and a file system that can only be read. It writes what is there already (`PRAGMA user_version`).
final class WriteProbe: Sendable {
    /// How long a durable write vouches for everything, and for all but a lock.
    private static let vouches: (everything: Duration, room: Duration) = (.seconds(3), .seconds(60))
    /// Seconds that another's transaction is waited for.
    private static let patience = 1.0

    private struct State {
        var wroteAt: ContinuousClock.Instant?
        /// Whoever asks while one looks gets the same answer.
        var look: Task<Void, any Error>?
        var connection: DatabaseQueue?
    }
    private let path: String
    private let state = Mutex(State())

    init(_ path: String) { self.path = path }

    /// A transaction with something in it is durable.
    func wrote() { state.withLock { $0.wroteAt = .now } }

    /// One was not, and the database is why.
    func failed() { state.withLock { $0.wroteAt = nil } }

    /// Whether an error is the file's, the disk's or a lock's, and not of what was to be written.
    static func isFault(_ error: any Error) -> Bool {
        (error as? DatabaseError).map { $0.resultCode != .SQLITE_CONSTRAINT } ?? false
    }

    /// - Throws: what SQLite says against a write.
    func check() async throws {
        let look = state.withLock { state in
            if let look = state.look { return look }
            let look = Task {
                defer { self.state.withLock { $0.look = nil } }
                try await self.look()
            }
            state.look = look
            return look
        }
        try await look.value
    }

    /// Waits for a look that runs.
    func close() throws {
        let connection = state.withLock { state in
            defer { state.connection = nil }
            return state.connection
        }
        try connection?.close()
    }

    private func look() async throws {
        let age = state.withLock { $0.wroteAt.map { ContinuousClock.now - $0 } }
        if let age, age < Self.vouches.everything { return }
        let writes = age.map { $0 >= Self.vouches.room } ?? true
        do {
            try await opened().writeWithoutTransaction { try Self.tryTransaction(on: $0, writes: writes) }
        } catch {
            failed()
            throw error
        }
        if writes { wrote() }
    }

    private static func tryTransaction(on db: Database, writes: Bool) throws {
        try db.beginTransaction(.immediate)
        do {
            guard writes else { return try db.rollback() }
            let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
            try db.execute(sql: "PRAGMA user_version = \(version)")
            try db.commit()
        } catch {
            // SQLite may have given it up by itself.
            if db.isInsideTransaction { try? db.rollback() }
            throw error
        }
    }

    private func opened() throws -> DatabaseQueue {
        try state.withLock { state in
            if let connection = state.connection { return connection }
            let connection = try LedgerFile.openForProbe(path, patience: Self.patience)
            state.connection = connection
            return connection
        }
    }
}
