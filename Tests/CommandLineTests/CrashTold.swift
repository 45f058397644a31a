import Foundation

/// What commands said before power went, as JSON on their standard output.
struct Told: CustomStringConvertible {
    struct View: Decodable {
        let id: String
        let captured: String
        let refunded: String
    }
    struct Code: Decodable {
        let card: String
        let version: Int
        let deliveredTo: String?
    }

    var receipts: [Receipt] = []
    var views: [View] = []
    var codes: [Code] = []

    init(_ answers: [[UInt8]]) {
        for bytes in answers {
            if let receipt = try? JSONDecoder().decode(Receipt.self, from: Data(bytes)) {
                // The one that is shown twice is one.
                if !receipts.contains(where: { $0.payment == receipt.payment }) { receipts.append(receipt) }
            } else if let view = try? JSONDecoder().decode(View.self, from: Data(bytes)) {
                views.append(view)
            } else if let code = try? JSONDecoder().decode(Code.self, from: Data(bytes)) {
                codes.append(code)
            }
        }
    }

    var description: String { "\(receipts.count) receipts, \(views.count) payments shown, \(codes.count) codes" }

    /// What was told and is not in the ledger or the outbox.
    func missing(in report: LedgerAuditor.Report, _ folder: String) -> [String] {
        let rows = Dictionary(report.payments.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        var findings: [String] = []
        for receipt in receipts {
            let row = rows[receipt.payment ?? ""]
            let isMoney = ["authorized", "captured", "refunded"].contains(row?.state ?? "")
            if row?.response != receipt.responseCode || receipt.approved != isMoney
                || row.map({ Order.decimal($0.amount) }) != receipt.amount
            {
                findings.append("payment \(receipt.payment ?? "-"): \(receipt.responseCode) was told, lost")
            }
        }
        for view in views {
            let row = rows[view.id]
            if Order.decimal(row?.captured ?? 0) != view.captured
                || row.map({ $0.refunded < Self.minorUnits(view) }) != false
            {
                findings.append(
                    "payment \(view.id): captured \(view.captured), refunded \(view.refunded) was told, lost")
            }
        }
        for code in codes {
            if !report.codes.contains(where: { $0.card == code.card && $0.version == code.version }) {
                findings.append("code version \(code.version) was told, lost")
            }
            let message = "\(folder)/outbox/code-\(code.card)-\(code.version).json"
            if code.deliveredTo != nil, !FileManager.default.fileExists(atPath: message) {
                findings.append("code version \(code.version) was delivered, its message is lost")
            }
        }
        return findings
    }

    private static func minorUnits(_ view: View) -> Int64 { Int64(view.refunded.filter { $0 != "." }) ?? 0 }
}
