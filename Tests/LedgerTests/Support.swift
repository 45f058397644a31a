import ECardTesting
import Foundation
import Ledger
import Testing

/// A folder that goes away with its owner.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/ecard-ledger-XXXXXX".utf8CString)
        path = String(cString: try #require(mkdtemp(&template)))
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The ledger in this folder, made when missing.
    func ledger(create: Bool = true) throws -> LedgerDatabase {
        try LedgerDatabase(path: file, sealer: SoftwareAuditSealer(), create: create)
    }

    /// The bank's books in this folder, made when missing.
    func bank(create: Bool = true) throws -> BankDatabase {
        try BankDatabase(path: path + "/bank.sqlite", sealer: SoftwareAuditSealer(), create: create)
    }

    var file: String { path + "/ledger.sqlite" }
}
