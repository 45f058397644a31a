import GRDB
public import PaymentPorts

extension LedgerDatabase: EnrollmentStore {
    public func enroll(_ enrollment: Enrollment) async throws -> EnrollmentRecord {
        try await write { change in
            try requireText(enrollment.reference, enrollment.address)
            if let known = try EnrollmentTable.find("reference", enrollment.reference, change.db) {
                guard known.digest == enrollment.digest else {
                    throw StoreError(
                        .keyReused, "reference '\(enrollment.reference)' is card \(known.card), made from other values",
                        advice: "Put the row's first values back, or give a new card a reference of its own")
                }
                return known
            }
            let at = enrollment.card.createdAt
            try change.add(enrollment.customer)
            try change.open(
                enrollment.account, for: enrollment.customer.id, currency: enrollment.currency, at: at)
            if let deposit = enrollment.deposit {
                try change.deposit(
                    deposit, to: enrollment.account, idempotencyKey: "enrollment \(enrollment.reference)", at: at)
            }
            try change.add(enrollment.card)
            let card = enrollment.card.id
            try change.run(
                "INSERT INTO enrollment (\(EnrollmentTable.columns)) VALUES (?, ?, ?, ?)",
                [card.rawValue, enrollment.reference, enrollment.digest, enrollment.address])
            try change.audit(.cardEnrolled, card.rawValue, change.seal(.enrollment, [card.rawValue]), at: at)
            return EnrollmentRecord(
                reference: enrollment.reference, digest: enrollment.digest, card: card, address: enrollment.address)
        }
    }

    public func enrollment(_ reference: String) async throws -> EnrollmentRecord? {
        try await read { try EnrollmentTable.find("reference", reference, $0) }
    }

    public func enrollment(of card: CardID) async throws -> EnrollmentRecord? {
        try await read { try EnrollmentTable.find("card", card.rawValue, $0) }
    }

    public func chip(of card: CardID) async throws -> [UInt8]? {
        try await read { db in
            try db.first("SELECT kdd FROM chip WHERE card = ?", [card.rawValue]) { try $0.bytes() }
        }
    }

    public func card(chip: [UInt8]) async throws -> Card? {
        try await read { db in
            try db.first("SELECT card FROM chip WHERE kdd = ?", [chip]) { try $0.identifier(CardID.self) }
                .flatMap { try CardTable.find($0, db) }
        }
    }
}

enum EnrollmentTable {
    static let columns = "card, reference, digest, address"

    static func find(_ column: String, _ value: String, _ db: Database) throws -> EnrollmentRecord? {
        try db.first("SELECT \(columns) FROM enrollment WHERE \(column) = ?", [value]) { row in
            let card = try row.identifier(CardID.self)
            return EnrollmentRecord(
                reference: try row.next(), digest: try row.bytes(), card: card, address: try row.optional())
        }
    }
}
