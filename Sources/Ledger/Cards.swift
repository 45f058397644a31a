import CardData
import GRDB
public import PaymentPorts

extension LedgerDatabase: CardStore {
    public func add(_ card: Card) async throws {
        try await write { try $0.add(card) }
    }

    public func card(_ id: CardID) async throws -> Card? {
        try await read { try CardTable.find(id, $0) }
    }

    public func card(panIndex: [UInt8]) async throws -> Card? {
        try await read { try CardTable.find(panIndex: panIndex, $0) }
    }

    public func cards() async throws -> [Card] {
        try await read { try $0.all("SELECT \(CardTable.columns) FROM card ORDER BY number", as: CardTable.card) }
    }

    public func setState(
        _ new: Card.State, of card: CardID, from states: Set<Card.State>, isExposed: Bool, at time: Timestamp
    ) async throws {
        try await write { change in
            guard var found = try CardTable.find(card, change.db) else {
                throw StoreError(.notFound, "card \(card)", advice: "See 'ecard card list'")
            }
            guard states.contains(found.state) else {
                throw StoreError(
                    .conflict, "card \(card) is \(found.state.rawValue)",
                    advice: "It must be \(states.map(\.rawValue).sorted().joined(separator: " or "))")
            }
            found.state = new
            found.isExposed = found.isExposed || isExposed
            try change.run(
                "UPDATE card SET state = ?, exposed = ? WHERE id = ?",
                [found.state.rawValue, found.isExposed, card.rawValue])
            try change.audit(CardTable.kind(of: new), card.rawValue, CardTable.facts(found), at: time)
        }
    }
}

extension Change {
    func add(_ card: Card) throws {
        try requireText(card.id.rawValue, card.panMasked, card.name.text, card.profile)
        _ = try AccountTable.get(card.account, db)
        guard try CardTable.find(card.id, db) == nil else {
            throw StoreError(.conflict, "card \(card.id)", advice: "It exists; use a new identifier")
        }
        if let other = try CardTable.find(panIndex: card.panIndex, db) {
            throw StoreError(.conflict, "card \(other.id) has this PAN", advice: "Draw another PAN")
        }
        try insert(card)
        try audit(
            .cardCreated, card.id.rawValue,
            CardTable.facts(card).and(seal(.card, [card.id.rawValue]))
                .and(["account": .text(card.account.rawValue)]), at: card.createdAt)
    }

    private func insert(_ card: Card) throws {
        try run(
            """
            INSERT INTO card (\(CardTable.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                card.id.rawValue, card.account.rawValue, blob(card.panIndex), blob(card.panSealed), card.panMasked,
                card.sequenceNumber, card.expiry.yymm, card.name.text, card.profile, card.state.rawValue,
                card.isExposed, card.lastVerifiedATC, card.createdAt.milliseconds,
            ])
    }
}

enum CardTable {
    static let columns = """
        id, account, pan_index, pan_sealed, pan_masked, sequence_number, expiry, name, profile, state, exposed, \
        last_atc, created_at
        """

    static func card(_ row: inout RowReader) throws -> Card {
        Card(
            id: try row.identifier(), account: try row.identifier(), panIndex: try row.bytes(),
            panSealed: try row.bytes(), panMasked: try row.next(), sequenceNumber: try row.next(),
            expiry: try row.text { try ExpiryDate(yymm: $0) }, name: try row.text { try CardholderName($0) },
            profile: try row.next(), state: try row.state(), isExposed: try row.next(),
            lastVerifiedATC: try row.optional(), createdAt: try row.time())
    }

    static func find(_ id: CardID, _ db: Database) throws -> Card? {
        guard var row = try db.first("SELECT \(columns) FROM card WHERE id = ?", [id.rawValue]) else { return nil }
        return try card(&row)
    }

    static func find(panIndex: [UInt8], _ db: Database) throws -> Card? {
        guard var row = try db.first("SELECT \(columns) FROM card WHERE pan_index = ?", [blob(panIndex)]) else {
            return nil
        }
        return try card(&row)
    }

    static func facts(_ card: Card) -> Facts {
        let facts: Facts = ["exposed": .flag(card.isExposed), "state": .text(card.state.rawValue)]
        return card.lastVerifiedATC.map { facts.and(["atc": .number(Int64($0))]) } ?? facts
    }

    static func kind(of state: Card.State) -> AuditKind {
        switch state {
        case .created: .cardCreated
        case .personalizing: .cardPersonalizing
        case .active: .cardActive
        case .blocked: .cardBlocked
        }
    }
}
