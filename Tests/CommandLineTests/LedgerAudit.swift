import ECardTesting
import Foundation

/// `tools/ledger-audit`, which shares no code with the tool: what SQL and arithmetic of its own find in a ledger.
final class LedgerAuditor {
    struct Report: Decodable {
        struct Payment: Decodable, Equatable {
            let id: String
            let key: String
            let card: String?
            let state: String
            let response: String?
            let amount: Int64
            let captured: Int64
            let refunded: Int64
            let reason: String
            let channel: String
            /// When its chip confirmed it.
            let confirmed: Int64?

            /// Whether its holder is to get a receipt.
            var isTold: Bool { response == "00" && (channel != "chip" || confirmed != nil) }
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
        /// With a code that did not turn out right, everywhere, within the hour.
        let attempts: Int

        /// One receipt in the outbox of every payment that was approved, and of no other.
        func receiptFindings(in home: String) throws -> [String] {
            let wanted = Set(payments.filter(\.isTold).map { "receipt-\($0.id).json" })
            let found = Set(
                try FileManager.default.contentsOfDirectory(atPath: home + "/outbox").filter {
                    $0.hasPrefix("receipt-")
                })
            return wanted.subtracting(found).sorted().map { "outbox/\($0) is lost" }
                + found.subtracting(wanted).sorted().map { "outbox/\($0) is of no approval" }
        }
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
