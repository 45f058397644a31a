import CardData
import ECardTesting
import Foundation
import Glibc
import Ledger
import PaymentPorts
import Testing

@Suite("What was promised survives")
struct CrashTests {
    /// Power loss keeps a prefix of the write-ahead log: every prefix must be a whole ledger.
    @Test("Every prefix of the log, torn frames included, is a ledger that verifies")
    func tornLog() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger, funds: 1_000_00)
        try ledger.close()
        let reopened = try folder.ledger(create: false)
        let before = try await reopened.checkpoint().count
        try await everyStep(LedgerSample(reopening: sample, in: reopened))
        let after = try await reopened.checkpoint().count
        let file = try Data(contentsOf: URL(fileURLWithPath: folder.ledgerFile))
        let log = try Data(contentsOf: URL(fileURLWithPath: folder.ledgerFile + "-wal"))

        var counts: [Int64] = []
        // A header of 32 bytes, then frames of 24 + 4096 (sqlite.org/fileformat2.html, section 4.1): whole and torn.
        for length in stride(from: 0, through: log.count, by: 2_060).map({ min(log.count, $0 + 32) }) + [log.count] {
            let copy = try TemporaryFolder()
            try file.write(to: URL(fileURLWithPath: copy.ledgerFile))
            try log.prefix(length).write(to: URL(fileURLWithPath: copy.ledgerFile + "-wal"))
            let restored = try copy.ledger(create: false)
            #expect(try await restored.verify(since: nil) == [], "\(length) of \(log.count) bytes")
            counts.append(try await restored.checkpoint().count)
        }
        #expect(counts == counts.sorted())
        #expect(counts.first == before)
        #expect(counts.last == after)
        #expect(Set(counts).count > 10)
    }

    private func everyStep(_ sample: LedgerSample) async throws {
        let start = LedgerSample.start
        let end = start.adding(seconds: 60)
        let stores = sample.stores
        let first = try await sample.pay(20_00, atc: 1)
        _ = try await stores.refund(first.id, minorUnits: 5_00, idempotencyKey: "r", at: start)
        let held = try await sample.pay(30_00, capture: .later(expires: end), atc: 2)
        _ = try await stores.capture(held.id, minorUnits: 10_00, at: start)
        let voided = try await sample.pay(30_00, capture: .later(expires: end), atc: 3)
        _ = try await stores.release(voided.id, to: .voided, reason: "", at: start)
        _ = try await stores.release(first.id, to: .reversed, reason: "", at: start)
        _ = try await sample.pay(30_00, capture: .later(expires: end), atc: 4)
        _ = try await stores.expireHolds(at: end)
        for _ in 0..<3 { _ = try await sample.guessWrong() }
        try await stores.setState(.blocked, of: sample.card, from: [.active], isExposed: false, at: start)
    }

    @Test("A process killed in the middle: every answer it gave is there, and no half payment")
    func killed() async throws {
        let folder = try TemporaryFolder()
        let answers = folder.path + "/answers"
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [path = folder.ledgerFile as String, answers = answers as String] in
            let ledger = try LedgerDatabase(path: path, sealer: SoftwareAuditSealer(), create: true)
            let sample = try await LedgerSample(in: ledger, funds: 1_000_000)
            let descriptor = open(answers, O_WRONLY | O_CREAT | O_APPEND, 0o600)
            try await withThrowingTaskGroup { group in
                for number in 0..<400 {
                    group.addTask {
                        let payment = try await sample.pay(Int64(number % 7 + 1))
                        let line = Array("\(payment.id)\n".utf8)
                        guard write(descriptor, line, line.count) == line.count else { exit(EXIT_FAILURE) }
                        if number == 200 { kill(getpid(), SIGKILL) }
                    }
                }
                try await group.waitForAll()
            }
        }
        let answered = try String(contentsOfFile: answers, encoding: .utf8).split(separator: "\n").map(String.init)
        #expect(!answered.isEmpty)
        let ledger = try folder.ledger(create: false)
        #expect(try await ledger.verify(since: nil) == [])
        for id in answered {
            #expect(try await ledger.payment(PaymentID(rawValue: id))?.state == .captured)
        }
        let account = try #require(try await ledger.accounts().first)
        let captured = try await ledger.payments(of: nil, limit: 1_000).reduce(0) { $0 + $1.capturedMinorUnits }
        #expect(account.balance.minorUnits == 1_000_000 - captured)
    }
}
