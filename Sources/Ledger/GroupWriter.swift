import GRDB
import Synchronization

/// Group commit: all writes that wait share one durable transaction.
///
/// Callers queue a closure; the database's own serial queue takes all that wait, runs each in a savepoint of one
/// transaction, commits once, then resumes the callers. A closure that throws loses its savepoint only. An error of the
/// transaction itself (begin, commit, disk full) fails every one of the group. Nothing blocks the cooperative pool.
final class GroupWriter: Sendable {
    /// The most writes in one transaction: bounds how long the first of them waits.
    static let groupLimit = 256

    private struct Queue {
        var waiting: [any PendingWrite] = []
        var isDraining = false
    }

    private let queue = Mutex(Queue())
    private let pool: DatabasePool

    init(_ pool: DatabasePool) { self.pool = pool }

    /// How many writes wait for the next transaction.
    var waitingCount: Int { queue.withLock { $0.waiting.count } }

    /// Returns when the transaction that `body` ran in is durable.
    func write<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let job = QueuedWrite(body, continuation)
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
            if group.isEmpty { return }
            commit(group, on: db)
        }
    }

    private func commit(_ group: [any PendingWrite], on db: Database) {
        do {
            try db.beginTransaction(.immediate)
            for job in group {
                try db.inSavepoint { job.run(db) ? .commit : .rollback }
                // SQLite gives up the whole transaction by itself on some errors (disk full, I/O): then nothing that
                // the group wrote is there (sqlite.org/lang_transaction.html, "Response To Errors").
                if !db.isInsideTransaction {
                    throw job.failure ?? DatabaseError(resultCode: .SQLITE_ABORT, message: "transaction lost")
                }
            }
            try db.commit()
        } catch {
            try? db.rollback()
            for job in group { job.finish(failure: error) }
            return
        }
        for job in group { job.finish(failure: nil) }
    }
}

private protocol PendingWrite: AnyObject, Sendable {
    /// Why it failed, once it ran and did.
    var failure: (any Error)? { get }
    /// Runs the write; `false` when it threw and must be undone.
    func run(_ db: Database) -> Bool
    /// Resumes the caller with the write's own outcome, or with `failure` if the write had succeeded in vain.
    func finish(failure: (any Error)?)
}

/// `@unchecked`: after the queue handed it over, only the database's serial queue touches it.
private final class QueuedWrite<Value: Sendable>: PendingWrite, @unchecked Sendable {
    private let body: @Sendable (Database) throws -> Value
    private let continuation: CheckedContinuation<Value, any Error>
    private var outcome: Result<Value, any Error>?

    init(_ body: @escaping @Sendable (Database) throws -> Value, _ continuation: CheckedContinuation<Value, any Error>)
    {
        self.body = body
        self.continuation = continuation
    }

    var failure: (any Error)? {
        if case .failure(let error) = outcome { error } else { nil }
    }

    func run(_ db: Database) -> Bool {
        outcome = Result { try body(db) }
        return failure == nil
    }

    func finish(failure groupFailure: (any Error)?) {
        if let error = failure ?? groupFailure {
            continuation.resume(throwing: error)
        } else if case .success(let value) = outcome {
            continuation.resume(returning: value)
        } else {
            continuation.resume(throwing: DatabaseError(resultCode: .SQLITE_ABORT, message: "the write never ran"))
        }
    }
}
