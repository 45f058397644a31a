import ECardTesting
import GRDB
import PaymentPorts
import Testing

@testable import Ledger

@Suite("Counts of failed attempts last as long as a cap looks at them") struct FailureWindowTests {
    private func rows(_ ledger: LedgerDatabase) async throws -> Int {
        try await ledger.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM code_failure") ?? -1 }
    }

    @Test("a wrong guess is kept for an hour, and forgotten by a later payment")
    func forgotten() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        _ = try await sample.guessWrong()
        #expect(try await rows(ledger) == 4)
        let start = LedgerSample.start
        let within = try await sample.begin(sample.attempt(code: false, at: start.adding(seconds: 3540)))
        #expect(within.failures == FailureCounts(card: 1, customer: 1, merchant: 1, everywhere: 1))
        let after = try await sample.begin(sample.attempt(code: false, at: start.adding(seconds: 2 * 3600)))
        #expect(after.failures == FailureCounts(card: 0, customer: 0, merchant: 0, everywhere: 0))
        let oldest = try await ledger.read { try Int64.fetchOne($0, sql: "SELECT min(minute) FROM code_failure") }
        #expect(try #require(oldest) > FailureScopes.minute(start))
    }

    @Test("a right code leaves no count of its card and customer")
    func right() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        _ = try await sample.pay(1)
        let scopes = try await ledger.read {
            try String.fetchAll($0, sql: "SELECT scope FROM code_failure ORDER BY scope")
        }
        #expect(scopes == ["all", "merchant:\(LedgerSample.merchant)"])
        #expect(try await sample.begin(sample.attempt(code: false)).failures.everywhere == 0)
    }
}
