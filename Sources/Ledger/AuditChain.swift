import ByteCoding
import GRDB
public import PaymentPorts

/// What the ledger itself writes into the chain. ``LedgerDatabase/append(kind:subject:detail:at:)`` refuses these, so
/// that nobody else can say them.
enum AuditKind: String, CaseIterable {
    case customerAdded = "customer.added"
    case accountOpened = "account.opened"
    case accountDeposited = "account.deposited"
    case cardCreated = "card.created"
    case cardPersonalizing = "card.personalizing"
    case cardActive = "card.active"
    case cardBlocked = "card.blocked"
    case cardBound = "card.bound"
    case cardEnrolled = "card.enrolled"
    case codeIssued = "code.issued"
    case codeLocked = "code.locked"
    case codeUnlocked = "code.unlocked"
    case codeRevoked = "code.revoked"
    case codeReplaced = "code.replaced"
    case codeDelivering = "code.delivering"
    case codeDelivered = "code.delivered"
    case codeWithdrawn = "code.withdrawn"
    case paymentAttempted = "payment.attempted"
    case paymentApproved = "payment.approved"
    case paymentDeclined = "payment.declined"
    case paymentConfirmed = "payment.confirmed"
    case paymentCaptured = "payment.captured"
    case paymentVoided = "payment.voided"
    case paymentReversed = "payment.reversed"
    case paymentExpired = "payment.expired"
    case paymentRefunded = "payment.refunded"
}

/// The bytes a seal covers.
enum AuditChain {
    /// What stands in for the seal before the first record.
    static let genesis = [UInt8](repeating: 0, count: 32)

    /// A label, then number and time as 8 bytes, then kind, subject, detail and the seal before, each behind its length
    /// as 4 bytes, all big-endian: two different records never give the same bytes.
    static func sealed(
        _ number: Int64, _ at: Timestamp, _ kind: String, _ subject: String, _ detail: String, after seal: [UInt8]
    ) -> [UInt8] {
        var bytes = Array("ecard audit record 1".utf8)
        bytes += UInt64(bitPattern: number).bigEndianBytes + UInt64(bitPattern: at.milliseconds).bigEndianBytes
        for field in [Array(kind.utf8), Array(subject.utf8), Array(detail.utf8), seal] {
            bytes += UInt32(truncatingIfNeeded: field.count).bigEndianBytes + field
        }
        return bytes
    }

    static func head(_ db: Database) throws -> AuditCheckpoint {
        guard var row = try db.first("SELECT number, seal FROM audit ORDER BY number DESC LIMIT 1") else {
            return AuditCheckpoint(count: 0, seal: genesis)
        }
        return AuditCheckpoint(count: try row.next(), seal: try row.bytes())
    }

    static let columns = "number, at, kind, subject, detail, seal"

    static func record(_ row: inout RowReader) throws -> AuditRecord {
        AuditRecord(
            number: try row.next(), at: try row.time(), kind: try row.next(), subject: try row.next(),
            detail: try row.next(), seal: try row.bytes())
    }
}

extension Change {
    /// Extends the chain, in the transaction of what it tells of.
    func audit(_ kind: AuditKind, _ subject: String, _ facts: Facts, at time: Timestamp) throws {
        try audit(kind.rawValue, subject, facts.json, at: time)
    }

    func audit(_ kind: String, _ subject: String, _ detail: String, at time: Timestamp) throws {
        try requireText(kind, subject, detail)
        let head = try AuditChain.head(db)
        let number = try sum(head.count, 1, of: "the number of audit records")
        let seal = try sealer.seal(AuditChain.sealed(number, time, kind, subject, detail, after: head.seal))
        try run(
            "INSERT INTO audit (number, at, kind, subject, detail, seal) VALUES (?, ?, ?, ?, ?, ?)",
            [number, time.milliseconds, kind, subject, detail, blob(seal)])
    }
}

extension LedgerDatabase: AuditStore {
    public func append(kind: String, subject: String, detail: String, at time: Timestamp) async throws {
        guard AuditKind(rawValue: kind) == nil else {
            throw StoreError(
                .conflict, "audit kind '\(kind)'", advice: "The ledger writes it itself; choose another kind")
        }
        try await write { try $0.audit(kind, subject, detail, at: time) }
    }

    public func records(limit: Int?) async throws -> [AuditRecord] {
        try await read { db in
            try db.all(
                "SELECT \(AuditChain.columns) FROM audit ORDER BY number DESC LIMIT ?",
                [limit.map { max(0, $0) } ?? -1],
                as: AuditChain.record
            ).reversed()
        }
    }

    public func checkpoint() async throws -> AuditCheckpoint {
        try await read { try AuditChain.head($0) }
    }

    public func verify(since checkpoint: AuditCheckpoint?) async throws -> [String] {
        try await read { [sealer] db in
            try Verification(db: db, sealer: sealer).run(since: checkpoint)
        }
    }
}
