import GRDB
public import PaymentPorts

extension LedgerDatabase: MailerStore {
    public func mailers() async throws -> [Mailer] {
        try await read {
            try $0.all("SELECT \(MailerTable.columns) FROM mailer ORDER BY number", as: MailerTable.mailer)
        }
    }

    public func begin(_ id: MailerID, at place: String, isAgain: Bool, time: Timestamp) async throws {
        try await write { change in
            try requireText(place)
            guard let mailer = try MailerTable.find(id, change.db) else {
                throw StoreError(
                    .notFound, "mailer \(id)", advice: "It was delivered or withdrawn; see 'ecard code deliver --list'")
            }
            if let before = mailer.place, !isAgain {
                if before == place, place != Mailer.stream { return }
                throw StoreError(
                    .conflict, "mailer \(id) may have been delivered already, to \(before)",
                    advice: "Look there. If it is not there: 'ecard code deliver --again \(id)'")
            }
            try change.run("UPDATE mailer SET place = ? WHERE id = ?", [place, id.rawValue])
            try change.audit(
                .codeDelivering, mailer.card.rawValue, MailerTable.facts(mailer).and(["place": .text(place)]), at: time)
        }
    }

    public func end(_ ids: [MailerID], at time: Timestamp) async throws {
        try await write { change in
            for id in ids {
                guard let mailer = try MailerTable.find(id, change.db) else { continue }
                try change.destroy(mailer, .codeDelivered, at: time)
            }
        }
    }

    public func eraseLog() async throws {
        do {
            _ = try await pool.barrierWriteWithoutTransaction { try $0.checkpoint(.truncate) }
        } catch {
            throw StoreError.from(error, path: path)
        }
    }
}

extension Change {
    /// Beside a code just inserted.
    func insert(_ mailer: Mailer, for code: CodeRecord) throws {
        try require(mailer.keyVersion, of: .delivery)
        guard mailer.card == code.card, mailer.version == code.version else {
            throw StoreError(.conflict, "mailer \(mailer.id) is of another code")
        }
        try run(
            "INSERT INTO mailer (\(MailerTable.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                mailer.id.rawValue, mailer.card.rawValue, mailer.version, mailer.sealed, mailer.place,
                mailer.sealedAt.milliseconds, mailer.expiresAt.milliseconds, mailer.keyVersion,
            ])
    }

    /// A code that has ended is not delivered any more.
    func withdrawMailer(of code: CodeRecord, at time: Timestamp) throws {
        guard
            let mailer = try db.first(
                "SELECT \(MailerTable.columns) FROM mailer WHERE card = ? AND version = ?",
                [code.card.rawValue, code.version], as: MailerTable.mailer)
        else { return }
        try destroy(mailer, .codeWithdrawn, at: time)
    }

    fileprivate func destroy(_ mailer: Mailer, _ kind: AuditKind, at time: Timestamp) throws {
        try run("DELETE FROM mailer WHERE id = ?", [mailer.id.rawValue])
        try audit(kind, mailer.card.rawValue, MailerTable.facts(mailer), at: time)
    }
}

enum MailerTable {
    static let columns = "id, card, version, sealed, place, sealed_at, expires_at, delivery_key"

    static func mailer(_ row: inout RowReader) throws -> Mailer {
        Mailer(
            id: try row.identifier(), card: try row.identifier(), version: try row.next(), sealed: try row.bytes(),
            place: try row.optional(), sealedAt: try row.time(), expiresAt: try row.time(),
            keyVersion: try row.next())
    }

    static func find(_ id: MailerID, _ db: Database) throws -> Mailer? {
        try db.first("SELECT \(columns) FROM mailer WHERE id = ?", [id.rawValue], as: mailer)
    }

    static func facts(_ mailer: Mailer) -> Facts {
        ["mailer": .text(mailer.id.rawValue), "version": .number(Int64(mailer.version))]
    }
}
