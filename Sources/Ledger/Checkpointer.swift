import Dispatch
import GRDB
import GRDBSQLite
import Synchronization

/// Copies the write-ahead log into the file beside the payments, not inside one of them.
///
/// SQLite's own way (`wal_autocheckpoint`) lets the commit that fills the log do the copying: one payment in some hundred
/// then waits for thousands of pages, the one that writes more pages more often, and its time tells. Here a connection of
/// its own copies in passive rounds, which no commit waits for (sqlite.org/c3ref/wal_checkpoint_v2.html). While commits
/// go on no such round meets the log's end, without which the log is not begun anew; so when little is left the writer
/// copies that itself, between two groups. There it also waits for a copy that a slow disk holds up: the log stays small.
final class Checkpointer: Sendable {
    /// Pages in the log from which it is copied: 16 MiB. A page that changes often is copied once for all its changes.
    static let threshold = 4000
    /// Pages left over by a round that the writer may copy itself.
    static let small = 100
    /// Rounds until it is left to the writer, however much is left.
    static let rounds = 8
    /// Pages in the log at which the writer waits for the copy: on a slow disk the log would grow without end.
    static let limit = 2 * threshold

    private enum Phase { case idle, copying, lastPart }
    private struct State {
        var phase = Phase.idle
        /// In the log, as the last commit left it.
        var pages = 0
        var isWaitedFor = false
    }

    let connection: DatabaseQueue
    private let state = Mutex(State())
    private let queue = DispatchQueue(label: "ledger.checkpoint")

    init(_ connection: DatabaseQueue) { self.connection = connection }

    /// Whether the writer stands still until the log is copied.
    var isWaitedFor: Bool { state.withLock(\.isWaitedFor) }

    /// Waits for a round that runs.
    func close() throws { try connection.close() }

    /// Takes the place of SQLite's own checkpoints on the writer's connection.
    func watch(_ writer: Database) {
        // The writer's connection never outlives the ledger, which holds both.
        sqlite3_wal_hook(
            writer.sqliteConnection,
            { checkpointer, _, _, pages in
                if let checkpointer {
                    Unmanaged<Checkpointer>.fromOpaque(checkpointer).takeUnretainedValue().committed(pages: Int(pages))
                }
                return SQLITE_OK
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// After each commit, on the writer's thread.
    private func committed(pages: Int) {
        let begins = state.withLock { state in
            state.pages = pages
            guard pages >= Self.threshold, state.phase == .idle else { return false }
            state.phase = .copying
            return true
        }
        if begins { queue.async { self.copy() } }
    }

    private func copy() {
        var left = Int.max
        for _ in 0..<Self.rounds where left > Self.small {
            // What fails, because another process copies, is tried again by the writer.
            left = (try? connection.inDatabase { try Self.round(on: $0) }) ?? left
        }
        // Also where nothing is left: a transaction that began before goes on writing behind it.
        state.withLock { $0.phase = .lastPart }
    }

    /// Copies the log and leaves nothing in it, where nobody writes or reads at that moment; else the next call does, or the log
    /// is soon begun anew. Until then it has what a commit wiped from its page.
    func emptyLog() async {
        await withCheckedContinuation { done in
            queue.async {
                try? self.connection.inDatabase { db in
                    _ = try Self.round(on: db)
                    try db.execute(sql: "PRAGMA wal_checkpoint(TRUNCATE)")
                }
                done.resume()
            }
        }
    }

    /// Between two groups, on the writer's thread.
    func copyLastPart(on writer: Database) {
        let isOverfull = state.withLock { state in
            state.isWaitedFor = state.phase == .copying && state.pages >= Self.limit
            return state.isWaitedFor
        }
        if isOverfull { queue.sync {} }
        let isDue = state.withLock { state in
            state.isWaitedFor = false
            guard state.phase == .lastPart else { return false }
            state.phase = .idle
            return true
        }
        if isDue { _ = try? Self.round(on: writer) }
    }

    /// - Returns: how many pages of the log are not in the file yet.
    private static func round(on db: Database) throws -> Int {
        var log: CInt = 0
        var copied: CInt = 0
        let code = sqlite3_wal_checkpoint_v2(db.sqliteConnection, nil, SQLITE_CHECKPOINT_PASSIVE, &log, &copied)
        guard code == SQLITE_OK else { throw DatabaseError(resultCode: ResultCode(rawValue: code)) }
        return Int(log - copied)
    }
}
