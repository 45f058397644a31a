import ECardTesting
import Foundation
import Testing

/// The independent audit finds what it is for: each of these ledgers has one thing wrong.
@Suite(.ownThread) struct LedgerAuditTests {
    private static let story = """
        pay() {
            ecard authorize --json --card-not-present --pan-fd 3 --code-fd 4 3<pan --expiry $(cat expiry) \\
                --currency GHS --merchant Makola --amount $1 --idempotency-key $2
        }
        for N in 1 2 3; do pay $N $N 4<code >told; done
        pay 4 4 4<<<000 >&2 || true; pay 5 5 4<<<000 >&2 || true
        python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA wal_checkpoint(TRUNCATE)")' \\
            $ECARD_HOME/ledger.sqlite
        """

    private static let takenBack = "a wrong code takes the failures back"
    private static let takeBack = """
        UPDATE audit SET detail = json_set(detail, '$.code_failures', 0)
        WHERE number = (SELECT max(number) FROM audit WHERE kind = 'payment.declined')
        """

    private static let damages = [
        ("a posting is lost", "DELETE FROM posting WHERE entry = (SELECT max(entry) FROM posting)"),
        ("one side of an entry", "UPDATE posting SET minor_units = minor_units - 1 WHERE minor_units > 0"),
        ("a balance is raised", "UPDATE account SET balance = balance + 1 WHERE customer IS NOT NULL"),
        (
            "a payment is debited twice",
            "INSERT INTO entry (kind, payment, at) SELECT kind, payment, at FROM entry WHERE kind = 'capture' LIMIT 1"
        ),
        ("a hold without an amount held", "UPDATE account SET held = held + 1 WHERE customer IS NOT NULL"),
        (
            "an attempt is given back",
            """
            UPDATE audit SET detail = json_set(detail, '$.code_failures', 0)
            WHERE number = (SELECT max(number) FROM audit WHERE kind = 'payment.attempted')
            """
        ),
        (takenBack, takeBack),
        (
            "a guess is looked at twice",
            """
            UPDATE payment SET reason = 'wrong code (attempt 1 of 3)' WHERE reason LIKE 'wrong code%';
            UPDATE payment SET response_code = '05' WHERE response_code = '00'
            """
        ),
        ("a record is missing", "DELETE FROM audit WHERE number = 5"),
    ]

    @Test(arguments: damages.indices) func findsDamage(index: Int) async throws {
        let (what, sql) = Self.damages[index]
        let findings = try await findings(after: sql)
        #expect(!findings.isEmpty, "not seen: \(what)")
    }

    /// A right code is forgiven its failures also where something took the approval its ground while it was looked at.
    @Test(arguments: [
        "the payment is cancelled already", "the card was blocked meanwhile", "the ATC was used meanwhile",
    ])
    func knowsARightCodeThatCameTooLate(reason: String) async throws {
        let late = "UPDATE payment SET reason = '\(reason)' WHERE idempotency_key = '5'"
        let findings = try await findings(after: "\(late);\(Self.takeBack)")
        #expect(findings == [])
    }

    /// What the audit finds in a ledger of payments that was damaged so.
    private func findings(after sql: String) async throws -> [String] {
        let issuer = try await Issuer.withCard()
        try await issuer.must(Self.story)
        let ledger = issuer.home + "/ledger.sqlite"
        #expect(try LedgerAuditor().report(on: ledger).findings == [])
        try await issuer.must(
            "sqlite3() { python3 -c \(Self.execute) \"$@\"; }; sqlite3 $ECARD_HOME/ledger.sqlite \"$sql\"",
            environment: ["sql": sql])
        return try LedgerAuditor().report(on: ledger).findings
    }

    private static let execute =
        "'import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.executescript(sys.argv[2]); db.commit()'"

    /// What somebody was told and the ledger does not have is missed.
    @Test func missesWhatWasTold() async throws {
        let issuer = try await Issuer.withCard()
        try await issuer.must(Self.story)
        let told = ToolRun(status: 0, out: issuer.text("told"), err: "", took: .zero)
        let card = KillCard(id: issuer.activeCard, expiry: "", folder: issuer.folder)
        var order = Order(key: "3", kind: .payment(wrongCode: false, later: false), card: card, amount: 3_00)
        order.told = try #require(Receipt(told))
        let payments = try LedgerAuditor().report(on: issuer.home + "/ledger.sqlite").payments
        let rows = Dictionary(uniqueKeysWithValues: payments.map { ($0.key, $0) })
        #expect(order.findings(in: rows, byID: [:]) == [])
        #expect(!order.findings(in: rows.filter { $0.key != "3" }, byID: [:]).isEmpty, "a lost approval is not missed")
        let other = Order(key: "3", kind: order.kind, card: card, amount: 4_00, told: order.told)
        #expect(!other.findings(in: rows, byID: [:]).isEmpty, "another amount is not missed")
    }
}
