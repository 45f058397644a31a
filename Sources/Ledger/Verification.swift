import GRDB
import PaymentPorts

/// Walks the audit chain and the books and says what does not fit, each place by its number or identifier.
///
/// The seals vouch for the chain; the chain vouches for the rest: every entry must be told by the record written with
/// it, and every card, code and payment must be what its newest record says.
struct Verification {
    let db: Database
    let sealer: any AuditSealer
    /// No check lists more than this: a person needs the first places and that there are more.
    static let listed = 100

    func run(since checkpoint: AuditCheckpoint?) throws -> [String] {
        let damage = try pages()
        guard damage.isEmpty else { return damage }
        let keys = try AuditKeyVersions(db)
        return try chain(keys, since: checkpoint) + RowSeal.all.flatMap { try $0.findings(db, sealer, keys) }
            + BookChecks.all.flatMap { try run($0) }
    }

    /// SQLite's own check of pages, indices and constraints.
    private func pages() throws -> [String] {
        let found = try String.fetchAll(db, sql: "PRAGMA integrity_check(\(Self.listed))")
        return found == ["ok"] ? [] : found.map { "database file: \($0)" }
    }

    private func run(_ check: BookChecks.Check) throws -> [String] {
        do {
            let rows = try Row.fetchAll(db, sql: "\(check.sql) LIMIT \(Self.listed + 1)")
            let found = try rows.prefix(Self.listed).map { row in
                var reader = RowReader(row)
                return try check.say(&reader)
            }
            return found + (rows.count > Self.listed ? ["… and more: \(check.name)"] : [])
        } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
            return ["\(check.name): could not be checked, \(error.message ?? "no message")"]
        }
    }

    private func chain(_ keys: AuditKeyVersions, since checkpoint: AuditCheckpoint?) throws -> [String] {
        var findings = Findings()
        var count: Int64 = 0
        /// `nil` behind a gap.
        var before: [UInt8]? = AuditChain.genesis
        let rows = try Row.fetchCursor(db, sql: "SELECT \(AuditChain.columns) FROM audit ORDER BY number")
        while let row = try rows.next() {
            var reader = RowReader(row)
            let record = try AuditChain.record(&reader)
            if record.number > count &+ 1 {
                findings.add(
                    "\(missing(count &+ 1, record.number - 1)), so record \(record.number) is tied to nothing before")
                before = nil
            }
            count = record.number
            if let seal = before, try !isSealed(record, after: seal, keys) {
                findings.add("audit record \(count): changed, or moved from another place")
            }
            before = record.seal
            if let checkpoint, checkpoint.count == count, checkpoint.seal != record.seal {
                findings.add(
                    "audit record \(count): not the one of the checkpoint; an older copy was restored and written on")
            }
        }
        if let checkpoint, count < checkpoint.count {
            findings.add("\(missing(count &+ 1, checkpoint.count)) at the end; the checkpoint had them")
        }
        return findings.lines
    }

    private func isSealed(_ record: AuditRecord, after seal: [UInt8], _ keys: AuditKeyVersions) throws -> Bool {
        try sealer.verify(
            record.seal,
            of: AuditChain.sealed(
                record.number, record.at, record.kind, record.subject, record.detail, after: seal),
            keyVersion: keys.version(ofRecord: record.number))
    }

    private func missing(_ first: Int64, _ last: Int64) -> String {
        first == last ? "audit record \(first): missing" : "audit records \(first) to \(last): missing"
    }
}

/// The first places, and how many more there were.
private struct Findings {
    private var shown: [String] = []
    private var more = 0

    mutating func add(_ line: String) {
        if shown.count < Verification.listed { shown.append(line) } else { more += 1 }
    }

    var lines: [String] { shown + (more > 0 ? ["… and \(more) more in the audit chain"] : []) }
}
