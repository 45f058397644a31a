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

    public func card(panIndices: [[UInt8]]) async throws -> Card? {
        try await read { try CardTable.find(panIndices: panIndices, $0) }
    }

    public func cards(limit: Int?) async throws -> [Card] {
        try await read { db in
            try db.newest(limit, "SELECT \(CardTable.columns) FROM card", as: CardTable.card)
        }
    }

    public func setState(
        _ new: Card.State, of card: CardID, from states: Set<Card.State>, isExposed: Bool, at time: Timestamp
    ) async throws {
        try await write { change in
            // A chip's keys are named where it gets them; who does not say means the first.
            try change.setState(
                new, of: card, from: states, isExposed: isExposed, chip: new == .personalizing ? ChipKeys() : nil,
                at: time)
        }
    }

    public func beginPersonalizing(_ card: CardID, under keys: ChipKeys, at time: Timestamp) async throws {
        try await write { change in
            try change.require(keys)
            try change.setState(
                .personalizing, of: card, from: [.created, .personalizing], isExposed: false, chip: keys, at: time)
        }
    }
}

extension Change {
    /// - Parameter chip: the master keys that the chip is to get; `nil`: as they are.
    func setState(
        _ new: Card.State, of card: CardID, from states: Set<Card.State>, isExposed: Bool, chip: ChipKeys?,
        at time: Timestamp
    ) throws {
        guard var found = try CardTable.find(card, db) else {
            throw StoreError(.notFound, "card \(card)", advice: "See 'ecard card list'")
        }
        guard states.contains(found.state) else {
            throw StoreError(
                .conflict, "card \(card) is \(found.state.rawValue)",
                advice: "It must be \(states.map(\.rawValue).sorted().joined(separator: " or "))")
        }
        found.state = new
        found.isExposed = found.isExposed || isExposed
        try run(
            "UPDATE card SET state = ?, exposed = ? WHERE id = ?",
            [found.state.rawValue, found.isExposed, card.rawValue])
        var facts = CardTable.facts(found)
        if let chip {
            try run(
                "UPDATE card SET imk_ac = ?, imk_smi = ?, imk_smc = ? WHERE id = ?",
                [chip.imkAC, chip.imkSMI, chip.imkSMC, card.rawValue])
            facts = facts.and([
                "imk_ac": .number(Int64(chip.imkAC)), "imk_smc": .number(Int64(chip.imkSMC)),
                "imk_smi": .number(Int64(chip.imkSMI)),
            ])
        }
        try audit(CardTable.kind(of: new), card.rawValue, facts, at: time)
    }

    fileprivate func require(_ keys: ChipKeys) throws {
        try require(keys.imkAC, of: .imkAC)
        try require(keys.imkSMI, of: .imkSMI)
        try require(keys.imkSMC, of: .imkSMC)
    }

    fileprivate func require(_ keys: CardKeys) throws {
        try require(keys.pan, of: .pan)
        try require(keys.panIndex, of: .panIndex)
        try require(keys.cvkSeed, of: .cvkSeed)
        if let chip = keys.chip { try require(chip) }
    }

    func add(_ card: Card) throws {
        try requireText(card.id.rawValue, card.panMasked, card.name.text, card.profile)
        _ = try AccountTable.get(card.account, db)
        guard try CardTable.find(card.id, db) == nil else {
            throw StoreError(.conflict, "card \(card.id)", advice: "It exists; use a new identifier")
        }
        try require(card.keys)
        if let other = try CardTable.find(panIndices: [card.panIndex], db) {
            throw StoreError(.conflict, "card \(other.id) has this PAN", advice: "Draw another PAN")
        }
        try insert(card)
        try audit(
            .cardCreated, card.id.rawValue,
            CardTable.facts(card).and(seal(.card, [card.id.rawValue])).and(CardTable.facts(card.keys))
                .and([
                    "account": .text(card.account.rawValue), "cvk_key": .number(Int64(card.keys.cvkSeed)),
                ]), at: card.createdAt)
    }

    private func insert(_ card: Card) throws {
        try run(
            """
            INSERT INTO card (\(CardTable.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                card.id.rawValue, card.account.rawValue, card.panIndex, card.panSealed, card.panMasked,
                card.sequenceNumber, card.expiry.yymm, card.name.text, card.profile, card.state.rawValue,
                card.isExposed, card.lastVerifiedATC, card.createdAt.milliseconds, card.keys.pan, card.keys.panIndex,
                card.keys.cvkSeed, card.keys.chip?.imkAC, card.keys.chip?.imkSMI, card.keys.chip?.imkSMC,
            ])
    }
}

enum CardTable {
    static let columns = """
        id, account, pan_index, pan_sealed, pan_masked, sequence_number, expiry, name, profile, state, exposed, \
        last_atc, created_at, pan_key, index_key, cvk_key, imk_ac, imk_smi, imk_smc
        """
    static let width = 19

    static func card(_ row: inout RowReader) throws -> Card {
        Card(
            id: try row.identifier(), account: try row.identifier(), panIndex: try row.bytes(),
            panSealed: try row.bytes(), panMasked: try row.next(), sequenceNumber: try row.next(),
            expiry: try row.text { try ExpiryDate(yymm: $0) }, name: try row.text { try CardholderName($0) },
            profile: try row.next(), state: try row.state(), isExposed: try row.next(),
            lastVerifiedATC: try row.optional(), createdAt: try row.time(), keys: try keys(&row))
    }

    private static func keys(_ row: inout RowReader) throws -> CardKeys {
        var keys = CardKeys(pan: try row.next(), panIndex: try row.next(), cvkSeed: try row.next())
        let (ac, smi, smc): (Int?, Int?, Int?) = (try row.optional(), try row.optional(), try row.optional())
        if let ac, let smi, let smc { keys.chip = ChipKeys(imkAC: ac, imkSMI: smi, imkSMC: smc) }
        return keys
    }

    static func find(_ id: CardID, _ db: Database) throws -> Card? {
        try db.first("SELECT \(columns) FROM card WHERE id = ?", [id.rawValue], as: card)
    }

    static func find(panIndices: [[UInt8]], _ db: Database) throws -> Card? {
        let places = panIndices.map { _ in "?" }.joined(separator: ", ")
        return try db.first("SELECT \(columns) FROM card WHERE pan_index IN (\(places))", panIndices, as: card)
    }

    /// What the PAN is sealed and indexed under, as the newest record with it tells.
    static func facts(_ keys: CardKeys) -> Facts {
        ["index_key": .number(Int64(keys.panIndex)), "pan_key": .number(Int64(keys.pan))]
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
