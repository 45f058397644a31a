import ByteCoding
import CardData
import GRDB
public import PaymentPorts

extension LedgerDatabase: AnnouncementStore {
    public func announce(_ announcement: NewAnnouncement) async throws -> AnnouncementOutcome {
        let outcome = try await write { try $0.announce(announcement) }
        // Also where there is nobody to write to: it costs the same.
        bell.ring()
        return outcome
    }

    public func announcement(_ id: PaymentID) async throws -> Announcement? {
        try await lookUp { try AnnouncementTable.find(id, $0)?.announcement }
    }

    public func standing(of id: PaymentID) async throws -> AnnouncementStanding? {
        try await lookUp { db in try AnnouncementTable.find(id, db).map { try $0.standing(db) } }
    }

    public func reverse(_ id: PaymentID, reason: String, at time: Timestamp) async throws -> AnnouncementStanding {
        try await write { try $0.reverse(id, reason, at: time) }
    }
}

extension Change {
    /// Statements, seals and rows written are the same whether the announcement leads to a holder or to nobody.
    fileprivate func announce(_ new: NewAnnouncement) throws -> AnnouncementOutcome {
        try requireText(new.id.rawValue, new.merchant.rawValue, new.panMasked)
        guard try KeyVersionTable.generation(db) == new.keyGeneration else { return .keysChanged }
        let earlier = try AnnouncementTable.find(new.id, db)
        if let earlier { try check(new, repeats: earlier) }
        let holder = try Holder.find(panIndices: new.panIndices, db)
        let isReached = try holder.map { try $0.isReached(by: new) } ?? false
        // Nobody was asked the first time: whoever could be now was not, and no try of theirs is taken.
        let reached = isReached && (earlier.map { $0.announcement.terms?.card != nil } ?? true) ? holder : nil
        if earlier == nil { try insert(new, to: reached) }
        return .announced(reached?.route ?? .nobody)
    }

    private func check(_ new: NewAnnouncement, repeats earlier: AnnouncementRow) throws {
        guard let digest = earlier.digest else {
            throw StoreError(
                .conflict, "payment \(new.id) was reversed before it was announced", advice: "Announce a new one")
        }
        let known = ([new.newest] + new.older).first { $0.version == earlier.digestKey }
        guard let known, constantTimeEqual(known.requestDigest, digest) else {
            throw StoreError(
                .keyReused, "payment \(new.id)", advice: "Announce another payment under another identifier")
        }
    }

    private func insert(_ new: NewAnnouncement, to holder: Holder?) throws {
        let code = holder?.profiles.contains(.oneTime) == true ? new.oneTimeCode : nil
        let row = AnnouncementRow(
            announcement: Announcement(
                id: new.id,
                terms: Announcement.Terms(
                    amount: new.amount, merchant: new.merchant, capturesLater: new.capturesLater,
                    expiresAt: new.expiresAt, card: holder?.card.id, panMasked: new.panMasked),
                state: .open, approved: nil),
            digest: new.newest.requestDigest, digestKey: new.newest.version, oneTimeCode: code, codeFailures: 0,
            createdAt: new.at)
        try insert(row)
        if code != nil, let holder, let phone = holder.customer.phone {
            try insert(
                SealedMessage(
                    reference: OneTimeCode.messageReference(new.id), kind: .code, recipient: phone,
                    language: holder.customer.language, text: new.message, expiresAt: new.expiresAt), at: new.at)
        } else {
            try run("UPDATE nobody SET attempts = attempts + 1")
        }
        try audit(
            .announcementMade, new.id.rawValue,
            AnnouncementTable.facts(row).and(["one_time_code": .flag(code != nil)]), at: new.at)
    }

    fileprivate func reverse(_ id: PaymentID, _ reason: String, at time: Timestamp) throws -> AnnouncementStanding {
        try requireText(id.rawValue, reason)
        guard var row = try AnnouncementTable.find(id, db) else {
            let row = AnnouncementRow(
                announcement: Announcement(id: id, terms: nil, state: .reversed, approved: nil), digest: nil,
                digestKey: nil, oneTimeCode: nil, codeFailures: 0, createdAt: time)
            try insert(row)
            try audit(.announcementReversed, id.rawValue, AnnouncementTable.facts(row), at: time)
            return try row.standing(db)
        }
        switch row.announcement.state {
        case .open: break
        case .approved:
            let payment = try row.standing(db).approved
            guard let payment, payment.state == .authorized || payment.state == .captured else {
                return try row.standing(db)
            }
            _ = try release(payment.id, to: .reversed, reason, at: time)
        case .declined, .reversed, .expired: return try row.standing(db)
        }
        try end(&row, as: .reversed)
        try audit(.announcementReversed, id.rawValue, AnnouncementTable.facts(row), at: time)
        return try row.standing(db)
    }

    /// Ends announcements that nobody answered in time and no try of is undecided.
    /// - Returns: how many.
    func endAnnouncements(until time: Timestamp) throws -> Int {
        var count = 0
        while true {
            let due = try AnnouncementTable.due(at: time, limit: 100, db)
            for id in due {
                guard var row = try AnnouncementTable.find(id, db) else { continue }
                try end(&row, as: .expired)
                try audit(.announcementExpired, id.rawValue, AnnouncementTable.facts(row), at: time)
            }
            count += due.count
            if due.count < 100 { return count }
        }
    }

    /// With it ends its one-time code, and the message that carries it if that has not left.
    private func end(_ row: inout AnnouncementRow, as state: Announcement.State, approved: PaymentID? = nil) throws {
        if row.oneTimeCode != nil {
            try run("DELETE FROM message WHERE reference = ?", [OneTimeCode.messageReference(row.announcement.id)])
        }
        row.announcement.state = state
        row.announcement.approved = approved ?? row.announcement.approved
        row.oneTimeCode = nil
        try run(
            "UPDATE announcement SET state = ?, approved = ?, code_salt = NULL, code_digest = NULL WHERE id = ?",
            [state.rawValue, row.announcement.approved?.rawValue, row.announcement.id.rawValue])
    }

    /// What a decision on one of its tries makes of an announcement.
    /// - Returns: what the decision's record tells of it.
    func settle(_ row: AnnouncementRow?, after decision: PaymentDecision) throws -> Facts {
        guard var row else { return [:] }
        if row.announcement.state == .open {
            if decision.capture != nil {
                try end(&row, as: .approved, approved: decision.payment)
            } else if !decision.mayTryAgain {
                try end(&row, as: .declined)
            }
        }
        return AnnouncementTable.told(row)
    }

    private func insert(_ row: AnnouncementRow) throws {
        let (id, terms) = (row.announcement.id, row.announcement.terms)
        try run(
            """
            INSERT INTO announcement (id, state, digest, digest_key, amount, currency, merchant, later, expires_at, card,
                pan_masked, code_salt, code_digest, code_key, created_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                id.rawValue, row.announcement.state.rawValue, row.digest, row.digestKey, terms?.amount.minorUnits,
                terms?.amount.currency.code, terms?.merchant.rawValue, terms?.capturesLater,
                terms?.expiresAt.milliseconds, terms?.card?.rawValue, terms?.panMasked, row.oneTimeCode?.salt,
                row.oneTimeCode?.digest, row.oneTimeCode?.keyVersion, row.createdAt.milliseconds,
            ])
    }
}

extension HolderRoute {
    /// Where a payment leads that has nobody to ask.
    static let nobody = HolderRoute(
        phone: nil, card: nil, email: nil, language: "en", profiles: CodeProfile.standing,
        phoneSince: Timestamp(milliseconds: 0))
}

/// An announcement's row: what the port shows and what the ledger keeps beside it.
struct AnnouncementRow {
    var announcement: Announcement
    /// `nil` where the reversal came first.
    let digest: [UInt8]?
    let digestKey: Int?
    /// Gone when the announcement ends.
    var oneTimeCode: OneTimeCode?
    var codeFailures: Int
    let createdAt: Timestamp

    func standing(_ db: Database) throws -> AnnouncementStanding {
        let last = try PaymentTable.lastTry(of: announcement.id, db)
        return AnnouncementStanding(
            announcement: announcement,
            approved: try announcement.approved.flatMap { try PaymentTable.find($0, db)?.payment },
            lastTry: last.flatMap { payment in payment.attempt.map { (number: $0, payment: payment) } })
    }
}

enum AnnouncementTable {
    private static let columns = """
        id, state, approved, amount, currency, merchant, later, expires_at, card, pan_masked, digest, digest_key, \
        code_salt, code_digest, code_key, code_failures, created_at
        """

    static func find(_ id: PaymentID, _ db: Database) throws -> AnnouncementRow? {
        try db.first("SELECT \(columns) FROM announcement WHERE id = ?", [id.rawValue], as: row)
    }

    static func due(at time: Timestamp, limit: Int, _ db: Database) throws -> [PaymentID] {
        try db.all(
            """
            SELECT id FROM announcement WHERE state = 'open' AND expires_at <= ? AND NOT EXISTS (
                SELECT 1 FROM payment WHERE payment.announcement = announcement.id AND payment.state = 'attempted')
            ORDER BY expires_at LIMIT ?
            """, [time.milliseconds, limit]
        ) { try $0.identifier() }
    }

    private static func row(_ row: inout RowReader) throws -> AnnouncementRow {
        let id: PaymentID = try row.identifier()
        let state: Announcement.State = try row.state()
        let approved = try row.optional(String.self).map(PaymentID.init)
        let terms = try row.joined(7) { row in
            Announcement.Terms(
                amount: Money(minorUnits: try row.next(), currency: try row.currency()), merchant: try row.identifier(),
                capturesLater: try row.next(), expiresAt: try row.time(),
                card: try row.optional(String.self).map(CardID.init), panMasked: try row.next())
        }
        let (digest, digestKey): ([UInt8]?, Int?) = (try row.optional(), try row.optional())
        let (salt, codeDigest, codeKey): ([UInt8]?, [UInt8]?, Int?) = (
            try row.optional(), try row.optional(), try row.optional()
        )
        let failures: Int = try row.next()
        var code: OneTimeCode?
        if let salt, let codeDigest, let codeKey {
            code = OneTimeCode(salt: salt, digest: codeDigest, keyVersion: codeKey, failures: failures)
        }
        return AnnouncementRow(
            announcement: Announcement(id: id, terms: terms, state: state, approved: approved), digest: digest,
            digestKey: digestKey, oneTimeCode: code, codeFailures: failures, createdAt: try row.time())
    }

    /// What every record of an announcement says, so that the newest one vouches for the row.
    static func facts(_ row: AnnouncementRow) -> Facts {
        var facts: Facts = ["code_failures": .number(Int64(row.codeFailures))]
        facts["state"] = .text(row.announcement.state.rawValue)
        facts["approved"] = row.announcement.approved.map { .text($0.rawValue) }
        guard let terms = row.announcement.terms else { return facts }
        facts["amount"] = .number(terms.amount.minorUnits)
        facts["currency"] = .text(terms.amount.currency.code)
        facts["merchant"] = .text(terms.merchant.rawValue)
        facts["later"] = .flag(terms.capturesLater)
        facts["expires"] = .number(terms.expiresAt.milliseconds)
        facts["card"] = terms.card.map { .text($0.rawValue) }
        return facts
    }

    /// The same in a try's record.
    static func told(_ row: AnnouncementRow?) -> Facts {
        guard let row else { return [:] }
        var facts: Facts = ["announcement_failures": .number(Int64(row.codeFailures))]
        facts["announcement_state"] = .text(row.announcement.state.rawValue)
        facts["announcement_approved"] = row.announcement.approved.map { .text($0.rawValue) }
        return facts
    }
}
