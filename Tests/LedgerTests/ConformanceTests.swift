import ECardTesting
import Ledger
import Testing

@Suite("The SQLite ledger does what any ledger must")
struct ConformanceTests {
    @Test(arguments: LedgerConformance.all)
    func conforms(_ test: LedgerConformance.Case) async throws {
        let folder = try TemporaryFolder()
        try await test.run(folder.ledger())
    }
}

@Suite("The bank's books in SQLite do what any bank's must")
struct BankConformanceTests {
    @Test(arguments: BankConformance.all)
    func conforms(_ test: BankConformance.Case) async throws {
        let folder = try TemporaryFolder()
        try await test.run(folder.bank())
    }
}
