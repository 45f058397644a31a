import ECardTesting
import Testing

/// `ecard doctor` on folders that lack something: what it finds, a line each, as `part: good: what`.
@Suite(.ownThread) struct DoctorTests {
    private static let prologue = #"""
        set -eu
        umask 077
        look() {
            local words=$1; shift
            ecard doctor --json "$@" >found || true
            python3 -c 'import json, sys
        for f in json.load(sys.stdin): print("%s: %s: %s [%s]" % (f["part"], f["ok"], f["what"], f["mend"]))' <found | grep "$words" || true
        }

        """#

    /// Each line begins as wanted, and holds the words.
    private func expectLines(
        _ outcome: Outcome, _ wanted: [(beginning: String, words: String)],
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        expect(outcome, exits: 0, sourceLocation: sourceLocation)
        let lines = outcome.out.split(separator: "\n").map { String($0) }
        #expect(lines.count == wanted.count, "\(outcome)", sourceLocation: sourceLocation)
        for (line, (beginning, words)) in zip(lines, wanted) {
            #expect(
                line.hasPrefix(beginning) && line.contains(words), "'\(beginning)', '\(words)' in: \(line)",
                sourceLocation: sourceLocation)
        }
    }

    @Test("The bank's patterns, and settings that cannot be read")
    func files() async throws {
        let outcome = try await Issuer().run(
            Self.prologue + #"""
                ecard bank init >&2
                look '^patterns\|^disk\|^settings'
                echo 'rule: []' >>$ECARD_HOME/patterns.yaml
                look '^patterns'
                rm $ECARD_HOME/patterns.yaml
                look '^patterns'
                echo 'colour: red' >>$ECARD_HOME/ecard.yaml
                look '^settings'
                """#)
        expectLines(
            outcome,
            [
                ("disk: True:", "MiB are free"), ("patterns: True: 12 rules", "patterns.yaml"),
                ("patterns: False:", "'rule' means nothing"), ("patterns: False: cannot read", "ecard bank init"),
                ("settings: False:", "'colour' means nothing"),
            ])
    }

    @Test("What the bank gave up is counted for seven days")
    func givenUp() async throws {
        let outcome = try await Issuer().run(
            Self.prologue + #"""
                ecard bank init >&2
                look '^messages\|^webhooks'
                merchant=$(ecard merchant add --name "Makola Books" --registration CS-1)
                endpoint=$(ecard webhook add $merchant --live --url https://shop.example/hook | head -1)
                cat >give-up.py <<'PYTHON'
                import sqlite3, sys, time
                path, merchant, endpoint = sys.argv[1:]
                books = sqlite3.connect(path)
                for name, days in (("new", 1), ("old", 8)):
                    at = int((time.time() - days * 86400) * 1000)
                    payment = dict(
                        id="pay_" + name, merchant=merchant, merchant_name="Makola Books", is_live=1, amount=100, currency="GHS",
                        captures_later=0, pan_masked="993600******1234", language="en", profiles="A", phone_since=at,
                        state="expired", reason="", step=2, attempts=0, captured=0, refunded=0, created_at=at, expires_at=at,
                        updated_at=at)
                    marks = ",".join("?" * len(payment))
                    books.execute(f"INSERT INTO payment ({','.join(payment)}) VALUES ({marks})", list(payment.values()))
                    for suffix, reason in (("notice", "no such number"), ("prompt", "begun"), ("mail", "")):
                        books.execute(
                            "INSERT INTO message (reference, kind, recipient, body, reason) VALUES (?, 'notice', '', '', ?)",
                            [f"pay_{name}.{suffix}", reason])
                    books.execute(
                        "INSERT INTO webhook_event (id, endpoint, type, payment, state, step, attempts, at, reason)"
                        " VALUES (?, ?, 'payment.expired', ?, 'expired', 2, 11, ?, 'the endpoint answered 500')",
                        ["evt_" + name, endpoint, "pay_" + name, at])
                books.commit()
                PYTHON
                python3 give-up.py $ECARD_HOME/bank.sqlite $merchant $endpoint
                look '^messages\|^webhooks'
                ecard webhook events $merchant --limit 1
                ecard webhook resend $merchant evt_new
                look '^webhooks'
                ecard webhook resend $merchant --all
                ecard webhook resend $merchant --all
                ecard webhook resend $merchant evt_none 2>&1 || echo "exit $?"
                """#)
        expectLines(
            outcome,
            [
                ("messages: True:", "none given up"), ("webhooks: True:", "no event given up"),
                ("messages: False: 1 was given up", "server's log"),
                ("webhooks: False: 1 event was given up", "ecard webhook events"),
                ("TYPE", "REASON"), ("payment.expired", "given up"), ("1 event leaves", "ecard serve"),
                ("webhooks: True:", "no event given up"), ("1 event leaves", "ecard serve"), ("No event", "given up"),
                ("ecard: not found: webhook event evt_none", "ecard webhook events mer_"), ("exit 4", ""),
            ])
    }

    @Test("The parties' certificates are to be valid for 30 days more, in an issuer's folder, too")
    func certificates() async throws {
        let outcome = try await Issuer().run(
            Self.prologue + #"""
                look "^server settings\|'s certificate"
                ecard pki init >&2
                ecard pki issue bank --days 90 >&2
                ecard pki issue issuer --days 5 >&2
                look "'s certificate"
                rm -r $ECARD_HOME/pki
                ecard pki init --days 20 >&2
                look "'s certificate"
                """#)
        expectLines(
            outcome,
            [
                ("server settings: True:", "http://127.0.0.1:8080"), ("authority's certificate: True:", "until 20"),
                ("bank's certificate: True:", "bank.pem, until 20"),
                ("issuer's certificate: False:", "ecard pki issue issuer --renew"),
                ("authority's certificate: False:", "ecard pki init"),
            ])
    }

    @Test("A bank apart needs no smart-card service, an issuer does")
    func readers() async throws {
        let outcome = try await Issuer().run(
            Self.prologue + #"""
                export PCSCLITE_CSOCK_NAME=$PWD/none
                ecard bank init --apart --home bank >&2
                look '^smart-card\|^server settings' --home bank
                look '^smart-card'
                """#)
        expectLines(outcome, [("server settings: True:", "http"), ("smart-card service: False:", "pcscd")])
    }

    @Test("A ledger that another program keeps locked is not one to restore")
    func locked() async throws {
        let outcome = try await Issuer().run(
            Self.prologue + #"""
                cat >lock.py <<'PYTHON'
                import sqlite3, sys
                ledger = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
                ledger.execute("BEGIN IMMEDIATE")
                print("locked", flush=True)
                sys.stdin.readline()
                PYTHON
                mkfifo let-go
                python3 lock.py $ECARD_HOME/ledger.sqlite <let-go >said & other=$!
                exec 8>let-go
                until grep -q locked said; do kill -0 $other; read -t 0.05 <> <(:) || true; done
                look '^ledger'
                exec 8>&-
                wait $other
                look '^ledger'
                """#)
        expectLines(outcome, [("ledger: False:", "fuser"), ("ledger: True:", "audit records")])
    }
}
