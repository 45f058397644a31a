import CardData
import GRDB
import PaymentPorts

/// Which versions of the issuer's keys there are. A key without a row has its first version alone.
enum KeyVersionTable {
    static func all(_ db: Database) throws -> KeyVersions {
        var newest: [IssuerKey: Int] = [:]
        var retired: [IssuerKey: Set<Int>] = [:]
        var generation: Int64 = 0
        let rows = try db.all("SELECT role, version, retired_at, change FROM key_version") { row in
            (
                key: try row.state(IssuerKey.self), version: try row.next(Int.self),
                isRetired: try row.optionalTime() != nil, change: try row.next(Int64.self)
            )
        }
        for row in rows {
            newest[row.key] = max(newest[row.key] ?? 1, row.version)
            if row.isRetired { retired[row.key, default: []].insert(row.version) }
            generation = max(generation, row.change)
        }
        return KeyVersions(generation: generation, newest: newest, retired: retired)
    }

    /// ``KeyVersions/generation``, without the rest.
    static func generation(_ db: Database) throws -> Int64 {
        try db.first("SELECT ifnull(max(change), 0) FROM key_version") { try $0.next() } ?? 0
    }

    /// In SQL: the current version of a key.
    static func current(_ key: IssuerKey) -> String {
        "(SELECT ifnull(max(version), 1) FROM key_version WHERE role = '\(key.rawValue)')"
    }

    /// In SQL: rows that name, in a column of theirs, what they were made under. Those that ``moved`` brings to another
    /// version count as movable.
    private static func users(_ key: IssuerKey, _ time: Timestamp) -> [(sql: String, areMoved: Bool)] {
        /// A card that is blocked or past its last month makes no payment: its keys are needed no more.
        func chips(_ column: String) -> [(String, Bool)] {
            let today = CalendarDate(unixSeconds: time.milliseconds / 1000)
            let month = (try? ExpiryDate(year: today.year, month: today.month))?.yymm ?? ""
            let from = "card LEFT JOIN chip ON chip.card = card.id WHERE state <> 'blocked' AND expiry >= '\(month)'"
            return [("SELECT \(column) AS version FROM \(from) AND \(column) IS NOT NULL", false)]
        }
        return switch key {
        // Nothing is kept wrapped; how the chain is sealed, the chain says.
        case .storage, .audit: []
        case .pan: [("SELECT pan_key AS version FROM card", true)]
        case .panIndex:
            [
                ("SELECT index_key AS version FROM card", true),
                (
                    """
                    SELECT digest_key AS version FROM payment
                    WHERE created_at > \(time.adding(seconds: -repeatSeconds).milliseconds)
                    UNION ALL SELECT digest_key FROM announcement WHERE digest_key IS NOT NULL
                    AND created_at > \(time.adding(seconds: -repeatSeconds).milliseconds)
                    """, false
                ),
            ]
        case .code:
            [
                (
                    """
                    SELECT code_key AS version FROM code WHERE state IN ('active', 'locked')
                    AND ifnull(expires_at > \(time.milliseconds), 1)
                    UNION ALL SELECT code_key FROM announcement WHERE code_digest IS NOT NULL
                    UNION ALL SELECT code_key FROM phone_challenge WHERE expires_at > \(time.milliseconds)
                    """, false
                )
            ]
        case .delivery:
            [
                (
                    """
                    SELECT delivery_key AS version FROM mailer
                    UNION ALL SELECT delivery_key FROM message WHERE expires_at > \(time.milliseconds)
                    """, false
                )
            ]
        // Codes under it lie at the bank for as long as their payments can be answered; a day after the rotation none does.
        case .codeSeal:
            [
                (
                    """
                    SELECT version - 1 AS version FROM key_version
                    WHERE role = '\(key.rawValue)' AND made_at > \(time.adding(seconds: -86_400).milliseconds)
                    """, false
                )
            ]
        case .cvkSeed: chips("cvk_key")
        case .imkAC: chips("imk_ac")
        case .imkSMI: chips("imk_smi")
        case .imkSMC: chips("imk_smc")
        case .kmc: chips("kmc_key")
        }
    }

    /// As long as a payment can be asked for again and gets the answer of before: seven days. Later a repeat is refused,
    /// if the version of the index key that it is recognised by was retired.
    private static let repeatSeconds: Int64 = 7 * 86_400

    /// What needs each version of a key.
    static func dependants(of key: IssuerKey, at time: Timestamp, _ db: Database) throws -> [Int: (
        all: Int, movable: Int
    )] {
        var counts: [Int: (all: Int, movable: Int)] = [:]
        if key == .audit { return try AuditKeyVersions(db).recordCounts(db).mapValues { ($0, 0) } }
        for user in users(key, time) {
            let rows = try db.all("SELECT version, count(*) FROM (\(user.sql)) GROUP BY version") {
                (try $0.next(Int.self), try $0.next(Int.self))
            }
            for (version, count) in rows {
                counts[version, default: (0, 0)].all += count
                if user.areMoved { counts[version, default: (0, 0)].movable += count }
            }
        }
        return counts
    }
}

extension Change {
    /// Nothing is made under a version that ended.
    func require(_ version: Int?, of key: IssuerKey) throws {
        guard let version, try !KeyVersionTable.all(db).isLive(key, version) else { return }
        throw StoreError(
            .conflict, "version \(version) of the key '\(key.rawValue)' is not in use",
            advice: "A key was retired meanwhile: repeat the command")
    }
}
