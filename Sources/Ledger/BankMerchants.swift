import GRDB
public import PaymentPorts

extension BankDatabase: MerchantStore {
    public func add(_ merchant: Merchant) async throws {
        try await write { try $0.add(merchant) }
    }

    public func merchant(_ id: MerchantID) async throws -> Merchant? {
        try await lookUp { try MerchantTable.find(id, $0) }
    }

    public func merchants(limit: Int?) async throws -> [Merchant] {
        try await read { db in
            try db.newest(limit, "SELECT \(MerchantTable.columns) FROM merchant", as: MerchantTable.merchant)
        }
    }

    public func setState(
        _ new: Merchant.State, of merchant: MerchantID, by person: String, at time: Timestamp
    ) async throws {
        try await write { change in
            try requireText(person)
            _ = try MerchantTable.get(merchant, change.db)
            try change.run(
                "UPDATE merchant SET state = ?1, verified_by = iif(?1 = 'verified', ?2, verified_by) WHERE id = ?3",
                [new.rawValue, person, merchant.rawValue])
            try change.audit(
                .merchantState, merchant.rawValue, ["state": .text(new.rawValue), "by": .text(person)], at: time)
        }
    }

    public func addKey(
        _ digest: [UInt8], hint: String, of merchant: MerchantID, isLive: Bool, at time: Timestamp
    ) async throws {
        try await write { change in
            try requireText(hint)
            _ = try MerchantTable.get(merchant, change.db)
            try change.run(
                "INSERT INTO merchant_key (digest, hint, merchant, is_live, created_at) VALUES (?, ?, ?, ?, ?)",
                [digest, hint, merchant.rawValue, isLive, time.milliseconds])
            try change.audit(
                .merchantKeyAdded, hint, change.seal(.merchantKey, [hint]).and(["merchant": .text(merchant.rawValue)]),
                at: time)
        }
    }

    public func endKey(hint: String, of merchant: MerchantID, at time: Timestamp) async throws {
        try await write { change in
            try requireText(hint)
            try change.run(
                "UPDATE merchant_key SET ended_at = ? WHERE hint = ? AND merchant = ? AND ended_at IS NULL",
                [time.milliseconds, hint, merchant.rawValue])
            guard change.db.changesCount > 0 else {
                throw StoreError(
                    .notFound, "a key '\(hint)' in use of merchant \(merchant)", advice: "See 'ecard merchant show'")
            }
            try change.audit(.merchantKeyEnded, hint, ["merchant": .text(merchant.rawValue)], at: time)
        }
    }

    public func keys(of merchant: MerchantID) async throws -> [MerchantKey] {
        try await read { db in
            try db.all(
                """
                SELECT hint, is_live, created_at, ended_at FROM merchant_key WHERE merchant = ?
                ORDER BY created_at, hint
                """, [merchant.rawValue]
            ) { row in
                MerchantKey(
                    hint: try row.next(), isLive: try row.next(), createdAt: try row.time(),
                    endedAt: try row.optionalTime())
            }
        }
    }

    public func merchant(keyDigest: [UInt8]) async throws -> (merchant: Merchant, isLive: Bool)? {
        try await lookUp { db in
            try db.first(
                """
                SELECT \(qualified(MerchantTable.columns, by: "merchant")), merchant_key.is_live
                FROM merchant_key JOIN merchant ON merchant.id = merchant_key.merchant
                WHERE digest = ? AND ended_at IS NULL
                """, [keyDigest]
            ) { (merchant: try MerchantTable.merchant(&$0), isLive: try $0.next()) }
        }
    }
}

extension Change {
    fileprivate func add(_ merchant: Merchant) throws {
        try requireText(merchant.id.rawValue, merchant.name, merchant.registration, merchant.verifiedBy)
        let taken = try db.first(
            "SELECT id FROM merchant WHERE id = ? OR name = ? OR registration = ?",
            [merchant.id.rawValue, merchant.name, merchant.registration]
        ) { try $0.next(String.self) }
        if let taken {
            throw StoreError(
                .conflict, "merchant '\(merchant.name)': \(taken) has this name or registration number",
                advice: "See 'ecard merchant show \(taken)'")
        }
        try run(
            "INSERT INTO merchant (\(MerchantTable.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                merchant.id.rawValue, merchant.name, merchant.registration, merchant.country, merchant.state.rawValue,
                merchant.verifiedBy, merchant.createdAt.milliseconds, merchant.requiresSignatures,
            ])
        try audit(
            .merchantAdded, merchant.id.rawValue,
            seal(.merchant, [merchant.id.rawValue])
                .and(["name": .text(merchant.name), "state": .text(merchant.state.rawValue)])
                .and(merchant.country.map { ["country": .text($0)] } ?? [:]),
            at: merchant.createdAt)
    }
}

enum MerchantTable {
    static let columns = "id, name, registration, country, state, verified_by, created_at, requires_signatures"

    static func merchant(_ row: inout RowReader) throws -> Merchant {
        var merchant = Merchant(
            id: try row.identifier(), name: try row.next(), registration: try row.next(), country: try row.optional(),
            state: try row.state(), verifiedBy: try row.optional(), createdAt: try row.time())
        merchant.requiresSignatures = try row.next()
        return merchant
    }

    static func find(_ id: MerchantID, _ db: Database) throws -> Merchant? {
        try db.first("SELECT \(columns) FROM merchant WHERE id = ?", [id.rawValue], as: merchant)
    }

    static func get(_ id: MerchantID, _ db: Database) throws -> Merchant {
        guard let merchant = try find(id, db) else {
            throw StoreError(.notFound, "merchant \(id)", advice: "See 'ecard merchant list'")
        }
        return merchant
    }
}
