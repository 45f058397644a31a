import ByteCoding
import GRDB
import PaymentPorts

/// The columns of a row that nothing of ours ever changes but for a key's rotation, sealed as one value by the audit key.
/// The record that tells of the row's making holds the seal, under `row`, and a record that tells of a rotation holds
/// the next: so the chain vouches for what it does not spell out, such as a telephone number or a code's digest.
struct RowSeal: Sendable {
    let table: String
    let columns: String
    /// Which row.
    let key: [String]
    /// SQL for every record that holds a seal of such a row: its number, the row's key, the seal.
    let told: String
    /// For a person: what may have been changed.
    let contents: String

    static let all = [customer, account, card, code, enrollment]

    static let customer = RowSeal(
        table: "customer", columns: "id, name, phone, email, created_at", key: ["id"],
        told: told(by: .customerAdded, .customerPhone),
        contents: "name, phone or mail address")
    static let account = RowSeal(
        table: "account", columns: "id, customer, currency, created_at", key: ["id"], told: told(by: .accountOpened),
        contents: "customer or currency")
    static let card = RowSeal(
        table: "card",
        columns: """
            id, account, pan_index, pan_sealed, pan_masked, sequence_number, expiry, name, profile, created_at
            """, key: ["id"], told: told(by: .cardCreated, .cardRewrapped),
        contents: "account, PAN, sequence number, expiry, name or profile")
    static let code = RowSeal(
        table: "code", columns: "card, version, salt, digest, digits, failure_limit, expires_at, issued_at",
        key: ["card", "version"],
        told: """
            SELECT number, subject AS id, json_extract(detail, '$.version') AS version,
                json_extract(detail, '$.row') AS seal
            FROM audit WHERE kind = 'code.issued' AND json_valid(detail)
            UNION ALL SELECT number, json_extract(detail, '$.card'), json_extract(detail, '$.code_version'),
                json_extract(detail, '$.code_row')
            FROM audit WHERE kind IN ('payment.approved', 'payment.declined') AND json_valid(detail)
                AND json_extract(detail, '$.code_row') IS NOT NULL
            """, contents: "salt, digest, length, failure limit or expiry")

    static func told(by kinds: AuditKind...) -> String {
        """
        SELECT number, subject AS id, 0 AS version, json_extract(detail, '$.row') AS seal FROM audit
        WHERE kind IN (\(kinds.map { "'\($0.rawValue)'" }.joined(separator: ", "))) AND json_valid(detail)
        """
    }

    static let enrollment = RowSeal(
        table: "enrollment", columns: "card, reference, digest, address", key: ["card"], told: told(by: .cardEnrolled),
        contents: "reference or address")

    /// A label, the table, then each value as a column.
    func input(_ values: some Sequence<DatabaseValue>) -> [UInt8] {
        var bytes = Array("ecard row 1".utf8) + [0] + Array(table.utf8) + [0]
        for value in values { bytes.append(column: value) }
        return bytes
    }

    /// The rows that are not what the chain vouches for: none of their sealed columns can be trusted.
    func findings(_ verification: Verification, _ keys: AuditKeyVersions) throws -> [String] {
        let version = key.count > 1 ? "AND made.version = \(table).version" : ""
        // The issuer's own accounts are made by bookings; whoever cuts a customer off one leaves its record behind.
        let own = table == "account" ? "WHERE customer IS NOT NULL OR made.seal IS NOT NULL" : ""
        let sql = """
            WITH told AS (\(told)),
            made AS (SELECT id, version, seal, max(number) AS number FROM told GROUP BY id, version)
            SELECT made.number, made.seal, \(qualified(columns, by: table))
            FROM \(table) LEFT JOIN made ON made.id = \(table).\(self.key[0]) \(version) \(own)
            """
        var findings: [String] = []
        try verification.inPortions(sql, as: { try row(&$0, keys) }) { rows in
            let isVouchedFor = try verification.sealer.verify(rows.map(\.sealed))
            for (row, isVouchedFor) in zip(rows, isVouchedFor) where isVouchedFor != true {
                findings.append("\(table) \(row.name): its \(contents) is not what the audit chain tells")
            }
            return findings.count < Verification.listed
        }
        return Array(findings.prefix(Verification.listed))
    }

    /// The record with the seal that the chain has, that seal, then the columns.
    private func row(_ row: inout RowReader, _ keys: AuditKeyVersions) throws -> (name: String, sealed: SealedBytes?) {
        let record = try row.optional(Int64.self)
        let seal = try row.anyValue()
        let values = try (0..<columns.split(separator: ",").count).map { _ in try row.anyValue() }
        let name = values.prefix(key.count).map { "\($0.storage.value ?? "NULL")" }.joined(separator: ", version ")
        let expected = String.fromDatabaseValue(seal).flatMap { [UInt8](hex: $0) }
        let version = keys.version(ofRecord: record ?? 0)
        return (name, expected.map { SealedBytes(seal: $0, of: input(values), keyVersion: version) })
    }
}

extension Change {
    /// The seal of a row just written.
    /// - Parameter fact: what the record calls it.
    func seal(_ seal: RowSeal, _ key: StatementArguments, as fact: String = "row") throws -> Facts {
        let filter = seal.key.map { "\($0) = ?" }.joined(separator: " AND ")
        let row = try Row.fetchOne(
            db.cachedStatement(sql: "SELECT \(seal.columns) FROM \(seal.table) WHERE \(filter)"), arguments: key)
        let input = seal.input(row.map { Array($0.databaseValues) } ?? [])
        return [fact: .text(try chain.sealer.seal(input, keyVersion: chain.auditKeyVersion()).hex)]
    }
}
