import CardData
import ECardTesting
import Foundation
import GRDB
import Ledger
import PaymentPorts
import Testing

@Suite("Key versions in the ledger") struct KeyVersionTests {
    private static let at = LedgerSample.start

    @Test("versions come one after the other, and each change raises the generation")
    func order() async throws {
        let ledger = try TemporaryFolder().ledger()
        #expect(try await ledger.keyVersions() == KeyVersions())
        for version in [1, 3, 0, -1] {
            await #expect(throws: StoreError.self) {
                try await ledger.makeCurrent(version, of: .pan, checkValue: nil, at: Self.at)
            }
        }
        try await ledger.makeCurrent(2, of: .pan, checkValue: "AB12CD", at: Self.at)
        try await ledger.makeCurrent(3, of: .pan, checkValue: nil, at: Self.at)
        try await ledger.retire(1, of: .pan, at: Self.at)
        try await ledger.retire(1, of: .pan, at: Self.at)
        let versions = try await ledger.keyVersions()
        #expect(versions == KeyVersions(generation: 3, newest: [.pan: 3], retired: [.pan: [1]]))
        #expect(versions.live(.pan) == [2, 3])
        #expect(versions.live(.code) == [1])
        #expect(try await ledger.verify(since: nil) == [])
        let told = try await ledger.records(limit: nil).map { "\($0.kind) \($0.subject) \($0.detail)" }
        #expect(
            told == [
                #"key.rotated pan {"check_value":"AB12CD","version":2}"#, #"key.rotated pan {"version":3}"#,
                #"key.retired pan {"version":1}"#,
            ])
    }

    @Test("what was computed before a change of keys is not looked at, and writes nothing")
    func generation() async throws {
        let ledger = try TemporaryFolder().ledger()
        let sample = try await LedgerSample(in: ledger)
        try await ledger.makeCurrent(2, of: .kmc, checkValue: nil, at: Self.at)
        let records = try await ledger.checkpoint().count
        guard case .keysChanged = try await ledger.begin(sample.attempt()) else {
            Issue.record("the attempt was taken")
            return
        }
        #expect(try await ledger.checkpoint().count == records)
        var attempt = sample.attempt()
        attempt.keyGeneration = 1
        _ = try await sample.begin(attempt)
    }

    @Test("the audit chain goes on under the next key, each record and row is verified by its own")
    func audit() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        let before = try await ledger.checkpoint()
        try await ledger.makeCurrent(2, of: .audit, checkValue: nil, at: Self.at)
        try await sample.deposit(1_00)
        let other = try await LedgerSample(in: ledger)
        try await ledger.makeCurrent(3, of: .audit, checkValue: nil, at: Self.at)
        try await other.deposit(1_00)
        #expect(try await ledger.verify(since: before) == [])
        // 5 records and the one that names version 2 are under version 1.
        #expect(
            try await ledger.keyUses(at: Self.at).filter { $0.key == .audit }.map(\.dependants)
                == [Int(before.count) + 1, 7, 1])
        await #expect(throws: StoreError.self) { try await ledger.retire(1, of: .audit, at: Self.at) }
        // Without the record that names it, nothing behind it verifies.
        try ledger.close()
        try folder.tamper("UPDATE audit SET detail = '{}' WHERE kind = 'key.rotated' AND detail LIKE '%2%'")
        let findings = try await folder.ledger(create: false).verify(since: nil)
        #expect(findings.contains { $0.hasPrefix("audit record \(before.count + 1): changed") })
        #expect(findings.contains { $0.hasPrefix("audit record \(before.count + 2): changed") })
    }

    @Test("a right code's new hash is taken in the commit of the decision, and only then", arguments: [true, false])
    func rehash(wasRight: Bool) async throws {
        let ledger = try TemporaryFolder().ledger()
        let sample = try await LedgerSample(in: ledger)
        try await ledger.makeCurrent(2, of: .code, checkValue: nil, at: Self.at)
        var attempt = sample.attempt()
        attempt.keyGeneration = 1
        let snapshot = try await sample.begin(attempt)
        var decision = wasRight ? sample.approval(of: snapshot.payment) : sample.decline(of: snapshot.payment)
        decision.rehashedCode = .init(digest: [9, 9, 9], keyVersion: 2)
        _ = try await ledger.decide(decision)
        let code = try #require(try await ledger.code(of: sample.card))
        #expect(code.keyVersion == (wasRight ? 2 : 1))
        #expect((code.digest == [9, 9, 9]) == wasRight)
        #expect(try await ledger.verify(since: nil) == [])
    }

    @Test(
        "what is changed behind our back is found",
        arguments: [
            ("UPDATE card SET pan_key = 1", "its key versions are not"),
            ("UPDATE card SET index_key = 7", "its key versions"),
            ("UPDATE card SET cvk_key = 2", "its key versions"), ("UPDATE card SET imk_ac = 2", "its key versions"),
            ("UPDATE card SET imk_smc = NULL", "its key versions"), ("UPDATE chip SET kmc_key = 2", "its chip or KMC"),
            ("UPDATE code SET code_key = 2", "its key version is not"),
            ("UPDATE card SET pan_sealed = x'010203'", "not what the audit chain tells"),
            ("DELETE FROM key_version WHERE role = 'pan'", "key 'pan' version 2: the audit chain tells otherwise"),
            ("UPDATE key_version SET retired_at = 1", "version 2: the audit chain tells otherwise"),
            ("INSERT INTO key_version VALUES ('kmc', 2, 0, NULL, 99)", "key 'kmc' version 2: the audit"),
        ])
    func tampered(_ sql: String, _ finding: String) async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger)
        try await ledger.setState(.blocked, of: sample.card, from: [.active], isExposed: false, at: Self.at)
        let card = CardID.random()
        try await ledger.add(
            Card(
                id: card, account: sample.account, panIndex: [1], panSealed: [1], panMasked: "*", sequenceNumber: 1,
                expiry: .init(year: 2030, month: 1), name: .init("Ama"), profile: "classic", state: .created,
                isExposed: false, lastVerifiedATC: nil, createdAt: Self.at))
        try await ledger.beginPersonalizing(card, under: ChipKeys(), at: Self.at)
        _ = try await ledger.bind(chip: [UInt8](repeating: 1, count: 10), to: card, kmc: 1, at: Self.at)
        try await ledger.makeCurrent(2, of: .pan, checkValue: nil, at: Self.at)
        var after = CardKeys()
        after.pan = 2
        let rewrapped = RewrappedPAN(card: card, before: CardKeys(), sealed: [2], index: [1], after: after)
        #expect(try await ledger.rewrap([rewrapped], at: Self.at) == 1)
        #expect(try await ledger.rewrap([rewrapped], at: Self.at) == 0)
        #expect(try await ledger.verify(since: nil) == [])
        try ledger.close()
        try folder.tamper(sql)
        let findings = try await folder.ledger(create: false).verify(since: nil)
        #expect(findings.contains { $0.contains(finding) }, "\(findings)")
    }
}
