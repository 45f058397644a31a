import ECardTesting
import Foundation
import GRDB
import Ledger
import PaymentPorts
import Testing

@Suite("Verification finds what was done to the file behind our back")
struct TamperTests {
    struct Deed: Sendable, CustomTestStringConvertible {
        let sql: String
        /// A part of the finding that must be reported.
        let finding: String
        var testDescription: String { sql }
    }

    /// Records 1 to 5: customer, account, deposit, card, code; 6, 7 a captured payment; 8, 9 a held one.
    static let chain = [
        Deed(sql: "UPDATE audit SET detail = '{}' WHERE number = 3", finding: "audit record 3: changed"),
        Deed(sql: "UPDATE audit SET at = at + 1 WHERE number = 4", finding: "audit record 4: changed"),
        Deed(sql: "UPDATE audit SET subject = 'x' WHERE number = 5", finding: "audit record 5: changed"),
        Deed(sql: "UPDATE audit SET kind = 'card.active' WHERE number = 9", finding: "audit record 9: changed"),
        Deed(sql: "UPDATE audit SET seal = zeroblob(32) WHERE number = 1", finding: "audit record 1: changed"),
        Deed(sql: "UPDATE audit SET seal = x'' WHERE number = 9", finding: "audit record 9: changed"),
        Deed(sql: "DELETE FROM audit WHERE number = 1", finding: "audit record 1: missing"),
        Deed(sql: "DELETE FROM audit WHERE number IN (4, 5)", finding: "audit records 4 to 5: missing"),
        Deed(sql: "DELETE FROM audit WHERE number > 7", finding: "audit records 8 to 9: missing at the end"),
        Deed(sql: "DELETE FROM audit", finding: "audit records 1 to 9: missing at the end"),
        Deed(
            sql: """
                UPDATE audit SET number = -3 WHERE number = 3; UPDATE audit SET number = 3 WHERE number = 4;
                UPDATE audit SET number = 4 WHERE number = -3
                """, finding: "audit record 3: changed, or moved"),
        Deed(sql: "UPDATE audit SET number = 99 WHERE number = 9", finding: "audit records 9 to 98: missing"),
    ]

    static let books = [
        Deed(
            sql: "UPDATE account SET balance = balance + 1 WHERE customer IS NOT NULL", finding: "its postings sum to"),
        Deed(sql: "UPDATE account SET held = 0", finding: "its holds sum to 1000"),
        Deed(sql: "DELETE FROM hold; UPDATE account SET held = 0", finding: "authorized, but nothing is held"),
        Deed(sql: "UPDATE payment SET state = 'voided' WHERE state = 'authorized'", finding: "hold of payment"),
        Deed(sql: "UPDATE posting SET minor_units = minor_units + 1 WHERE minor_units > 0", finding: "sum to 1"),
        Deed(sql: "DELETE FROM posting WHERE entry = 2", finding: "entry 2: its lines"),
        Deed(
            sql: """
                UPDATE posting SET minor_units = 2 * minor_units WHERE entry = 1;
                UPDATE account SET balance = (SELECT sum(minor_units) FROM posting WHERE account = account.id)
                """, finding: "entry 1: no audit record tells of it"),
        Deed(
            sql: """
                INSERT INTO entry (number, kind, at) VALUES (9, 'deposit', 0);
                INSERT INTO posting SELECT 9, account, minor_units FROM posting WHERE entry = 1;
                UPDATE account SET balance = (SELECT sum(minor_units) FROM posting WHERE posting.account = account.id)
                """, finding: "entry 9: no audit record tells of it"),
        Deed(
            sql: "DELETE FROM posting WHERE entry = 2; DELETE FROM entry WHERE number = 2",
            finding: "entry 2: the audit"),
        Deed(
            sql: "UPDATE payment SET captured = amount - 1, refunded = 0 WHERE state = 'captured'",
            finding: "its entries"),
        Deed(sql: "UPDATE payment SET amount = 1 WHERE state = 'authorized'", finding: "newest audit record"),
        Deed(sql: "DELETE FROM payment WHERE state = 'captured'", finding: "told by the audit chain, but gone"),
        Deed(sql: "UPDATE card SET state = 'blocked'", finding: "blocked is not what its newest audit record says"),
        Deed(sql: "UPDATE card SET exposed = 1", finding: "is not what its newest audit record says"),
        Deed(sql: "UPDATE code SET state = 'revoked'", finding: "revoked with 0 failures is not what its newest"),
        Deed(sql: "DELETE FROM code", finding: "told by the audit chain, but gone"),
        Deed(sql: "DELETE FROM customer", finding: "customer is missing"),
        Deed(
            sql: "UPDATE posting SET minor_units = 9223372036854775807",
            finding: "could not be checked, integer overflow"),
    ]

    /// Columns that decide who pays, who is asked, and how often somebody may guess.
    static let facts = [
        Deed(
            sql: """
                INSERT INTO account (id, customer, currency, created_at) VALUES ('acc_x', 'cus_x', 'GHS', 0);
                UPDATE card SET account = 'acc_x'
                """, finding: "its account, PAN"),
        Deed(sql: "UPDATE card SET expiry = '3912'", finding: "its account, PAN"),
        Deed(sql: "UPDATE card SET sequence_number = 2", finding: "its account, PAN"),
        Deed(sql: "UPDATE card SET pan_index = zeroblob(32) WHERE number = 1", finding: "its account, PAN"),
        Deed(sql: "UPDATE card SET pan_sealed = x'010204'", finding: "its account, PAN"),
        Deed(sql: "UPDATE card SET last_atc = 6", finding: "last ATC 6, the audit chain tells 7"),
        Deed(sql: "UPDATE card SET last_atc = NULL", finding: "last ATC -1, the audit chain tells 7"),
        Deed(sql: "UPDATE code SET failures = 0", finding: "active with 0 failures is not what"),
        Deed(sql: "UPDATE code SET failure_limit = 1000000", finding: "its salt, digest"),
        Deed(sql: "UPDATE code SET expires_at = 1", finding: "its salt, digest"),
        Deed(sql: "UPDATE code SET salt = x'00'", finding: "its salt, digest"),
        Deed(sql: "UPDATE code SET digest = zeroblob(32)", finding: "its salt, digest"),
        Deed(sql: "UPDATE customer SET phone = '+233209999999'", finding: "its name, phone"),
        Deed(sql: "UPDATE customer SET phone = NULL, email = phone", finding: "its name, phone"),
        Deed(
            sql: """
                INSERT INTO customer (id, name, created_at) VALUES ('cus_x', 'Eve', 0);
                UPDATE account SET customer = 'cus_x' WHERE customer IS NOT NULL
                """, finding: "its customer or currency"),
        Deed(sql: "INSERT INTO customer (id, name, created_at) VALUES ('cus_x', 'Eve', 0)", finding: "cus_x: its name"),
        Deed(sql: "UPDATE account SET customer = NULL", finding: "its customer or currency"),
        Deed(sql: "UPDATE payment SET card = NULL", finding: "is not what its newest audit record says"),
        Deed(sql: "UPDATE payment SET merchant = 'Eve'", finding: "is not what its newest audit record says"),
        Deed(sql: "UPDATE payment SET response_code = '05'", finding: "is not what its newest audit record says"),
        Deed(sql: "UPDATE payment SET idempotency_key = 'k' || number", finding: "its request or its stored answer"),
        Deed(sql: "UPDATE payment SET request_digest = zeroblob(32)", finding: "its request or its stored answer"),
        Deed(sql: "UPDATE payment SET digest_key = 2", finding: "its request or its stored answer"),
        Deed(sql: "UPDATE payment SET channel = 'x'", finding: "its request or its stored answer"),
        Deed(sql: "UPDATE payment SET answer = x'00'", finding: "its request or its stored answer"),
        Deed(sql: "UPDATE payment SET sealed_digest = zeroblob(32)", finding: "its request or its stored answer"),
        Deed(sql: "UPDATE payment SET decided_at = 0", finding: "is not what its newest audit record says"),
        Deed(
            sql: "UPDATE payment SET confirmed_at = 1 WHERE state = 'authorized'",
            finding: "is not what its newest audit record says"),
        Deed(sql: "UPDATE enrollment SET address = 'Eve'", finding: "its reference or address"),
        Deed(sql: "UPDATE enrollment SET reference = 'C-2'", finding: "its reference or address"),
        Deed(sql: "DELETE FROM enrollment", finding: "card.enrolled"),
        Deed(sql: "DELETE FROM mailer", finding: "its mailer is not what"),
        Deed(sql: "UPDATE mailer SET place = NULL", finding: "its mailer is not what"),
        Deed(sql: "UPDATE mailer SET id = 'mlr_x'", finding: "its mailer is not what"),
        Deed(sql: "UPDATE hold SET expires_at = expires_at + 1", finding: "is not what its newest audit record says"),
    ]

    @Test(arguments: facts)
    func findsChangedFacts(_ deed: Deed) async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await Self.fill(ledger)
        _ = try await sample.pay(1_00, atc: 7)
        _ = try await sample.guessWrong()
        let enrolled = try await ledger.enroll(sample.enrollment("C-1"))
        let code = CodeRecord(
            card: enrolled.card, version: 1, salt: [7], digest: [8], digits: 6, state: .active, failures: 1,
            failureLimit: 3, expiresAt: nil, issuedAt: LedgerSample.start)
        let mailer = Mailer(
            id: .random(), card: enrolled.card, version: 1, sealed: [5], place: nil, sealedAt: LedgerSample.start,
            expiresAt: LedgerSample.start, keyVersion: 1)
        try await ledger.add(code, mailer: mailer)
        try await ledger.begin(mailer.id, at: "/a", isAgain: false, time: LedgerSample.start)
        #expect(try await ledger.verify(since: nil) == [])
        try folder.tamper(deed.sql)
        let findings = try await ledger.verify(since: nil)
        #expect(findings.contains { $0.contains(deed.finding) }, "\(findings)")
    }

    @Test(arguments: chain + books)
    func finds(_ deed: Deed) async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        try await Self.fill(ledger)
        let checkpoint = try await ledger.checkpoint()
        #expect(try await ledger.verify(since: checkpoint) == [])
        try folder.tamper(deed.sql)
        let findings = try await ledger.verify(since: checkpoint)
        #expect(findings.contains { $0.contains(deed.finding) }, "\(findings)")
    }

    @Test("An older copy put back is found by the checkpoint, also when it was written on")
    func rollback() async throws {
        let folder = try TemporaryFolder()
        var ledger = try folder.ledger()
        try await Self.fill(ledger)
        try ledger.close()
        let old = try Data(contentsOf: URL(fileURLWithPath: folder.ledgerFile))
        ledger = try folder.ledger(create: false)
        try await Self.note(ledger, "after the copy")
        let checkpoint = try await ledger.checkpoint()
        try ledger.close()

        try old.write(to: URL(fileURLWithPath: folder.ledgerFile))
        ledger = try folder.ledger(create: false)
        #expect(try await ledger.verify(since: nil) == [])
        #expect(
            try await ledger.verify(since: checkpoint)
                == ["audit record 10: missing at the end; the checkpoint had them"])
        try await Self.note(ledger, "another history")
        try await Self.note(ledger, "and more")
        let findings = try await ledger.verify(since: checkpoint)
        #expect(findings.count == 1 && findings[0].contains("audit record 10: not the one"), "\(findings)")
    }

    @Test("A sealer with another key finds every record changed")
    func otherKey() async throws {
        let folder = try TemporaryFolder()
        try await Self.fill(folder.ledger())
        let other = try LedgerDatabase(
            path: folder.ledgerFile, sealer: SoftwareAuditSealer(key: [UInt8](repeating: 1, count: 32)), create: false)
        let findings = try await other.verify(since: nil)
        #expect(findings.count { $0.hasPrefix("audit record") } == 9)
        // And the sealed rows of customer, account, card and code.
        #expect(findings.count == 13)
    }

    @Test(
        "Values no version wrote are an error that names the column, not a trap",
        arguments: [
            ("UPDATE card SET expiry = '9999'", "column expiry"),
            ("UPDATE card SET state = 'melted'", "column state"),
            ("UPDATE account SET currency = 'XXQ'", "column currency"),
            ("UPDATE card SET name = ''", "column name"),
        ])
    func strangeValues(_ sql: String, _ place: String) async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await Self.fill(ledger)
        try folder.tamper(sql)
        let error = await #expect(throws: StoreError.self) {
            _ = try await ledger.cards()
            _ = try await ledger.begin(sample.attempt())
        }
        #expect(error?.kind == .corrupt)
        #expect(error?.place.contains(place) == true)
    }

    @discardableResult
    static func fill(_ ledger: LedgerDatabase) async throws -> LedgerSample {
        let sample = try await LedgerSample(in: ledger)
        _ = try await sample.pay(25_00)
        _ = try await sample.pay(10_00, capture: .later(expires: LedgerSample.start.adding(seconds: 60)))
        return sample
    }

    private static func note(_ ledger: LedgerDatabase, _ text: String) async throws {
        try await ledger.append(kind: "note", subject: text, detail: "{}", at: LedgerSample.start)
    }
}

extension TemporaryFolder {
    /// What a person with the file and an SQLite shell can do.
    func tamper(_ sql: String, _ name: String = "ledger.sqlite") throws {
        var configuration = Configuration()
        configuration.foreignKeysEnabled = false
        configuration.busyMode = .timeout(5)
        let queue = try DatabaseQueue(path: path + "/" + name, configuration: configuration)
        try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
        try queue.close()
    }
}
