import ECardTesting
import Foundation
import Ledger
import PaymentPorts
import Testing

@Suite("Verification finds what was done to the bank's file behind our back")
struct BankTamperTests {
    static let deeds = [
        ("UPDATE audit SET detail = '{}' WHERE number = 3", "audit record 3: changed"),
        ("DELETE FROM audit WHERE number = 2", "audit record 2: missing"),
        ("UPDATE merchant SET name = 'Eve'", "its name or registration number"),
        ("UPDATE merchant SET registration = 'CS-9'", "its name or registration number"),
        ("UPDATE merchant SET country = 'CI'", "its country is not what the audit chain tells"),
        ("UPDATE merchant SET state = 'verified'", "verified is not what its newest audit record says"),
        ("UPDATE merchant_key SET digest = zeroblob(32)", "its digest, merchant or mode"),
        ("UPDATE merchant_key SET is_live = 1", "its digest, merchant or mode"),
        ("UPDATE merchant_key SET ended_at = NULL", "whether it is in use"),
        ("DELETE FROM merchant_key", "merchant.key_added"),
        (
            "INSERT INTO merchant_key SELECT zeroblob(32), 'x', id, 1, 0, NULL FROM merchant",
            "x: its digest, merchant or mode"
        ),
        ("UPDATE signing_key SET point = zeroblob(65)", "its point, merchant or mode"),
        ("UPDATE signing_key SET is_live = 0", "its point, merchant or mode"),
        ("UPDATE signing_key SET ended_at = 1", "whether it is in use"),
        ("DELETE FROM signing_key", "signing_key.added"),
        ("UPDATE merchant SET requires_signatures = 0", "whether its requests must be signed"),
        ("UPDATE merchant_request SET request = '[]'", "its payment, request or record"),
        ("UPDATE merchant_request SET signed = NULL", "its payment, request or record"),
        ("DELETE FROM merchant_request", "payment.request"),
        ("UPDATE payment SET request = NULL", "its beginning is not what"),
        ("UPDATE payment SET request = 'r2' WHERE request IS NOT NULL", "the signed request that made it is gone"),
        ("UPDATE webhook_endpoint SET url = 'https://eve.example/'", "its address, secret"),
        ("UPDATE webhook_endpoint SET ended_at = 1", "whether it is in use"),
        ("UPDATE payment SET state = 'refunded' WHERE state = 'captured'", "refunded is not what"),
        ("UPDATE payment SET captured = 2600, amount = 2600 WHERE captured > 0", "is not what its newest"),
        ("UPDATE payment SET amount = 1 WHERE captured = 0", "is not what its newest audit record says"),
        ("UPDATE payment SET attempts = 0", "is not what its newest audit record says"),
        ("UPDATE payment SET is_live = 0", "is not what its newest audit record says"),
        ("UPDATE payment SET merchant_name = 'Eve'", "its beginning is not what"),
        ("UPDATE payment SET expires_at = expires_at + 1", "its beginning is not what"),
        ("UPDATE payment SET card = 'card_x'", "its beginning is not what"),
        ("UPDATE payment SET captures_later = 1", "its beginning is not what"),
        ("DELETE FROM evidence; DELETE FROM payment WHERE captured > 0", "told by the audit chain, but gone"),
        ("UPDATE payment SET sealed_code = x'01' WHERE captured > 0", "its sealed code is still there"),
        ("DELETE FROM evidence", "its signed record is not what"),
        ("UPDATE evidence SET signed = 'e30.e30.BB'", "its signed record is not what"),
        ("UPDATE payment SET prompt = 'Pay GHS 1.00?' WHERE captured > 0", "is not what its newest audit record says"),
        ("UPDATE payment SET prompt_channel = 'x' WHERE captured > 0", "is not what its newest audit record says"),
        ("UPDATE payment SET reference = 'order 8'", "its beginning is not what"),
        ("UPDATE payment SET details = NULL", "its beginning is not what"),
        ("UPDATE payment SET profiles = 'B'", "its beginning is not what"),
        ("UPDATE payment SET phone_since = 0", "its beginning is not what"),
        ("UPDATE payment SET created_at = created_at - 1", "its beginning is not what"),
        ("UPDATE evidence SET payment = 'pay_x'", "its signed record is not what"),
        ("UPDATE account SET balance = balance + 1", "its postings sum to"),
        ("UPDATE posting SET minor_units = 2 * minor_units WHERE entry = 1", "entry 1: no audit record tells of it"),
        ("DELETE FROM posting WHERE entry = 2; DELETE FROM entry WHERE number = 2", "entry 2: the audit chain"),
        ("UPDATE posting SET account = 'payout:GHS' WHERE account LIKE 'merchant:%' AND entry = 1", "its entries gave"),
    ]

    @Test(arguments: deeds)
    func finds(_ sql: String, _ finding: String) async throws {
        let folder = try TemporaryFolder()
        let bank = try folder.bank()
        let sample = try await BankSample(in: bank)
        let merchant = sample.merchant.id
        try await bank.addKey(
            [UInt8](repeating: 1, count: 32), hint: "sk_test_…A", of: merchant, isLive: false, at: BankSample.start)
        try await bank.endKey(hint: "sk_test_…A", of: merchant, at: BankSample.start)
        try await bank.add(
            WebhookEndpoint(
                id: .random(), merchant: merchant, isLive: true, url: "https://shop.example/", sealedSecret: [1],
                createdAt: BankSample.start))
        try await bank.add(
            MerchantSigningKey(
                id: "key-1", merchant: merchant, isLive: true, point: [UInt8](repeating: 4, count: 65),
                createdAt: BankSample.start))
        try await bank.requireSignatures(true, of: merchant, by: "Efua", at: BankSample.start)
        var payment = sample.payment()
        payment.request = "r1"
        var opening = sample.opening(of: payment)
        opening.request = KeptRequest(
            id: "r1", payment: payment.id, text: "{}", signed: "e30.e30.AA", at: BankSample.start)
        try await bank.open(opening)
        _ = try await sample.capture(try await sample.open().id)
        try await bank.payOut(sample.money(5_00), to: merchant, reference: "t1", at: BankSample.start)
        try await sample.check(try await sample.open().id)
        #expect(try await bank.verify(since: nil) == [])
        try folder.tamper(sql, "bank.sqlite")
        let findings = try await bank.verify(since: nil)
        #expect(findings.contains { $0.contains(finding) }, "\(findings)")
    }

    @Test("A prompt that was changed while its payment waited is found, although later steps tell of it as it was then")
    func changedPrompt() async throws {
        let folder = try TemporaryFolder()
        let bank = try folder.bank()
        let sample = try await BankSample(in: bank)
        let payment = try await sample.open().id
        try await sample.check(payment)
        #expect(try await bank.verify(since: nil) == [])
        try folder.tamper("UPDATE payment SET prompt = 'Pay GHS 9,999.00?'", "bank.sqlite")
        var declined = sample.step(payment, from: [.checking], to: .declined, .issuer)
        declined.purgesCode = true
        _ = try await sample.taken(declined)
        #expect(
            try await bank.verify(since: nil) == ["payment \(payment): its prompt was changed after it was shown"])
    }

    @Test("A sealed code is in none of the files when its payment is decided and the log was emptied")
    func wipedCode() async throws {
        let folder = try TemporaryFolder()
        let bank = try folder.bank()
        let sample = try await BankSample(in: bank)
        let payment = try await sample.open().id
        // As BankSample seals it.
        let code = Data([1] + [UInt8](repeating: 7, count: 58))
        func files() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
                try Data(contentsOf: URL(fileURLWithPath: folder.path + "/" + $0)).range(of: code) != nil
            }
        }
        try await sample.check(payment)
        #expect(try files() == ["bank.sqlite-wal"])
        var declined = sample.step(payment, from: [.checking], to: .declined, .issuer)
        declined.purgesCode = true
        _ = try await sample.taken(declined)
        #expect(try files() == ["bank.sqlite-wal"])
        await bank.emptyLog()
        #expect(try files() == [])
        // And what comes afterwards is as durable as before.
        let next = try await sample.open()
        #expect(try await bank.onlinePayment(next.id) == next)
        #expect(try await bank.verify(since: nil) == [])
    }

    @Test("Books of a bank whose merchants could not sign yet are brought up to date, and nothing in them changes")
    func before() async throws {
        let folder = try TemporaryFolder()
        let bank = try folder.bank()
        let sample = try await BankSample(in: bank)
        let payment = try await sample.open()
        try bank.close()
        try folder.tamper(
            """
            DROP INDEX payment_uncollected; DROP TABLE merchant_request; DROP TABLE signing_key;
            ALTER TABLE merchant DROP COLUMN requires_signatures;
            ALTER TABLE merchant DROP COLUMN country; ALTER TABLE payment DROP COLUMN request; PRAGMA user_version = 1
            """, "bank.sqlite")
        let opened = try folder.bank(create: false)
        #expect(try await opened.onlinePayment(payment.id) == payment)
        #expect(try await opened.merchant(sample.merchant.id)?.requiresSignatures == false)
        #expect(try await opened.verify(since: nil) == [])
    }

    @Test("Neither file is taken for the other")
    func otherSchema() async throws {
        let folder = try TemporaryFolder()
        try folder.bank().close()
        let error = #expect(throws: StoreError.self) {
            try LedgerDatabase(path: folder.path + "/bank.sqlite", sealer: SoftwareAuditSealer(), create: false)
        }
        #expect(error?.place.contains("another program") == true)
        let missing = #expect(throws: StoreError.self) {
            try BankDatabase(path: folder.path + "/none.sqlite", sealer: SoftwareAuditSealer(), create: false)
        }
        #expect(missing?.advice.contains("ecard bank init") == true)
    }
}
