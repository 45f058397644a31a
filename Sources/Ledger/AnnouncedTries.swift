import GRDB
import PaymentPorts

/// What the first commit of a try finds of the payment that was announced.
struct TryStanding {
    let row: AnnouncementRow
    let card: CardStanding
    let obstacle: AnnouncedTry.Obstacle?
}

extension Change {
    /// - Throws: ``StoreError`` `.conflict` for a payment that leads to nobody.
    func tryStanding(of attempt: AnnouncedTry, at time: Timestamp) throws -> TryStanding {
        guard let row = try AnnouncementTable.find(attempt.announcement, db), let terms = row.announcement.terms,
            let card = terms.card, let holder = try Holder.find(card: card, db)
        else {
            throw StoreError(
                .conflict, "payment \(attempt.announcement) leads to no holder",
                advice: "Nobody was asked, so nobody can have answered")
        }
        return TryStanding(
            row: row, card: try CardStanding.find(card: card, db),
            obstacle: try obstacle(to: attempt, row, terms, holder, at: time))
    }

    private func obstacle(
        to attempt: AnnouncedTry, _ row: AnnouncementRow, _ terms: Announcement.Terms, _ holder: Holder,
        at time: Timestamp
    ) throws -> AnnouncedTry.Obstacle? {
        guard row.announcement.state == .open else { return .ended(row.announcement.state) }
        // A prompt says the minute in which its time ends, and the code is good to the end of it.
        guard time < terms.expiresAt, time < attempt.expiresAt.adding(seconds: 60), attempt.expiresAt <= terms.expiresAt
        else { return .tooLate }
        guard holder.customer.phone == attempt.phone else { return .otherPhone }
        guard holder.profiles.contains(attempt.profile) else { return .profileForbidden }
        let isUsed = try db.first(
            "SELECT 1 FROM payment WHERE announcement = ? AND sealed_digest = ? AND try <> ?",
            [attempt.announcement.rawValue, attempt.sealedDigest, attempt.number], as: { _ in true })
        if isUsed != nil { return .usedBefore }
        guard attempt.profile == .oneTime else { return nil }
        guard let code = row.oneTimeCode, code.failures < OneTimeCode.failureLimit else { return .noOneTimeCode }
        return nil
    }

    /// Counts one attempt on a payment's one-time code, if it `counts`: before the code is looked at, and never taken back.
    /// - Returns: the announcement as it is now.
    func countOneTime(_ standing: TryStanding, _ counts: Bool) throws -> AnnouncementRow {
        var row = standing.row
        row.codeFailures += counts ? 1 : 0
        row.oneTimeCode?.failures = row.codeFailures
        try run(
            "UPDATE announcement SET code_failures = ? WHERE id = ?",
            [row.codeFailures, row.announcement.id.rawValue])
        return row
    }
}
