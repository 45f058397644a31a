import GRDB
public import PaymentPorts

extension LedgerDatabase: KeyRotationStore {
    public func keyVersions() async throws -> KeyVersions {
        try await read { try KeyVersionTable.all($0) }
    }

    public func makeCurrent(_ version: Int, of key: IssuerKey, checkValue: String?, at time: Timestamp) async throws {
        try await write { change in
            let current = try KeyVersionTable.all(change.db).current(key)
            guard version == current + 1 else {
                throw StoreError(
                    .conflict, "version \(version) of the key '\(key.rawValue)'",
                    advice: "The next is \(current + 1); it was rotated in between")
            }
            try change.run(
                "INSERT INTO key_version (role, version, made_at, change) VALUES (?, ?, ?, ?)",
                [key.rawValue, version, time.milliseconds, KeyVersionTable.generation(change.db) + 1])
            var facts: Facts = ["version": .number(Int64(version))]
            if let checkValue { facts = facts.and(["check_value": .text(checkValue)]) }
            // Of the audit key: sealed under the old version, which thereby vouches for the new one.
            try change.audit(.keyRotated, key.rawValue, facts, at: time, keyVersion: key == .audit ? current : nil)
            change.chain.keysChanged()
        }
    }

    public func retire(_ version: Int, of key: IssuerKey, at time: Timestamp) async throws {
        try await write { change in
            let versions = try KeyVersionTable.all(change.db)
            guard (1..<versions.current(key)).contains(version) else {
                throw StoreError(
                    .conflict, "version \(version) of the key '\(key.rawValue)' is no older version",
                    advice: "The current one is \(versions.current(key)); only those before it can be retired")
            }
            guard versions.isLive(key, version) else { return }
            let dependants = try KeyVersionTable.dependants(of: key, at: time, change.db)[version]?.all ?? 0
            guard dependants == 0 else {
                throw StoreError(
                    .conflict, "\(dependants) depend on version \(version) of the key '\(key.rawValue)'",
                    advice: "'ecard hsm rotate --status' says which; without the key they would be lost")
            }
            try change.run(
                """
                INSERT INTO key_version (role, version, made_at, retired_at, change) VALUES (?1, ?2, ?3, ?3, ?4)
                ON CONFLICT (role, version) DO UPDATE SET retired_at = ?3, change = ?4
                """,
                [key.rawValue, version, time.milliseconds, KeyVersionTable.generation(change.db) + 1])
            try change.audit(.keyRetired, key.rawValue, ["version": .number(Int64(version))], at: time)
        }
    }

    public func keyUses(of keys: [IssuerKey], at time: Timestamp) async throws -> [KeyVersionUse] {
        try await read { db in
            let versions = try KeyVersionTable.all(db)
            return try keys.flatMap { key in
                let counts = try KeyVersionTable.dependants(of: key, at: time, db)
                let current = versions.current(key)
                return (1...current).map { version in
                    KeyVersionUse(
                        key: key, version: version, isCurrent: version == current,
                        isRetired: !versions.isLive(key, version), dependants: counts[version]?.all ?? 0,
                        movable: version == current ? 0 : counts[version]?.movable ?? 0)
                }
            }
        }
    }

    public func cardsToRewrap(after card: CardID?, limit: Int) async throws -> [Card] {
        try await read { db in
            try db.all(
                """
                SELECT \(CardTable.columns) FROM card
                WHERE number > ifnull((SELECT number FROM card WHERE id = ?), 0)
                    AND (pan_key < \(KeyVersionTable.current(.pan)) OR index_key < \(KeyVersionTable.current(.panIndex)))
                ORDER BY number LIMIT ?
                """, [card?.rawValue, limit], as: CardTable.card)
        }
    }

    public func rewrap(_ pans: [RewrappedPAN], at time: Timestamp) async throws -> Int {
        try await write { change in
            var count = 0
            for pan in pans where try change.rewrap(pan, at: time) { count += 1 }
            return count
        }
    }
}

extension Change {
    fileprivate func rewrap(_ pan: RewrappedPAN, at time: Timestamp) throws -> Bool {
        try require(pan.after.pan, of: .pan)
        try require(pan.after.panIndex, of: .panIndex)
        try run(
            """
            UPDATE card SET pan_sealed = ?, pan_key = ?, pan_index = ?, index_key = ?
            WHERE id = ? AND pan_key = ? AND index_key = ?
            """,
            [
                pan.sealed, pan.after.pan, pan.index, pan.after.panIndex, pan.card.rawValue,
                pan.before.pan, pan.before.panIndex,
            ])
        guard db.changesCount > 0 else { return false }
        try audit(
            .cardRewrapped, pan.card.rawValue,
            CardTable.facts(pan.after).and(seal(.card, [pan.card.rawValue])), at: time)
        return true
    }
}
