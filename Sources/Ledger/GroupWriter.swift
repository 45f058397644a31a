import GRDB
import PaymentPorts
import Synchronization

/// Group commit: all writes that wait share one durable transaction.
///
/// Callers queue a closure; the database's own serial queue takes all that wait, runs them in one transaction, has all
/// their audit records sealed at once, commits once, then resumes the callers. When a closure throws, the transaction is
/// undone and all are run again, each in a savepoint of its own: one that throws loses its savepoint only. So a closure
/// changes nothing but the database. An error of the transaction itself (begin, seal, commit, disk full) fails every one
/// of the group. Nothing blocks the cooperative pool.
final class GroupWriter: Sendable {
    /// The most writes in one transaction: bounds how long the first of them waits.
    static let groupLimit = 256

    private struct Queue {
        var waiting: [any PendingWrite] = []
        var isDraining = false
    }

    private let queue = Mutex(Queue())
    private let pool: DatabasePool
    private let sealer: any AuditSealer
    private let checkpointer: Checkpointer
    private let probe: WriteProbe

    init(_ pool: DatabasePool, _ sealer: any AuditSealer, _ checkpointer: Checkpointer, _ probe: WriteProbe) {
        self.pool = pool
        self.sealer = sealer
        self.checkpointer = checkpointer
        self.probe = probe
    }

    /// How many writes wait for the next transaction.
    var waitingCount: Int { queue.withLock { $0.waiting.count } }

    /// Returns when the transaction that `body` ran in is durable.
    func write<Value: Sendable>(
        sweepingUntil sweep: Timestamp? = nil, _ body: @escaping @Sendable (Change) throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let job = QueuedWrite(body, sweep, continuation)
            let mustStart = queue.withLock { queue in
                queue.waiting.append(job)
                defer { queue.isDraining = true }
                return !queue.isDraining
            }
            if mustStart { pool.asyncWriteWithoutTransaction { self.drain($0) } }
        }
    }

    private func drain(_ db: Database) {
        while true {
            let group = queue.withLock { queue in
                let group = Array(queue.waiting.prefix(Self.groupLimit))
                queue.waiting.removeFirst(group.count)
                queue.isDraining = !group.isEmpty
                return group
            }
            checkpointer.copyLastPart(on: db)
            if group.isEmpty { return }
            commit(group, on: db)
        }
    }

    private func commit(_ group: [any PendingWrite], on db: Database) {
        do {
            if try !run(group, on: db, apart: false), group.count > 1 { _ = try run(group, on: db, apart: true) }
        } catch {
            try? db.rollback()
            // A seal that the HSM did not give says nothing of the file.
            if WriteProbe.isFault(error) { probe.failed() }
            for job in group { job.finish(failure: error) }
            return
        }
        if group.contains(where: { $0.failure.map(WriteProbe.isFault) ?? false }) { probe.failed() }
        for job in group { job.finish(failure: nil) }
    }

    /// One transaction.
    /// - Parameter apart: each write in a savepoint. Costs a copy of every page that is written.
    /// - Returns: `false` when a write threw that was not apart; then nothing is written.
    private func run(_ group: [any PendingWrite], on db: Database, apart: Bool) throws -> Bool {
        try db.begin(.immediate)
        let before = db.totalChangesCount
        let change = Change(db: db, chain: ChainEnd(db, sealer))
        let sweeps = group.compactMap(\.sweep)
        if let time = sweeps.max() { try change.sweep(until: time, for: sweeps.count) }
        for job in group {
            if apart {
                try runApart(job, change)
            } else if !job.run(change) {
                try db.rollback()
                return false
            }
        }
        try change.chain.seal()
        try db.end()
        if db.totalChangesCount > before { probe.wrote() }
        return true
    }

    private func runApart(_ job: any PendingWrite, _ change: Change) throws {
        let length = change.chain.length
        try change.db.inSavepoint {
            if job.run(change) { return .commit }
            change.chain.cut(to: length)
            return .rollback
        }
        // SQLite gives up the whole transaction by itself on some errors (disk full, I/O): then nothing that
        // the group wrote is there (sqlite.org/lang_transaction.html, "Response To Errors").
        if !change.db.isInsideTransaction {
            throw job.failure ?? DatabaseError(resultCode: .SQLITE_ABORT, message: "transaction lost")
        }
    }
}

private protocol PendingWrite: AnyObject, Sendable {
    /// Until when the write wants ended what has ended.
    var sweep: Timestamp? { get }
    /// Why it failed, once it ran and did.
    var failure: (any Error)? { get }
    /// Runs the write, perhaps for the second time; `false` when it threw and must be undone.
    func run(_ change: Change) -> Bool
    /// Resumes the caller with the write's own outcome, or with `failure` if the write had succeeded in vain.
    func finish(failure: (any Error)?)
}

/// `@unchecked`: after the queue handed it over, only the database's serial queue touches it.
private final class QueuedWrite<Value: Sendable>: PendingWrite, @unchecked Sendable {
    let sweep: Timestamp?
    private let body: @Sendable (Change) throws -> Value
    private let continuation: CheckedContinuation<Value, any Error>
    private var value: Value?
    private(set) var failure: (any Error)?

    init(
        _ body: @escaping @Sendable (Change) throws -> Value, _ sweep: Timestamp?,
        _ continuation: CheckedContinuation<Value, any Error>
    ) {
        self.body = body
        self.sweep = sweep
        self.continuation = continuation
    }

    func run(_ change: Change) -> Bool {
        (value, failure) = (nil, nil)
        do { value = try body(change) } catch { failure = error }
        return failure == nil
    }

    func finish(failure groupFailure: (any Error)?) {
        if let error = failure ?? groupFailure {
            continuation.resume(throwing: error)
        } else if let value {
            continuation.resume(returning: value)
        } else {
            continuation.resume(throwing: DatabaseError(resultCode: .SQLITE_ABORT, message: "the write never ran"))
        }
    }
}
