import ByteCoding
import GRDB
import PaymentPorts

/// What the ledger itself writes into the chain. ``LedgerDatabase/append(kind:subject:detail:at:)`` refuses these, so
/// that nobody else can say them.
enum AuditKind: String, CaseIterable {
    case customerAdded = "customer.added"
    case customerLanguage = "customer.language"
    case customerPhone = "customer.phone"
    case accountOpened = "account.opened"
    case accountDeposited = "account.deposited"
    case cardCreated = "card.created"
    case cardPersonalizing = "card.personalizing"
    case cardActive = "card.active"
    case cardBlocked = "card.blocked"
    case cardBound = "card.bound"
    case cardRewrapped = "card.rewrapped"
    case cardEnrolled = "card.enrolled"
    case cardProfiles = "card.profiles"
    case codeIssued = "code.issued"
    case codeLocked = "code.locked"
    case codeUnlocked = "code.unlocked"
    case codeRevoked = "code.revoked"
    case codeReplaced = "code.replaced"
    case codeDelivering = "code.delivering"
    case codeDelivered = "code.delivered"
    case codeWithdrawn = "code.withdrawn"
    case announcementMade = "announcement.made"
    case announcementReversed = "announcement.reversed"
    case announcementExpired = "announcement.expired"
    case paymentAttempted = "payment.attempted"
    case paymentApproved = "payment.approved"
    case paymentDeclined = "payment.declined"
    case paymentConfirmed = "payment.confirmed"
    case paymentCaptured = "payment.captured"
    case paymentVoided = "payment.voided"
    case paymentReversed = "payment.reversed"
    case paymentExpired = "payment.expired"
    case paymentRefunded = "payment.refunded"
    case keyRotated = "key.rotated"
    case keyRetired = "key.retired"
    case merchantAdded = "merchant.added"
    case merchantState = "merchant.state"
    case merchantKeyAdded = "merchant.key_added"
    case merchantKeyEnded = "merchant.key_ended"
    case merchantPaid = "merchant.paid"
    case merchantSignatures = "merchant.signatures"
    case signingKeyAdded = "signing_key.added"
    case signingKeyEnded = "signing_key.ended"
    case webhookAdded = "webhook.added"
    case webhookRemoved = "webhook.removed"
    /// A step of an online payment, in the bank's books.
    case paymentStep = "payment.step"
    /// A merchant's signed request, in the bank's books.
    case paymentRequest = "payment.request"
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
        var bytes: [UInt8] = []
        bytes.reserveCapacity(128 + kind.utf8.count + subject.utf8.count + detail.utf8.count)
        bytes += "ecard audit record 1".utf8
        bytes += UInt64(bitPattern: number).bigEndianBytes
        bytes += UInt64(bitPattern: at.milliseconds).bigEndianBytes
        for text in [kind, subject, detail] { bytes.append(field: text.utf8) }
        bytes.append(field: seal)
        return bytes
    }

    static func head(_ db: Database) throws -> AuditCheckpoint {
        try db.first("SELECT number, seal FROM audit ORDER BY number DESC LIMIT 1") { row in
            AuditCheckpoint(count: try row.next(), seal: try row.bytes())
        } ?? AuditCheckpoint(count: 0, seal: genesis)
    }

    static let columns = "number, at, kind, subject, detail, seal"

    static func record(_ row: inout RowReader) throws -> AuditRecord {
        AuditRecord(
            number: try row.next(), at: try row.time(), kind: try row.next(), subject: try row.next(),
            detail: try row.next(), seal: try row.bytes())
    }
}

/// The records that a transaction adds to the chain. They are sealed together at its end: the seals need one another, and
/// the way to the HSM costs several times what a seal costs.
final class ChainEnd {
    private struct Record: Sendable {
        let kind: String
        let subject: String
        let detail: String
        let at: Timestamp
        let keyVersion: Int
    }

    private let db: Database
    let sealer: any AuditSealer
    private var records: [Record] = []
    private var knownKeyVersion: Int?

    init(_ db: Database, _ sealer: any AuditSealer) {
        self.db = db
        self.sealer = sealer
    }

    var length: Int { records.count }

    func append(_ kind: String, _ subject: String, _ detail: String, at time: Timestamp, keyVersion: Int) {
        records.append(Record(kind: kind, subject: subject, detail: detail, at: time, keyVersion: keyVersion))
    }

    /// What new records are sealed under. Asked once a transaction: ``keysChanged()`` says when to ask again.
    func auditKeyVersion() throws -> Int {
        if let knownKeyVersion { return knownKeyVersion }
        let version = try db.first("SELECT \(KeyVersionTable.current(.audit))") { try $0.next(Int.self) } ?? 1
        knownKeyVersion = version
        return version
    }

    func keysChanged() { knownKeyVersion = nil }

    /// Forgets the records of a write that was undone.
    func cut(to length: Int) {
        records.removeLast(records.count - length)
        keysChanged()
    }

    /// Seals and writes all of them.
    func seal() throws {
        guard !records.isEmpty else { return }
        let head = try AuditChain.head(db)
        _ = try sum(head.count, Int64(records.count), of: "the number of audit records")
        let seals = try sealer.batch { [records] sealing in
            var seals: [[UInt8]] = []
            for (number, record) in zip((head.count + 1)..., records) {
                seals.append(
                    try sealing.seal(
                        AuditChain.sealed(
                            number, record.at, record.kind, record.subject, record.detail,
                            after: seals.last ?? head.seal), keyVersion: record.keyVersion))
            }
            return seals
        }
        for (index, record) in records.enumerated() {
            try db.run(
                "INSERT INTO audit (number, at, kind, subject, detail, seal) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    head.count + 1 + Int64(index), record.at.milliseconds, record.kind, record.subject, record.detail,
                    seals[index],
                ])
        }
    }
}

extension Change {
    /// Extends the chain, in the transaction of what it tells of.
    /// - Parameter keyVersion: of the audit key, if not the current.
    func audit(
        _ kind: AuditKind, _ subject: String, _ facts: Facts, at time: Timestamp, keyVersion: Int? = nil
    ) throws {
        try audit(kind.rawValue, subject, facts.json, at: time, keyVersion: keyVersion)
    }

    func audit(
        _ kind: String, _ subject: String, _ detail: String, at time: Timestamp, keyVersion: Int? = nil
    ) throws {
        try requireText(kind, subject, detail)
        chain.append(kind, subject, detail, at: time, keyVersion: try keyVersion ?? chain.auditKeyVersion())
    }
}

/// Under which version of the audit key each record is sealed: the first, until a record names the next. That record
/// itself is still under the old one.
struct AuditKeyVersions {
    private let changes: [(number: Int64, version: Int)]

    init(_ db: Database) throws {
        changes = try db.all(
            """
            SELECT number, CAST(json_extract(detail, '$.version') AS INTEGER) FROM audit
            WHERE kind = '\(AuditKind.keyRotated.rawValue)' AND subject = '\(IssuerKey.audit.rawValue)'
                AND json_valid(detail) AND json_extract(detail, '$.version') IS NOT NULL
            ORDER BY number
            """
        ) { (try $0.next(), try $0.next()) }
    }

    func version(ofRecord number: Int64) -> Int { changes.last { $0.number < number }?.version ?? 1 }

    /// How many records each version seals.
    func recordCounts(_ db: Database) throws -> [Int: Int] {
        let head = try AuditChain.head(db).count
        var counts: [Int: Int] = [:]
        var before: Int64 = 0
        for end in changes.map(\.number) + [head] {
            counts[version(ofRecord: end), default: 0] += Int(end - before)
            before = end
        }
        return counts
    }
}
