import ByteCoding
import GRDB
import PaymentPorts

/// The columns of a row that nothing of ours ever changes, sealed as one value by the audit key. The record that tells of
/// the row's making holds the seal, under `row`: so the chain vouches for what it does not spell out, such as a
/// telephone number or a code's digest.
struct RowSeal: Sendable {
    let table: String
    let columns: String
    /// Which row.
    let key: [String]
    /// What its audit record is of.
    let kind: AuditKind
    /// For a person: what may have been changed.
    let contents: String

    static let all = [customer, account, card, code]

    static let customer = RowSeal(
        table: "customer", columns: "id, name, phone, email, created_at", key: ["id"], kind: .customerAdded,
        contents: "name, phone or mail address")
    static let account = RowSeal(
        table: "account", columns: "id, customer, currency, created_at", key: ["id"], kind: .accountOpened,
        contents: "customer or currency")
    static let card = RowSeal(
        table: "card",
        columns: """
            id, account, pan_index, pan_sealed, pan_masked, sequence_number, expiry, name, profile, created_at
            """, key: ["id"], kind: .cardCreated,
        contents: "account, PAN, sequence number, expiry, name or profile")
    static let code = RowSeal(
        table: "code", columns: "card, version, salt, digest, digits, failure_limit, expires_at, issued_at",
        key: ["card", "version"], kind: .codeIssued, contents: "salt, digest, length, failure limit or expiry")

    /// A label, the table, then each value: its type (one byte), its length (4 bytes, big-endian), its bytes.
    func input(_ values: some Sequence<DatabaseValue>) -> [UInt8] {
        var bytes = Array("ecard row 1".utf8) + [0] + Array(table.utf8) + [0]
        for value in values {
            let (type, content): (UInt8, [UInt8]) =
                switch value.storage {
                case .null: (0, [])
                case .int64(let number): (1, UInt64(bitPattern: number).bigEndianBytes)
                case .double(let number): (2, number.bitPattern.bigEndianBytes)
                case .string(let text): (3, Array(text.utf8))
                case .blob(let data): (4, Array(data))
                }
            bytes += [type] + UInt32(truncatingIfNeeded: content.count).bigEndianBytes + content
        }
        return bytes
    }

    /// The rows that are not what the chain vouches for: none of their sealed columns can be trusted.
    func findings(_ verification: Verification) throws -> [String] {
        let version = key.count > 1 ? "AND made.version = \(table).version" : ""
        // The issuer's own accounts are made by bookings; whoever cuts a customer off one leaves its record behind.
        let own = table == "account" ? "WHERE customer IS NOT NULL OR made.seal IS NOT NULL" : ""
        let sql = """
            WITH made AS (SELECT subject, json_extract(detail, '$.row') AS seal,
                json_extract(detail, '$.version') AS version
                FROM audit WHERE kind = ? AND json_valid(detail))
            SELECT made.seal, \(qualified(columns, by: table))
            FROM \(table) LEFT JOIN made ON made.subject = \(table).\(self.key[0]) \(version) \(own)
            """
        var findings: [String] = []
        try verification.inPortions(sql, [kind.rawValue], as: { try row(&$0) }) { rows in
            let isVouchedFor = try verification.sealer.verify(rows.map(\.sealed))
            for (row, isVouchedFor) in zip(rows, isVouchedFor) where isVouchedFor != true {
                findings.append("\(table) \(row.name): its \(contents) is not what the audit chain tells")
            }
            return findings.count < Verification.listed
        }
        return Array(findings.prefix(Verification.listed))
    }

    /// The seal that the chain has, then the columns.
    private func row(_ row: inout RowReader) throws -> (name: String, sealed: SealedBytes?) {
        let seal = try row.anyValue()
        let values = try (0..<columns.split(separator: ",").count).map { _ in try row.anyValue() }
        let name = values.prefix(key.count).map { "\($0.storage.value ?? "NULL")" }.joined(separator: ", version ")
        let expected = String.fromDatabaseValue(seal).flatMap { [UInt8](hex: $0) }
        return (name, expected.map { SealedBytes(seal: $0, of: input(values)) })
    }
}

extension Change {
    /// The seal of a row just written.
    func seal(_ seal: RowSeal, _ key: StatementArguments) throws -> Facts {
        let filter = seal.key.map { "\($0) = ?" }.joined(separator: " AND ")
        let row = try Row.fetchOne(
            db.cachedStatement(sql: "SELECT \(seal.columns) FROM \(seal.table) WHERE \(filter)"), arguments: key)
        return ["row": .text(try chain.sealer.seal(seal.input(row.map { Array($0.databaseValues) } ?? [])).hex)]
    }
}
