import CardData
import ECardTesting
import GRDB
import PaymentPorts
import Synchronization
import Testing

@testable import Ledger

@Suite("Announced payments in the ledger") struct AnnouncementTests {
    /// What the rules bring, in place of the HSM's values.
    static func announcement(
        _ sample: LedgerSample, id: PaymentID = .random(), minorUnits: Int64 = 25_00, panIndex: [UInt8]? = nil,
        expiryYear: Int = 2030, at time: Timestamp = LedgerSample.start
    ) throws -> NewAnnouncement {
        NewAnnouncement(
            id: id, amount: sample.money(minorUnits), merchant: MerchantID(rawValue: "mer_1"), capturesLater: false,
            expiresAt: time.adding(seconds: 600), panMasked: "999999******0001",
            expiry: try ExpiryDate(year: expiryYear, month: 12), name: nil,
            newest: PaymentAttempt.UnderOlderKey(
                version: 1, requestDigest: [UInt8(truncatingIfNeeded: minorUnits)],
                panIndex: panIndex ?? sample.panIndex),
            older: [],
            oneTimeCode: OneTimeCode(
                salt: [UInt8](repeating: 1, count: 16), digest: [UInt8](repeating: 2, count: 32), keyVersion: 1),
            message: SealedText(sealed: [1, 2, 3], keyVersion: 1), keyGeneration: 0, at: time)
    }

    static func attempt(
        _ sample: LedgerSample, _ announcement: NewAnnouncement, _ number: Int = 1, profile: CodeProfile = .sealed,
        phone: String = "+233201234567", at time: Timestamp = LedgerSample.start
    ) -> PaymentAttempt {
        var attempt = sample.attempt(key: "\(announcement.id)/\(number)", merchant: "mer_1", channel: .online, at: time)
        attempt.amount = announcement.amount
        attempt.panIndex = []
        attempt.announced = AnnouncedTry(
            announcement: announcement.id, number: number, profile: profile,
            sealedDigest: [UInt8(truncatingIfNeeded: number)], phone: phone, expiresAt: announcement.expiresAt)
        return attempt
    }

    @Test("A reversal between the two commits of a try wins, and one after them returns the money")
    func reversalRaces() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        let first = try Self.announcement(sample)
        _ = try await ledger.announce(first)
        let snapshot = try await sample.begin(Self.attempt(sample, first))
        #expect(snapshot.obstacle == nil && snapshot.card?.id == sample.card)
        _ = try await ledger.reverse(first.id, reason: "denied", at: LedgerSample.start)
        guard case .announcementEnded(.reversed) = try await ledger.decide(sample.approval(of: snapshot.payment)) else {
            Issue.record("approved although it was reversed")
            return
        }
        _ = try await ledger.decide(sample.decline(of: snapshot.payment))
        #expect(try await sample.funds() == [100_00, 0])

        let second = try Self.announcement(sample)
        _ = try await ledger.announce(second)
        let decided = try await sample.begin(Self.attempt(sample, second))
        _ = try await ledger.decide(sample.approval(of: decided.payment))
        #expect(try await sample.funds() == [75_00, 0])
        let standing = try await ledger.reverse(second.id, reason: "in doubt", at: LedgerSample.start)
        #expect(standing.approved?.state == .reversed && standing.announcement.state == .reversed)
        #expect(try await sample.funds() == [100_00, 0])
        #expect(try await ledger.verify(since: nil) == [])
    }

    @Test("Of two tries that were both begun, one approval stands")
    func oneApproval() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        let announcement = try Self.announcement(sample)
        _ = try await ledger.announce(announcement)
        let first = try await sample.begin(Self.attempt(sample, announcement, 1))
        let second = try await sample.begin(Self.attempt(sample, announcement, 2))
        _ = try await ledger.decide(sample.approval(of: first.payment))
        guard case .announcementEnded(.approved) = try await ledger.decide(sample.approval(of: second.payment)) else {
            Issue.record("approved twice")
            return
        }
        #expect(try await sample.funds() == [75_00, 0])
    }

    @Test("An announcement whose time is over ends, but not under a try that is being decided")
    func expires() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        let (idle, busy) = (try Self.announcement(sample), try Self.announcement(sample))
        for announcement in [idle, busy] { _ = try await ledger.announce(announcement) }
        let snapshot = try await sample.begin(Self.attempt(sample, busy))
        let late = LedgerSample.start.adding(seconds: 600)
        #expect(try await ledger.expireHolds(at: late.adding(seconds: -1)) == 0)
        #expect(try await ledger.expireHolds(at: late) == 1)
        #expect(try await ledger.announcement(idle.id)?.state == .expired)
        #expect(try await ledger.announcement(busy.id)?.state == .open)
        _ = try await ledger.decide(sample.approval(of: snapshot.payment, at: late))
        #expect(try await ledger.announcement(busy.id)?.state == .approved)
        #expect(try await ledger.verify(since: nil) == [])
    }

    enum Situation: CaseIterable { case known, unknown, blocked, takesOneTimeCodes, otherExpiry }

    @Test("An announcement takes the same statements and one seal, wherever it leads", arguments: Situation.allCases)
    func alike(_ situation: Situation) async throws {
        let expected = try await Self.work(.known)
        #expect(expected > 3)
        #expect(try await Self.work(situation) == expected)
    }

    private static func work(_ situation: Situation) async throws -> Int {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        let start = LedgerSample.start
        switch situation {
        case .known, .unknown, .otherExpiry: break
        case .blocked:
            try await ledger.setState(.blocked, of: sample.card, from: [.active], isExposed: false, at: start)
        case .takesOneTimeCodes: try await ledger.setProfiles([.oneTime], of: sample.card, at: start)
        }
        let panIndex = situation == .unknown ? [UInt8](repeating: 9, count: 32) : nil
        let announcement = try announcement(
            sample, panIndex: panIndex, expiryYear: situation == .otherExpiry ? 2031 : 2030)
        let statements = Mutex(0)
        try await ledger.pool.writeWithoutTransaction { db in
            db.trace(options: .statement) { _ in statements.withLock { $0 += 1 } }
        }
        let before = try await ledger.checkpoint().count
        _ = try await ledger.announce(announcement)
        #expect(try await ledger.checkpoint().count == before + 1)
        return statements.withLock { $0 }
    }

    struct Deed: Sendable, CustomTestStringConvertible {
        let sql: String
        let finding: String
        var testDescription: String { sql }
    }

    static let deeds = [
        Deed(sql: "UPDATE announcement SET state = 'open' WHERE state = 'approved'", finding: "newest audit record"),
        Deed(sql: "UPDATE announcement SET state = 'open' WHERE state = 'reversed'", finding: "newest audit record"),
        Deed(sql: "UPDATE announcement SET code_failures = 1", finding: "newest audit record"),
        Deed(sql: "UPDATE announcement SET approved = NULL", finding: "not the one it names"),
        Deed(sql: "UPDATE announcement SET amount = 1 WHERE state = 'open'", finding: "terms are not what"),
        Deed(sql: "UPDATE announcement SET card = NULL WHERE state = 'open'", finding: "terms are not what"),
        Deed(sql: "UPDATE announcement SET expires_at = expires_at + 1", finding: "terms are not what"),
        Deed(sql: "UPDATE announcement SET later = 1", finding: "terms are not what"),
        Deed(sql: "DELETE FROM announcement WHERE state = 'open'", finding: "told by the audit chain, but gone"),
        Deed(sql: "DELETE FROM announcement WHERE state = 'reversed'", finding: "told by the audit chain, but gone"),
        Deed(sql: "UPDATE payment SET try = 2", finding: "newest audit record"),
        Deed(sql: "UPDATE card SET profiles = 'A'", finding: "takes codes by A"),
        Deed(sql: "UPDATE customer SET language = 'fr'", finding: "language or age of the telephone"),
        Deed(sql: "UPDATE customer SET phone_changed_at = 1", finding: "language or age of the telephone"),
    ]

    @Test("What was changed behind our back is found", arguments: deeds)
    func tampering(_ deed: Deed) async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        let paid = try Self.announcement(sample)
        _ = try await ledger.announce(paid)
        let snapshot = try await sample.begin(Self.attempt(sample, paid))
        _ = try await ledger.decide(sample.approval(of: snapshot.payment))
        _ = try await ledger.announce(try Self.announcement(sample))
        _ = try await ledger.reverse(.random(), reason: "in doubt", at: LedgerSample.start)
        try await ledger.setProfiles([.sealed], of: sample.card, at: LedgerSample.start)
        #expect(try await ledger.verify(since: nil) == [])
        try folder.tamper(deed.sql)
        let findings = try await ledger.verify(since: nil)
        #expect(findings.contains { $0.contains(deed.finding) }, "\(findings)")
    }
}
