import GRDB
import PaymentPorts

/// What must hold of one kind of books.
struct BookRules: Sendable {
    let seals: [RowSeal]
    let checks: [BookChecks.Check]

    static let issuer = BookRules(seals: RowSeal.all, checks: BookChecks.all)
}

/// Walks the audit chain and the books and says what does not fit, each place by its number or identifier.
///
/// The seals vouch for the chain; the chain vouches for the rest: every entry must be told by the record written with
/// it, and every card, code and payment must be what its newest record says.
struct Verification {
    let db: Database
    let sealer: any AuditSealer
    /// No check lists more than this: a person needs the first places and that there are more.
    static let listed = 100
    private static let portion = 1000

    func run(_ books: BookRules, since checkpoint: AuditCheckpoint?) throws -> [String] {
        db.add(function: RowDigest.function)
        let damage = try pages()
        guard damage.isEmpty else { return damage }
        let keys = try AuditKeyVersions(db)
        return try chain(keys, since: checkpoint) + books.seals.flatMap { try $0.findings(self, keys) }
            + books.checks.flatMap { try run($0) }
    }

    /// SQLite's own check of pages, indices and constraints.
    private func pages() throws -> [String] {
        let found = try String.fetchAll(db, sql: "PRAGMA integrity_check(\(Self.listed))")
        return found == ["ok"] ? [] : found.map { "database file: \($0)" }
    }

    private func run(_ check: BookChecks.Check) throws -> [String] {
        do {
            let found = try db.all("\(check.sql) LIMIT \(Self.listed + 1)", as: check.say)
            return found.prefix(Self.listed) + (found.count > Self.listed ? ["… and more: \(check.name)"] : [])
        } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
            return ["\(check.name): could not be checked, \(error.message ?? "no message")"]
        }
    }

    private func chain(_ keys: AuditKeyVersions, since checkpoint: AuditCheckpoint?) throws -> [String] {
        var findings = Findings()
        var count: Int64 = 0
        /// `nil` behind a gap.
        var before: [UInt8]? = AuditChain.genesis
        try inPortions("SELECT \(AuditChain.columns) FROM audit ORDER BY number", as: AuditChain.record) { records in
            var links: [SealedBytes?] = []
            for record in records {
                if record.number > count &+ 1 {
                    findings.add(
                        "\(missing(count &+ 1, record.number - 1)), so record \(record.number) is tied to nothing before"
                    )
                    before = nil
                }
                count = record.number
                links.append(
                    before.map { SealedBytes(record, after: $0, keyVersion: keys.version(ofRecord: record.number)) })
                before = record.seal
                if let checkpoint, checkpoint.count == count, checkpoint.seal != record.seal {
                    findings.add(
                        "audit record \(count): not the one of the checkpoint; an older copy was restored and written on"
                    )
                }
            }
            for (record, isSealed) in zip(records, try sealer.verify(links)) where isSealed == false {
                findings.add("audit record \(record.number): changed, or moved from another place")
            }
            return true
        }
        if let checkpoint, count < checkpoint.count {
            findings.add("\(missing(count &+ 1, checkpoint.count)) at the end; the checkpoint had them")
        }
        return findings.lines
    }

    /// Portions of rows, so that many seals are verified at once and no ledger is too large for memory.
    func inPortions<Value>(
        _ sql: String, _ values: [any SQLArgument] = [], as decode: (inout RowReader) throws -> Value,
        _ body: ([Value]) throws -> Bool
    ) throws {
        var portion: [Value] = []
        var isOver = false
        try db.rows(sql, values) { row in
            portion.append(try decode(&row))
            if portion.count < Self.portion { return true }
            isOver = try !body(portion)
            portion.removeAll(keepingCapacity: true)
            return !isOver
        }
        if !isOver, !portion.isEmpty { _ = try body(portion) }
    }

    private func missing(_ first: Int64, _ last: Int64) -> String {
        first == last ? "audit record \(first): missing" : "audit records \(first) to \(last): missing"
    }
}

/// A seal and what it should be of.
struct SealedBytes: Sendable {
    let seal: [UInt8]
    let bytes: [UInt8]
    let keyVersion: Int

    init(seal: [UInt8], of bytes: [UInt8], keyVersion: Int) {
        self.seal = seal
        self.bytes = bytes
        self.keyVersion = keyVersion
    }

    init(_ record: AuditRecord, after before: [UInt8], keyVersion: Int) {
        seal = record.seal
        self.keyVersion = keyVersion
        bytes = AuditChain.sealed(
            record.number, record.at, record.kind, record.subject, record.detail, after: before)
    }
}

extension AuditSealer {
    /// Whether each seal is right; `nil` where there is none.
    func verify(_ sealed: [SealedBytes?]) throws -> [Bool?] {
        try batch { sealing in
            try sealed.map { sealed in
                try sealed.map { try sealing.verify($0.seal, of: $0.bytes, keyVersion: $0.keyVersion) }
            }
        }
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
