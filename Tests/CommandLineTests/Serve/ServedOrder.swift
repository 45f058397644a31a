import ECardTesting
import Foundation

/// What one customer buys, and everything that shop and holder were told of it.
struct ServedOrder: Sendable {
    /// What shop and holder do.
    enum Plan: CaseIterable, Sendable {
        case pay, payAndRefund, capture, captureInPart, void, refuse, cancel, wrongCodeFirst, guess
    }
    /// A status of the merchant's that an answer has told, with the money that was moved by then.
    struct Told: Sendable {
        let status: String
        let captured: Int64
        let refunded: Int64

        /// Where a payment may be that somebody was told to be in a state.
        private static let later: [String: Set<String>] = [
            "authorized": ["authorized", "captured", "refunded", "voided", "expired"],
            "captured": ["captured", "refunded"],
            "refunded": ["refunded"], "voided": ["voided"], "declined": ["declined"], "denied": ["denied"],
            "cancelled": ["cancelled"], "expired": ["expired"],
        ]

        /// Whether the books say the same, or what may have come later.
        func isKept(by row: Row) -> Bool {
            Self.later[status]?.contains(row.state) != false && row.captured >= captured && row.refunded >= refunded
        }
    }

    /// Its `Idempotency-Key` and the merchant's reference.
    let key: String
    let plan: Plan
    let card: ServedBank.Card
    let minorUnits: Int64
    var id: String?
    /// What was answered to its making.
    var opening = ""
    var told: [Told] = []
    /// What the telephone showed at last, where that says how the payment stands.
    var shown: Shown?
    /// Screens that said that a code was wrong.
    var wrongCodes = 0

    /// Whether its prompt was answered once, however that ended.
    var isAnswered = false

    /// Whether it may still wait for an answer.
    var mayWait: Bool { told.last.map { ["pending", "processing"].contains($0.status) } ?? true }

    enum Shown: String, Sendable {
        case paid = "Paid", held = "Approved", refused = "You refused", declined = "Declined"
    }

    var body: String {
        let later = [.capture, .captureInPart, .void].contains(plan)
        return """
            {"amount": \(minorUnits), "currency": "ghs", "reference": "\(key)", "capture": "\(later ? "manual" : "automatic")", \
            "card": {"number": "\(card.pan)", "exp": "\(card.expiry)"}}
            """
    }

    // MARK: What the books must say

    struct Row: Decodable, Sendable {
        let id: String
        let reference: String?
        let state: String
        let amount: Int64
        let captured: Int64
        let refunded: Int64
        let attempts: Int
    }

    /// What of it is not as it was told.
    /// - Parameter rows: of the bank's books, by reference.
    func findings(in rows: [String: [Row]]) -> [String] {
        let mine = rows[key] ?? []
        guard let id else { return mine.count <= 1 ? [] : ["order \(key): \(mine.count) payments"] }
        guard mine.count == 1, let row = mine.first, row.id == id, row.amount == minorUnits else {
            return ["order \(key): \(id) was told, the books have \(mine.map(\.id))"]
        }
        var findings: [String] = []
        findings += told.filter { !$0.isKept(by: row) }.map { "order \(key): \($0) was told, the books have \(row)" }
        let isMoney = row.state == "captured" || row.state == "refunded"
        let isKept =
            switch shown {
            case .paid: isMoney && row.captured == minorUnits
            case .held: isMoney || ["authorized", "voided", "expired"].contains(row.state)
            case .refused: row.state == "denied" || row.state == "voided"
            case .declined: row.state == "declined"
            case nil: true
            }
        if !isKept {
            findings.append("order \(key): the telephone showed \(shown?.rawValue ?? ""), the books have \(row)")
        }
        return findings
    }
}
