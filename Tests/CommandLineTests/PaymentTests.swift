import ECardTesting
import Foundation
import Testing

/// Payments without a chip, through the whole tool.
@Suite(.ownThread) struct PaymentTests {
    private static let pay =
        "ecard authorize --card-not-present --pan-fd 3 --code-fd 4 3<pan 4<code --currency GHS --merchant Makola --expiry $(cat expiry)"

    @Test func approvedAndDeclinedHaveTheirExitCodes() async throws {
        let issuer = try await Issuer.withCard()
        let approved = try await issuer.run("\(Self.pay) --amount 25.00 --name 'KOFI BOATENG'")
        expect(approved, exits: 0)
        #expect(approved.out.hasPrefix("APPROVED"), "\(approved)")
        // A key that was made up is told before anything is asked: a lost answer is repeated, not paid twice.
        #expect(approved.err.hasPrefix("If no answer comes, repeat with --idempotency-key "), "\(approved)")
        let declined = try await issuer.run("\(Self.pay) --amount 25.00 4<<<000")
        expect(declined, exits: 1)
        #expect(declined.out.hasPrefix("DECLINED"), "\(declined)")
        let poor = try await issuer.run("\(Self.pay) --amount 475.01")
        expect(poor, exits: 1)
        #expect(poor.out.contains("51"), "\(poor)")
        #expect(
            try await issuer.must(
                "ecard account show $account --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"account\"][\"available\"])'"
            ) == "475.00")
    }

    /// An unknown card and a wrong code are not told apart; an expired card is told to who knows its code alone.
    @Test func strangersLearnNothing() async throws {
        let issuer = try await Issuer.withCard()
        let unknown = try await issuer.run("\(Self.pay) --amount 1 3<<<4111111111111111")
        let wrong = try await issuer.run("\(Self.pay) --amount 1 4<<<000")
        let late = try await issuer.run("\(Self.pay) --amount 1 --expiry 01/20")
        for outcome in [unknown, wrong, late] {
            expect(outcome, exits: 1)
            #expect(outcome.out.contains("05  The card or the code was not accepted."), "\(outcome)")
        }
        // The ledger keeps the expiry as YYMM; this card's is put into the past.
        let expired = try await issuer.run(
            """
            python3 - $ECARD_HOME/ledger.sqlite <<'P' || exit 9
            import sqlite3, sys
            db = sqlite3.connect(sys.argv[1])
            old = db.execute("SELECT expiry FROM card").fetchone()[0]
            db.execute("UPDATE card SET expiry = ?", (old.replace(old[:2], "20", 1) if isinstance(old, str) else 2001,)); db.commit()
            P
            sed -i 's|/.*|/20|' expiry
            \(Self.pay) --amount 1
            """)
        expect(expired, exits: 1)
        #expect(expired.out.contains("54  The card has expired."), "\(expired)")
    }

    /// Funds for one of two payments at the same moment.
    @Test func twoAtOnceWithFundsForOne() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            """
            \(Self.pay) --amount 300 >one & a=$!
            \(Self.pay) --amount 300 >two & b=$!
            wait $a; first=$?; wait $b; echo $first $?
            cat one two; ecard ledger verify; ecard account show $account
            """)
        #expect(outcome.out.hasPrefix("0 1\n") || outcome.out.hasPrefix("1 0\n"), "\(outcome)")
        #expect(outcome.out.contains("51  ") && outcome.out.contains("00  "), "\(outcome)")
        #expect(outcome.out.contains("available  GHS 200.00") && outcome.out.contains("Ledger verified"), "\(outcome)")
    }

    @Test func aRepeatMovesNoMoney() async throws {
        let issuer = try await Issuer.withCard()
        let first = try await issuer.run("\(Self.pay) --amount 40 --idempotency-key k1 --json")
        let second = try await issuer.run("\(Self.pay) --amount 40 --idempotency-key k1 --json")
        expect(first, exits: 0)
        // The same answer, and told to be one: a till that counts its own orders must not take it for a fresh approval.
        #expect(first.out.contains("\"repeated\" : false"), "\(first)")
        #expect(second.out == first.out.replacing("\"repeated\" : false", with: "\"repeated\" : true"), "\(second)")
        expect(
            try await issuer.run("\(Self.pay) --amount 41 --idempotency-key k1"), exits: 2, saying: ["key"])
        #expect(try await issuer.must("ecard account show $account").contains("available  GHS 460.00"))
    }

    @Test func aHoldIsCapturedVoidedAndRefunded() async throws {
        let issuer = try await Issuer.withCard()
        let captured = try await issuer.must(
            """
            \(Self.pay) --amount 100 --capture later >/dev/null
            p=$(ecard payment list --limit 1 --ids)
            ecard payment capture $p --amount 60; ecard payment refund $p --amount 10; ecard payment refund $p
            ecard payment show $p; ecard account show $account
            """)
        #expect(
            captured.contains("captured 60.00, refunded 60.00") && captured.contains("available  GHS 500.00"),
            "\(captured)")
        let voided = try await issuer.must(
            """
            \(Self.pay) --amount 100 --capture later >/dev/null
            p=$(ecard payment list --limit 1 --ids); ecard payment void $p; echo $p; ecard account show $account
            """)
        #expect(voided.contains("available  GHS 500.00"), "\(voided)")
        // To void once more is to have it voided.
        expect(try await issuer.run("ecard payment void $(ecard payment list --limit 1 --ids)"), exits: 0)
        for command in ["capture", "refund"] {
            expect(try await issuer.run("ecard payment \(command) $(ecard payment list --limit 1 --ids)"), exits: 2)
        }
        expect(
            try await issuer.run(
                "\(Self.pay) --amount 9 --capture later; ecard payment capture $(ecard payment list --limit 1 --ids) --amount 9.01"
            ), exits: 2)
    }

    @Test func aCodeLocksIsUnlockedAndRevoked() async throws {
        let issuer = try await Issuer.withCard()
        let card = issuer.activeCard
        for _ in 0..<3 { expect(try await issuer.run("\(Self.pay) --amount 1 4<<<000"), exits: 1) }
        #expect(try await issuer.must("ecard code status \(card)").contains("locked"))
        expect(try await issuer.run("\(Self.pay) --amount 1"), exits: 1)
        try await issuer.must("ecard code unlock \(card); \(Self.pay) --amount 1")
        try await issuer.must("ecard code rotate \(card) --code-fd 5 5>new")
        expect(try await issuer.run("\(Self.pay) --amount 1"), exits: 1)
        try await issuer.must("mv new code; \(Self.pay) --amount 1; ecard code revoke \(card)")
        expect(try await issuer.run("\(Self.pay) --amount 1"), exits: 1)
    }

    /// The holder types the code at a terminal: nothing of it shows, and an interrupt gives the terminal back.
    @Test func theCodeDoesNotShowOnATerminal() async throws {
        let issuer = try await Issuer.withCard()
        let command =
            "ecard authorize --card-not-present --pan-fd 3 3<pan --currency GHS --merchant Makola --amount 7 --expiry $(cat expiry)"
        let outcome = try await issuer.run(
            """
            cat >pay <<'S'
            \(command); echo "status $?"; stty -a | grep -o -- '-\\?echo\\b'
            S
            at_prompt() { until grep -q 'Secret code' $1 2>/dev/null; do kill -0 $2 2>/dev/null || exit 8; done; }
            mkfifo keys; exec 7<>keys
            script -qefc "bash pay" seen <keys >/dev/null & at_prompt seen $!
            cat code >&7; wait $!; cat seen
            # The interrupt key, at the second prompt.
            script -qefc "bash pay" seen2 <keys >/dev/null & at_prompt seen2 $!
            printf '\\003' >&7; wait $!; cat seen2
            """)
        #expect(outcome.status == 0, "\(outcome)")
        #expect(
            outcome.out.contains("Makola, GHS 7.00. Secret code:") && outcome.out.contains("APPROVED"), "\(outcome)")
        #expect(!outcome.out.contains(issuer.text("code")), "the code was echoed")
        #expect(!outcome.out.contains("-echo"), "the terminal was left without echo: \(outcome)")
        #expect(try await issuer.must("ecard payment list --ids | wc -l") == "1", "the interrupted one was sent")
    }
}
