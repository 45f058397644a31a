import ECardTesting
import Foundation
import Testing

/// The receipt of an approval reaches the outbox, once, whatever happens to the process that got the approval.
@Suite(.ownThread) struct ReceiptTests {
    private static let pay =
        "ecard authorize --card-not-present --pan-fd 3 --code-fd 4 3<pan 4<code --currency GHS --merchant Makola --expiry $(cat expiry) --json"

    private func receipts(_ issuer: Issuer) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: issuer.home + "/outbox").filter {
            $0.hasPrefix("receipt-")
        }
    }

    private func payment(_ outcome: Outcome) throws -> String {
        let receipt = try #require(outcome.json() as? [String: Any], "\(outcome)")
        return try #require(receipt["payment"] as? String)
    }

    /// `strace` kills the tool at the first system call of a kind: before there is a file of the receipt, before the file
    /// has its name, and after, when only the ledger does not know yet.
    @Test(arguments: ["mkdirat", "linkat", "unlinkat"])
    func aKilledProcessLeavesItToTheNext(call: String) async throws {
        let issuer = try await Issuer.withCard()
        let killed = try await issuer.run(
            """
            strace -f -o /dev/null -e trace=\(call) -e inject=\(call):signal=KILL \
                \(Self.pay) --amount 1 --idempotency-key first
            """)
        expect(killed, exits: 128 + SIGKILL)
        // The answer had left.
        let first = "receipt-\(try payment(killed)).json"
        #expect(try receipts(issuer) == (call == "unlinkat" ? [first] : []), "\(killed)")

        let declined = try await issuer.run("\(Self.pay) --amount 1 4<<<000")
        expect(declined, exits: 1)
        #expect(try receipts(issuer) == [first], "\(declined)")

        // Whoever sends messages takes them out; none comes back, with a repeat neither.
        try await issuer.must("rm $ECARD_HOME/outbox/\(first)")
        let repeated = try await issuer.run("\(Self.pay) --amount 1 --idempotency-key first")
        expect(repeated, exits: 0)
        try await issuer.must("ecard payment list >&2; ecard ledger verify >&2")
        #expect(try receipts(issuer) == [])
        let second = try await issuer.run("\(Self.pay) --amount 2")
        #expect(try receipts(issuer) == ["receipt-\(try payment(second)).json"])
    }

    @Test func anOutboxThatRefusesIsToldAndCostsNothing() async throws {
        let issuer = try await Issuer.withCard()
        try await issuer.must("chmod 755 $ECARD_HOME/outbox")
        let paid = try await issuer.run("\(Self.pay) --amount 1")
        expect(paid, exits: 0, saying: ["receipts were not sent", "chmod"])
        #expect(try receipts(issuer) == [])
        // Any look at the books sends it.
        try await issuer.must("chmod 700 $ECARD_HOME/outbox; ecard account list >&2")
        #expect(try receipts(issuer) == ["receipt-\(try payment(paid)).json"])
    }

    /// What was paid before the ledger kept count of receipts was told then. See Tests/Fixtures/README.md.
    @Test func anOlderLedgerSendsNothingAgain() async throws {
        let issuer = try await Issuer()
        try await issuer.must(
            """
            rm -r "$ECARD_HOME"
            tar xzf '\(Shell.package)/Tests/Fixtures/first-schema-home.tar.gz'
            chmod -R go= home
            mkdir -p home/outbox
            rm -f home/outbox/receipt-*
            test $(ecard payment list --ids | wc -l) = 2
            """)
        #expect(try receipts(issuer) == [])
        let next = try await issuer.run("\(Self.pay) --amount 2")
        #expect(try receipts(issuer) == ["receipt-\(try payment(next)).json"])
    }
}
