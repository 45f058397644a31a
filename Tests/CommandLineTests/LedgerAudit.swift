import ECardTesting
import Foundation

/// `tools/ledger-audit`, which shares no code with the tool: what SQL and arithmetic of its own find in a ledger.
final class LedgerAuditor {
    struct Report: Decodable {
        struct Payment: Decodable {
            let id: String
            let key: String
            let card: String?
            let state: String
            let response: String?
            let amount: Int64
            let captured: Int64
            let refunded: Int64
            let reason: String
        }
        struct Code: Decodable {
            let card: String
            let version: Int
            let failures: Int
            let state: String
        }
        let findings: [String]
        let payments: [Payment]
        let codes: [Code]
        /// Of the audit chain.
        let records: Int
    }

    private let child: LineChild

    init() throws {
        child = try LineChild("/usr/bin/env", ["python3", Shell.package + "/tools/ledger-audit", "--lines"])
    }

    func report(on ledger: String) throws -> Report {
        try child.send(Data(ledger.utf8))
        guard let line = child.line() else { throw Shell.Failure("tools/ledger-audit ended: see its message above") }
        return try JSONDecoder().decode(Report.self, from: Data(line.utf8))
    }
}
