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

    /// As it is while no index key is being rotated: put together once, for it is asked at every payment.
    private static let byOneIndex = byIndices(1)

    private static func byIndices(_ count: Int) -> String {
        let places = (1...max(1, count)).map { "?\($0)" }.joined(separator: ", ")
        return """
            SELECT card.pan_index IN (\(places)), \(columns(besides: "NULL")) FROM card \(joins) WHERE card.number = ifnull(
                (SELECT number FROM card AS ours WHERE ours.pan_index IN (\(places))), (SELECT max(number) FROM card))
            """
    }

    private static let byCard = "SELECT \(columns(besides: "NULL")) FROM card \(joins) WHERE card.id = ?"

    static func find(card: CardID, _ db: Database) throws -> CardStanding {
        try db.first(byCard, [card.rawValue], as: CardStanding.init) ?? CardStanding()
    }

    /// A card that is not ours costs the reading of one that is: of the newest.
    static func find(panIndices: [[UInt8]], _ db: Database) throws -> CardStanding {
        let query = panIndices.count == 1 ? byOneIndex : byIndices(panIndices.count)
        return try db.first(query, panIndices) { row in
            if try row.next() { return try CardStanding(&row) }
            // Nobody asked for that one: whether it is damaged does not matter here.
            _ = try? CardStanding(&row)
            return CardStanding()
        } ?? CardStanding()
    }
}
