import GRDB
public import PaymentPorts

extension BankDatabase {
    public func add(_ key: MerchantSigningKey) async throws {
        try await write { change in
            try requireText(key.id)
            _ = try MerchantTable.get(key.merchant, change.db)
            let owner = try change.db.first("SELECT merchant FROM signing_key WHERE id = ?", [key.id]) {
                try $0.next(String.self)
            }
            if let owner {
                throw StoreError(
                    .conflict, "signing key \(key.id): merchant \(owner) has or had it",
                    advice: "Each key is one merchant's, for one mode, once: have the merchant make another")
            }
            try change.run(
                "INSERT INTO signing_key (\(SigningKeyTable.sealed)) VALUES (?, ?, ?, ?, ?)",
                [key.id, key.merchant.rawValue, key.isLive, key.point, key.createdAt.milliseconds])
            try change.audit(
                .signingKeyAdded, key.id,
                change.seal(.signingKey, [key.id])
                    .and(["merchant": .text(key.merchant.rawValue), "live": .flag(key.isLive)]),
                at: key.createdAt)
        }
    }

    public func endSigningKey(_ id: String, of merchant: MerchantID, at time: Timestamp) async throws {
        try await write { change in
            try requireText(id)
            try change.run(
                "UPDATE signing_key SET ended_at = ? WHERE id = ? AND merchant = ? AND ended_at IS NULL",
                [time.milliseconds, id, merchant.rawValue])
            guard change.db.changesCount > 0 else {
                throw StoreError(
                    .notFound, "a signing key '\(id)' in use of merchant \(merchant)",
                    advice: "See 'ecard merchant signing-key list \(merchant)'")
            }
            try change.audit(.signingKeyEnded, id, ["merchant": .text(merchant.rawValue)], at: time)
        }
    }

    public func signingKeys(of merchant: MerchantID) async throws -> [MerchantSigningKey] {
        try await read { db in
            try db.all(
                "\(SigningKeyTable.select) WHERE merchant = ? ORDER BY created_at, id", [merchant.rawValue],
                as: SigningKeyTable.key)
        }
    }

    public func signingKey(_ id: String) async throws -> MerchantSigningKey? {
        try await lookUp { db in
            try db.first("\(SigningKeyTable.select) WHERE id = ? AND ended_at IS NULL", [id], as: SigningKeyTable.key)
        }
    }

    public func requireSignatures(
        _ isRequired: Bool, of merchant: MerchantID, by person: String, at time: Timestamp
    ) async throws {
        try await write { change in
            try requireText(person)
            _ = try MerchantTable.get(merchant, change.db)
            let keys = try change.db.first(
                "SELECT count(*) FROM signing_key WHERE merchant = ? AND ended_at IS NULL", [merchant.rawValue]
            ) { try $0.next(Int.self) }
            guard !isRequired || keys != 0 else {
                throw StoreError(
                    .conflict, "merchant \(merchant) has no key to sign with, so nothing that it asks would be done",
                    advice: "Run 'ecard merchant signing-key add' first")
            }
            try change.run(
                "UPDATE merchant SET requires_signatures = ? WHERE id = ?", [isRequired, merchant.rawValue])
            try change.audit(
                .merchantSignatures, merchant.rawValue, ["required": .flag(isRequired), "by": .text(person)], at: time)
        }
    }
}

private enum SigningKeyTable {
    /// What never changes.
    static let sealed = "id, merchant, is_live, point, created_at"
    static let select = "SELECT \(sealed), ended_at FROM signing_key"

    static func key(_ row: inout RowReader) throws -> MerchantSigningKey {
        MerchantSigningKey(
            id: try row.next(), merchant: try row.identifier(), isLive: try row.next(), point: try row.bytes(),
            createdAt: try row.time(), endedAt: try row.optionalTime())
    }
}
