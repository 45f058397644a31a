public import CardData
import GRDB
public import PaymentPorts

extension BankDatabase: ActivityStore {
    public func counts(of windows: [ActivityWindow], at time: Timestamp) async throws -> [Int] {
        try await lookUp { db in try windows.map { try ActivityTable.count($0, until: time, db) } }
    }

    public func approvedAmounts(
        of card: CardID, in currency: Currency, isLive: Bool, limit: Int
    ) async throws -> [Int64] {
        try await lookUp { db in
            try db.all(
                """
                SELECT amount FROM payment WHERE card = ? AND currency = ? AND is_live = ?
                AND state IN ('authorized', 'captured', 'refunded') ORDER BY number DESC LIMIT ?
                """, [card.rawValue, currency.code, isLive, max(0, limit)]
            ) { try $0.next(Int64.self) }
        }.reversed()
    }

    public func paidAbroad(
        _ card: CardID, from country: String, since: Timestamp, isLive: Bool
    ) async throws -> Bool {
        try await lookUp { db in
            try db.first(
                """
                SELECT 1 FROM (
                    SELECT merchant, is_live, state, created_at FROM payment WHERE card = ? ORDER BY number DESC LIMIT 100
                ) AS lately JOIN merchant ON merchant.id = lately.merchant
                WHERE is_live = ? AND lately.state IN ('authorized', 'captured', 'refunded')
                AND lately.created_at >= ? AND country <> ? LIMIT 1
                """, [card.rawValue, isLive, since.milliseconds, country]
            ) { try $0.next(Int.self) } != nil
        }
    }
}

extension Change {
    func count(_ activities: [Activity], at time: Timestamp) throws {
        for activity in activities {
            try run(
                """
                INSERT INTO activity (scope, kind, minute, count) VALUES (?, ?, ?, 1)
                ON CONFLICT (scope, kind, minute) DO UPDATE SET count = count + 1
                """,
                [activity.scope.text, activity.kind.rawValue, FailureScopes.minute(time)])
        }
    }

    /// The first cap that its window has come to.
    func reached(_ caps: [ActivityCap], at time: Timestamp) throws -> ActivityCap? {
        try caps.first { try ActivityTable.count($0.window, until: time, db) >= $0.limit }
    }

    /// Deletes some of the counts that nothing looks at any more.
    func forgetActivity(before time: Timestamp) throws {
        try run(
            """
            DELETE FROM activity WHERE (scope, kind, minute) IN
                (SELECT scope, kind, minute FROM activity WHERE minute < ? ORDER BY minute LIMIT 16)
            """, [FailureScopes.minute(time.adding(seconds: -ActivityTable.keptSeconds))])
    }
}

enum ActivityTable {
    /// The longest window that can be asked for.
    static let keptSeconds: Int64 = 7 * 86_400

    static func count(_ window: ActivityWindow, until time: Timestamp, _ db: Database) throws -> Int {
        let last = FailureScopes.minute(time)
        return try db.first(
            "SELECT ifnull(sum(count), 0) FROM activity WHERE scope = ? AND kind = ? AND minute BETWEEN ? AND ?",
            [
                window.activity.scope.text, window.activity.kind.rawValue,
                FailureScopes.minute(time.adding(seconds: -window.seconds)), last,
            ]
        ) { try $0.next() } ?? 0
    }
}

extension Activity.Scope {
    fileprivate var text: String {
        switch self {
        case .card(let card): "card:\(card?.rawValue ?? "")"
        case .bin(let digits): "bin:\(digits)"
        case .phone(let phone): "phone:\(phone ?? "")"
        case .merchant(let merchant): "merchant:\(merchant)"
        case .everywhere: "everywhere"
        }
    }
}
