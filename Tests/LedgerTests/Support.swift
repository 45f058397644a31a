import ECardTesting
import Foundation
import Ledger
import Testing

extension TemporaryFolder {
    /// The ledger in this folder, made when missing.
    func ledger(create: Bool = true) throws -> LedgerDatabase {
        try LedgerDatabase(path: ledgerFile, sealer: SoftwareAuditSealer(), create: create)
    }

    /// The bank's books in this folder, made when missing.
    func bank(create: Bool = true) throws -> BankDatabase {
        try BankDatabase(path: path + "/bank.sqlite", sealer: SoftwareAuditSealer(), create: create)
    }

    var ledgerFile: String { path + "/ledger.sqlite" }
}
