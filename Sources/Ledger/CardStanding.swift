import GRDB
import PaymentPorts

/// What a decision reads of a card, in one statement: the card, its account and its newest code.
struct CardStanding {
    var card: Card?
    var account: Account?
    var code: CodeRecord?

    /// Outer joins to a row of `card`; ``columns`` are what they bring.
    static let joins = """
        LEFT JOIN account ON account.id = card.account AND account.customer IS NOT NULL
        LEFT JOIN code ON code.card = card.id
            AND code.version = (SELECT max(version) FROM code AS newest WHERE newest.card = card.id)
        """
    static let columns =
        [
            qualified(CardTable.columns, by: "card"), qualified(AccountTable.columns, by: "account"),
            qualified(CodeTable.columns, by: "code"),
        ].joined(separator: ", ")

    init(_ row: inout RowReader) throws {
        card = try row.joined(CardTable.width, as: CardTable.card)
        account = try row.joined(AccountTable.width, as: AccountTable.account)
        code = try row.joined(CodeTable.width, as: CodeTable.code)
    }

    /// A card that is not ours.
    private init() {}

    private static let byPANIndex = "SELECT \(columns) FROM card \(joins) WHERE card.pan_index"

    static func find(panIndices: [[UInt8]], _ db: Database) throws -> CardStanding {
        let places = panIndices.map { _ in "?" }.joined(separator: ", ")
        return try db.first("\(byPANIndex) IN (\(places))", panIndices) { try CardStanding(&$0) } ?? CardStanding()
    }
}
