import GRDB
import PaymentPorts
import Synchronization

/// Group lookups: all that wait share one snapshot on one connection, as ``GroupWriter``'s writes share a commit.
///
/// To begin and to end a read costs several system calls and the loss of the connection's page cache when anything was
/// committed since: more than finding a few rows by their key. Whoever finds nobody reading reads at once, for itself and for
/// those who come meanwhile: the way to another thread would cost more than that, too. A lookup sees everything that was
/// committed before it was asked for. It must be short, since others wait behind it.
final class GroupReader: Sendable {
    private struct Lookup: Sendable {
        let run: @Sendable (Database) -> Void
        let fail: @Sendable (any Error) -> Void
    }

    private struct Queue {
        var waiting: [Lookup] = []
        var isDraining = false
    }

    private let queue = Mutex(Queue())
    private let connection: DatabaseQueue

    init(_ connection: DatabaseQueue) { self.connection = connection }

    /// Waits for the lookups that run.
    func close() throws { try connection.close() }

    func read<Value: Sendable>(_ body: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let lookup = Lookup(
                run: { db in continuation.resume(with: Result { try body(db) }) },
                fail: { continuation.resume(throwing: $0) })
            let mustStart = queue.withLock { queue in
                queue.waiting.append(lookup)
                defer { queue.isDraining = true }
                return !queue.isDraining
            }
            if mustStart { connection.inDatabase { self.drain($0) } }
        }
    }

    private func drain(_ db: Database) {
        while true {
            // Taken before the snapshot is: it is no older than any of them.
            let group = queue.withLock { queue in
                defer { queue.waiting.removeAll(keepingCapacity: true) }
                queue.isDraining = !queue.waiting.isEmpty
                return queue.waiting
            }
            if group.isEmpty { return }
            do {
                try db.begin(.deferred)
            } catch {
                for lookup in group { lookup.fail(error) }
                continue
            }
            for lookup in group { lookup.run(db) }
            // Nothing was written: however it ends, nothing is lost.
            do { try db.end() } catch { try? db.rollback() }
        }
    }
}
