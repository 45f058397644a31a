import GRDB
import PaymentPorts

/// What a decision reads of a card, in one statement: the card, its account and its newest code.
struct CardStanding {
    var card: Card?
    var account: Account?
    var code: CodeRecord?
    /// When the newest of the attempts was counted that this code still has undecided, but for the payment in hand. Only
    /// looked for where the code has no try left.
    var undecidedAt: Timestamp?

    /// Whether those that took the last tries may still turn out right.
    /// - Parameter lostAfter: seconds after which an undecided attempt counts as lost in a crash.
    func hasTriesOnTheirWay(at time: Timestamp, lostAfter: Int64) -> Bool {
        code?.state == .active && undecidedAt.map { $0.adding(seconds: lostAfter) > time } ?? false
    }

    /// Outer joins to a row of `card`; ``columns`` are what they bring.
    static let joins = """
        LEFT JOIN account ON account.id = card.account AND account.customer IS NOT NULL
        LEFT JOIN code ON code.card = card.id
            AND code.version = (SELECT max(version) FROM code AS newest WHERE newest.card = card.id)
        """

    /// - Parameter payment: SQL for the payment in hand.
    static func columns(besides payment: String) -> String {
        [
            qualified(CardTable.columns, by: "card"), qualified(AccountTable.columns, by: "account"),
            qualified(CodeTable.columns, by: "code"),
            """
            CASE WHEN code.failures >= code.failure_limit THEN (
                SELECT max(attempted_at) FROM payment AS other WHERE other.state = 'attempted'
                    AND other.card = code.card AND other.code_version = code.version AND other.id IS NOT \(payment)) END
            """,
        ].joined(separator: ", ")
    }

    init(_ row: inout RowReader) throws {
        card = try row.joined(CardTable.width, as: CardTable.card)
        account = try row.joined(AccountTable.width, as: AccountTable.account)
        code = try row.joined(CodeTable.width, as: CodeTable.code)
        undecidedAt = try row.optionalTime()
    }

    /// A card that is not ours.
    private init() {}

    private static let byPANIndex = "SELECT \(columns(besides: "NULL")) FROM card \(joins) WHERE card.pan_index"

    static func find(panIndices: [[UInt8]], _ db: Database) throws -> CardStanding {
        let places = panIndices.map { _ in "?" }.joined(separator: ", ")
        return try db.first("\(byPANIndex) IN (\(places))", panIndices) { try CardStanding(&$0) } ?? CardStanding()
    }
}
