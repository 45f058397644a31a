import ECardTesting
import Foundation
import GRDB
import PaymentPorts
import Synchronization
import Testing

@testable import Ledger

@Suite("Many at once")
struct ConcurrencyTests {
    @Test("Two payments at once, funds for one: one of them", arguments: [true, false])
    func fundsForOne(captureNow: Bool) async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let capture: PaymentDecision.Capture =
            captureNow ? .now : .later(expires: LedgerSample.start.adding(seconds: 60))
        for _ in 0..<100 {
            let sample = try await LedgerSample(in: ledger, funds: 30_00)
            async let one = outcome(sample, capture)
            async let other = outcome(sample, capture)
            #expect(try await [one, other].sorted() == ["committed", "insufficient"])
            let funds = try await sample.funds()
            #expect(funds[0] - funds[1] == 5_00)
        }
        #expect(try await ledger.verify(since: nil) == [])
    }

    @Test("Begun in one order, decided in either", arguments: [[0, 1], [1, 0]])
    func bothOrders(order: [Int]) async throws {
        let folder = try TemporaryFolder()
        let sample = try await LedgerSample(in: folder.ledger(), funds: 30_00)
        let begun = [
            try await sample.begin(sample.attempt()).payment, try await sample.begin(sample.attempt()).payment,
        ]
        guard case .committed = try await sample.stores.decide(sample.approval(of: begun[order[0]])),
            case .insufficientFunds = try await sample.stores.decide(sample.approval(of: begun[order[1]]))
        else {
            Issue.record("the first decided must have the money")
            return
        }
    }

    @Test("The log is begun anew while writers never rest")
    func logIsCopied() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        try await fillLog(of: ledger, pages: 4 * Checkpointer.threshold)
        // And what one group wrote after the last look.
        #expect(try logPages(of: folder) < Checkpointer.limit + 100)
        #expect(try await ledger.verify(since: nil) == [])
    }

    @Test("The writer waits for a copy that is held up")
    func logIsWaitedFor() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let gate = DispatchSemaphore(value: 0)
        ledger.checkpointer.connection.asyncWriteWithoutTransaction { _ in gate.wait() }
        let isDone = Mutex(false)
        let writes = Task {
            defer { isDone.withLock { $0 = true } }
            try await fillLog(of: ledger, pages: 2 * Checkpointer.limit)
        }
        while !ledger.checkpointer.isWaitedFor, !isDone.withLock(\.self) {
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(ledger.checkpointer.isWaitedFor, "every write was taken, and nothing was copied")
        #expect(try (Checkpointer.limit..<Checkpointer.limit + 100).contains(logPages(of: folder)))
        gate.signal()
        try await writes.value
        #expect(!ledger.checkpointer.isWaitedFor)
        #expect(try logPages(of: folder) < Checkpointer.limit + 100)
        #expect(try await ledger.verify(since: nil) == [])
    }

    /// Four writers at once; every record takes four pages.
    private func fillLog(of ledger: LedgerDatabase, pages: Int) async throws {
        let writers = 4
        let commits = pages / 4 / writers
        let detail = "{\"text\":\"\(String(repeating: "x", count: 16_000))\"}"
        try await withThrowingTaskGroup { group in
            for writer in 0..<writers {
                group.addTask {
                    for number in 0..<commits {
                        try await ledger.append(
                            kind: "test", subject: "\(writer).\(number)", detail: detail, at: LedgerSample.start)
                    }
                }
            }
            try await group.waitForAll()
        }
        let written = try #require(try await ledger.records(limit: nil).last?.number)
        #expect(written == Int64(writers * commits))
    }

    private func logPages(of folder: TemporaryFolder) throws -> Int {
        let bytes = try FileManager.default.attributesOfItem(atPath: folder.ledgerFile + "-wal")[.size] as? Int
        return try #require(bytes) / 4120
    }

    private func outcome(_ sample: LedgerSample, _ capture: PaymentDecision.Capture) async throws -> String {
        let snapshot = try await sample.begin(sample.attempt(code: false))
        return switch try await sample.stores.decide(sample.approval(of: snapshot.payment, capture: capture)) {
        case .committed: "committed"
        case .insufficientFunds: "insufficient"
        case .staleATC, .limitExceeded, .cardNotActive, .codeNotActive, .announcementEnded: "another reason"
        }
    }

    @Test("Fifty wrong guesses at once: exactly as many are checked as the limit allows", arguments: [1, 3, 10])
    func wrongGuesses(limit: Int) async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger, failureLimit: limit)
        let checked = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<50 { group.addTask { try await sample.guessWrong()?.state == .active } }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(checked == limit)
        #expect(try await ledger.code(of: sample.card)?.state == .locked)
        #expect(try await ledger.verify(since: nil) == [])
    }

    @Test("The same request fifty times at once moves money once")
    func sameRequest() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        let begun = try await withThrowingTaskGroup(of: PaymentID?.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    do {
                        switch try await ledger.begin(sample.attempt(key: "k")) {
                        case .alreadyDecided, .keysChanged: return nil
                        case .proceed(let snapshot):
                            _ = try await ledger.decide(sample.approval(of: snapshot.payment))
                            return snapshot.payment
                        }
                    } catch let error as StoreError where error.kind == .conflict {
                        // In progress: repeat later.
                        return nil
                    }
                }
            }
            return try await group.reduce(into: [PaymentID]()) { if let id = $1 { $0.append(id) } }
        }
        #expect(begun.count == 1)
        guard case .alreadyDecided(let payment) = try await ledger.begin(sample.attempt(key: "k")) else {
            Issue.record("decided, and yet begun again")
            return
        }
        #expect(payment.id == begun.first)
        #expect(try await ledger.code(of: sample.card)?.failures == 0)
        #expect(try await sample.funds() == [75_00, 0])
        #expect(try await ledger.verify(since: nil) == [])
    }

    @Test("Two openings of one file keep one chain and one set of books")
    func twoOpenings() async throws {
        let folder = try TemporaryFolder()
        let ledgers = [try folder.ledger(), try folder.ledger()]
        // As many in flight at once as one code has tries.
        let samples = [
            try await LedgerSample(in: ledgers[0], failureLimit: 40),
            try await LedgerSample(in: ledgers[1], failureLimit: 40),
        ]
        try await withThrowingTaskGroup { group in
            for count in 0..<40 { group.addTask { _ = try await samples[count % 2].pay(1_00) } }
            try await group.waitForAll()
        }
        for ledger in ledgers { #expect(try await ledger.verify(since: nil) == []) }
        for sample in samples { #expect(try await sample.funds() == [80_00, 0]) }
    }
}

@Suite("Writes that wait share one transaction")
struct GroupCommitTests {
    private struct Refusal: Error {}

    /// Queues `writes` while the database is busy, then lets them go.
    private func together(
        _ ledger: LedgerDatabase, _ writes: [@Sendable (Change) throws -> Void]
    ) async throws -> [Result<Void, any Error>] {
        let gate = DispatchSemaphore(value: 0)
        ledger.pool.asyncWriteWithoutTransaction { _ in gate.wait() }
        return await withTaskGroup(of: (Int, Result<Void, any Error>).self) { group in
            for (index, write) in writes.enumerated() {
                group.addTask {
                    do { return (index, .success(try await ledger.write(write))) } catch {
                        return (index, .failure(error))
                    }
                }
            }
            while ledger.writer.waitingCount < writes.count { await Task.yield() }
            gate.signal()
            return await group.reduce(into: Array(repeating: .success(()), count: writes.count)) { $0[$1.0] = $1.1 }
        }
    }

    private func note(_ change: Change, _ text: String) throws {
        try change.audit("note", text, "{}", at: LedgerSample.start)
    }

    @Test("One commit for all; a write that throws is undone alone")
    func oneCommit() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let commits = CommitCounter()
        ledger.pool.add(transactionObserver: commits)
        let results = try await together(
            ledger,
            (0..<100).map { number in
                { change in
                    try note(change, "\(number)")
                    if number % 10 == 3 { throw Refusal() }
                }
            })
        #expect(commits.count.withLock { $0 } == 1)
        for (number, result) in results.enumerated() {
            #expect((try? result.get()) != nil || number % 10 == 3)
            if number % 10 == 3 { #expect(throws: Refusal.self) { try result.get() } }
        }
        let kept = Set(try await ledger.records(limit: nil).map(\.subject))
        #expect(kept == Set((0..<100).filter { $0 % 10 != 3 }.map(String.init)))
        #expect(try await ledger.verify(since: nil) == [])
    }

    @Test("A commit that fails fails everyone, and the next one works")
    func failedCommit() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let commits = CommitCounter(failing: Refusal())
        ledger.pool.add(transactionObserver: commits)
        let results = try await together(ledger, (0..<10).map { number in { try note($0, "\(number)") } })
        for result in results { #expect(throws: Refusal.self) { try result.get() } }
        ledger.pool.remove(transactionObserver: commits)
        #expect(try await ledger.checkpoint().count == 0)
        try await ledger.append(kind: "note", subject: "after", detail: "{}", at: LedgerSample.start)
        #expect(try await ledger.checkpoint().count == 1)
    }

    @Test("A full disk fails the write, says so, and leaves a whole ledger")
    func fullDisk() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        try await ledger.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = 1") }
        let error = await #expect(throws: StoreError.self) {
            for _ in 0..<200 { _ = try await sample.pay(1) }
        }
        #expect(error?.kind == .unavailable)
        #expect(error?.advice.contains("make room") == true)
        try await ledger.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = 1000000") }
        _ = try await sample.pay(1)
        #expect(try await ledger.verify(since: nil) == [])
    }

    @Test("Without a seal nothing is written")
    func noSeal() async throws {
        struct Broken: AuditSealer {
            func seal(_ record: [UInt8], keyVersion: Int) throws -> [UInt8] { throw Refusal() }
            func verify(_ seal: [UInt8], of record: [UInt8], keyVersion: Int) throws -> Bool { throw Refusal() }
        }
        let folder = try TemporaryFolder()
        let sample = try await LedgerSample(in: folder.ledger())
        let broken = try LedgerDatabase(path: folder.ledgerFile, sealer: Broken(), create: false)
        await #expect(throws: Refusal.self) { _ = try await broken.begin(sample.attempt()) }
        #expect(try await broken.payments(of: nil, limit: 10) == [])
        #expect(try await broken.code(of: sample.card)?.failures == 0)
    }

    @Test("Commits wait for the disk")
    func synchronous() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let settings = try await ledger.pool.writeWithoutTransaction { db in
            try ["synchronous", "foreign_keys", "trusted_schema"].map {
                try Int.fetchOne(db, sql: "PRAGMA \($0)")
            }
        }
        #expect(settings == [2, 1, 0])
        #expect(try await ledger.read { try String.fetchOne($0, sql: "PRAGMA journal_mode") } == "wal")
    }
}

/// Counts commits, or makes each of them fail.
private final class CommitCounter: TransactionObserver, Sendable {
    let count = Mutex(0)
    private let failure: (any Error)?

    init(failing failure: (any Error)? = nil) { self.failure = failure }

    func observes(eventsOfKind eventKind: DatabaseEventKind) -> Bool { false }
    func databaseDidChange(with event: DatabaseEvent) {}
    func databaseWillCommit() throws { if let failure { throw failure } }
    func databaseDidCommit(_ db: Database) { count.withLock { $0 += 1 } }
    func databaseDidRollback(_ db: Database) {}
}
