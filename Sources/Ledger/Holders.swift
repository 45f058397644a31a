import CardData
import GRDB
public import PaymentPorts

/// Who is asked about a card's payments, and how.
struct Holder {
    let card: Card
    let customer: Customer
    let profiles: [CodeProfile]

    private static let columns = [
        qualified(CardTable.columns, by: "card"), qualified(CustomerTable.columns, by: "customer"), "card.profiles",
    ].joined(separator: ", ")
    private static let tables = """
        card JOIN account ON account.id = card.account JOIN customer ON customer.id = account.customer
        """

    private init(_ row: inout RowReader) throws {
        card = try CardTable.card(&row)
        customer = try CustomerTable.customer(&row)
        profiles = try row.text { CodeProfile.parse($0) }
    }

    static func find(card: CardID, _ db: Database) throws -> Holder? {
        try db.first("SELECT \(columns) FROM \(tables) WHERE card.id = ?", [card.rawValue], as: Holder.init)
    }

    /// A PAN that is not ours costs the reading of one that is: of the newest card's.
    static func find(panIndices: [[UInt8]], _ db: Database) throws -> Holder? {
        let places = panIndices.indices.map { "?\($0 + 1)" }.joined(separator: ", ")
        let sql = """
            SELECT card.pan_index IN (\(places)), \(columns) FROM \(tables) WHERE card.number = ifnull(
                (SELECT number FROM card AS ours WHERE ours.pan_index IN (\(places))), (SELECT max(number) FROM card))
            """
        return try db.first(sql, panIndices) { row in
            let isOurs: Bool = try row.next()
            // Nobody asked for that one: whether it is damaged does not matter here.
            return isOurs ? try Holder(&row) : try? nobody(&row)
        } ?? nil
    }

    private static func nobody(_ row: inout RowReader) throws -> Holder? {
        _ = try Holder(&row)
        return nil
    }

    /// Whether the holder can be asked about this payment: only then does it lead anywhere.
    func isReached(by new: NewAnnouncement) throws -> Bool {
        let today = CalendarDate(unixSeconds: new.at.milliseconds / 1000)
        return card.state == .active && card.expiry == new.expiry && card.expiry.isValid(on: today)
            && new.name.map { $0.matches(card.name) } ?? true && customer.phone != nil && !profiles.isEmpty
    }

    var route: HolderRoute {
        HolderRoute(
            phone: customer.phone, card: card.id, email: customer.email, language: customer.language,
            profiles: profiles, phoneSince: customer.phoneChangedAt ?? customer.createdAt)
    }
}

extension CodeProfile {
    /// A letter each, `AB`.
    static func parse(_ letters: String) -> [CodeProfile]? {
        let profiles = letters.compactMap { CodeProfile(rawValue: String($0)) }
        return profiles.count == letters.count && !profiles.isEmpty ? profiles : nil
    }
}

extension LedgerDatabase: HolderStore {
    public func holderCards(phone: String) async throws -> [HolderCard] {
        try await lookUp { db in
            try db.all(
                """
                SELECT card.id, card.pan_masked, card.state = 'active', customer.language FROM customer
                JOIN account ON account.customer = customer.id JOIN card ON card.account = account.id
                WHERE customer.phone = ? AND card.state IN ('active', 'blocked') ORDER BY card.number
                """, [phone]
            ) { row in
                HolderCard(
                    id: try row.identifier(), panMasked: try row.next(), isActive: try row.next(),
                    language: try row.next())
            }
        }
    }

    public func block(_ id: CardID, fromPhone phone: String, at time: Timestamp) async throws {
        try await write { change in
            guard let holder = try Holder.find(card: id, change.db), holder.customer.phone == phone else {
                throw StoreError(
                    .notFound, "card \(id) on this telephone",
                    advice: "The holder blocks a card from their own telephone")
            }
            guard holder.card.state != .blocked else { return }
            try change.setState(.blocked, of: id, from: [holder.card.state], isExposed: false, chip: nil, at: time)
        }
    }

    public func setLanguage(_ language: String, ofPhone phone: String, at time: Timestamp) async throws {
        try await write { change in
            let customers = try change.db.all("SELECT id FROM customer WHERE phone = ?", [phone]) {
                try $0.identifier(CustomerID.self)
            }
            for customer in customers { try change.setLanguage(language, of: customer, at: time) }
        }
    }

    public func setLanguage(_ language: String, of customer: CustomerID, at time: Timestamp) async throws {
        try await write { try $0.setLanguage(language, of: customer, at: time) }
    }

    public func profiles(of card: CardID) async throws -> [CodeProfile] {
        try await read { db in
            guard let holder = try Holder.find(card: card, db) else {
                throw StoreError(.notFound, "card \(card)", advice: "See 'ecard card list'")
            }
            return holder.profiles
        }
    }

    public func setProfiles(_ profiles: [CodeProfile], of card: CardID, at time: Timestamp) async throws {
        let letters = CodeProfile.allCases.filter(profiles.contains).map(\.rawValue).joined()
        guard !letters.isEmpty else {
            throw StoreError(.conflict, "a card without a way to take codes", advice: "Block the card instead")
        }
        try await write { change in
            guard try CardTable.find(card, change.db) != nil else {
                throw StoreError(.notFound, "card \(card)", advice: "See 'ecard card list'")
            }
            try change.run("UPDATE card SET profiles = ? WHERE id = ?", [letters, card.rawValue])
            try change.audit(.cardProfiles, card.rawValue, ["profiles": .text(letters)], at: time)
        }
    }
}

extension Change {
    fileprivate func setLanguage(_ language: String, of customer: CustomerID, at time: Timestamp) throws {
        guard language.utf8.count == 2, language.utf8.allSatisfy({ (0x61...0x7A).contains($0) }) else {
            throw StoreError(.conflict, "a language of two small letters is wanted", advice: "Such as en, fr or tw")
        }
        guard try CustomerTable.get(customer, db).language != language else { return }
        try run("UPDATE customer SET language = ? WHERE id = ?", [language, customer.rawValue])
        try audit(.customerLanguage, customer.rawValue, CustomerTable.facts(language: language), at: time)
    }
}
