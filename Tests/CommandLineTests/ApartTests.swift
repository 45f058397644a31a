import ECardTesting
import Foundation
import Testing

/// `ecard serve --roles`: bank and issuer as two processes with a state folder each, over mutual TLS.
@Suite("Bank and issuer apart", .ownThread) struct ApartTests {
    @Test("A payment goes through both, and each has opened what is its own alone")
    func payment() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            "set -euo pipefail\n" + Apart.prologue + #"""
                start_issuer; start_bank
                curl -sS $bank_url/readyz; echo
                as bank/pki bank -o /dev/null -w 'issuer ready %{http_code}\n' https://issuer.ecard.internal:$issuer_port/readyz
                id=$(order | field id)
                dial s1 '' >&2
                dial s1 "$(cat code)" >&2
                status $id
                held=$(order manual | field id)
                dial s2 '' >&2; dial s2 "$(cat code)" >&2
                ask $bank_url/v1/payments/$held/capture -d '{"amount": 40}' | field status
                ask $bank_url/v1/payments/$held/refunds -d '{"amount": 10}' | field amount_refunded
                # Readers may be missing here, and are then told, too.
                (ECARD_SERVER_ISSUER=https://127.0.0.1:$issuer_port ecard doctor --home bank || true) | grep "apart"
                kill -TERM $bank; wait $bank && echo "bank ended $?"
                kill -TERM $issuer; wait $issuer && echo "issuer ended $?"
                grep "route=/issuer/v1/authorize" issuer.log | grep -c "payment=$id"
                ecard account show $account --json | grep -o '"balance" : "[^"]*"'
                ecard ledger verify >&2
                ecard bank verify --home bank >&2
                """#)
        expect(outcome, exits: 0, saying: ["Makola Books", "GHS 1.00", "Paid"])
        for line in [
            #"{"parts":{"bank-hsm":"ok","bank-ledger":"ok","issuer":"ok","mail-outbox":"ok","sms-outbox":"ok"},"#
                + #""status":"ok"}"#, "issuer ready 200",
            "captured", "bank ended 0", "issuer ended 0", "1", #""balance" : "498.70""#,
        ] {
            #expect(outcome.out.split(separator: "\n").contains { $0 == line }, "\(line): \(outcome)")
        }
        #expect(outcome.out.contains("ok       issuer, apart: https://"), "\(outcome)")
        for mine in ["ledger.sqlite", "token.pin"] {
            #expect(!FileManager.default.fileExists(atPath: issuer.folder + "/bank/" + mine), "the bank has \(mine)")
        }
        for theirs in ["bank.sqlite", "bank.pin"] {
            #expect(!FileManager.default.fileExists(atPath: issuer.home + "/" + theirs), "the issuer has \(theirs)")
        }
        for secret in [issuer.text("pan"), issuer.text("key")] {
            #expect(!issuer.text("bank.log").contains(secret) && !issuer.text("issuer.log").contains(secret))
        }
    }

    @Test("A one-time code of the issuer's comes to the telephone of the bank's simulator, and pays")
    func oneTimeCode() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            "set -euo pipefail\n" + Apart.prologue + #"""
                ecard card policy $card --profiles D >&2
                start_issuer
                listen bank --home bank --roles bank,ussd --issuer https://127.0.0.1:$issuer_port --port 0 \
                    --simulator --simulator-outbox $ECARD_HOME/outbox
                bank_url=$(grep '"url"' bank.out | grep -o 'http[^"]*')
                order >&2
                printf '%s\n' 'message asks for GHS 1.00' 'dial *920*55#' 'expect GHS 1.00' one-time-code \
                    'expect Paid: GHS 1.00' 'message Paid: GHS 1.00' >script
                ecard handset +233201234567 --url $bank_url --script script --json >report.json
                ecard bank payment list --home bank --json | grep -o '"profile" : "D"' >&2
                kill -TERM $bank; wait $bank
                kill -TERM $issuer; wait $issuer
                ecard ledger verify >&2
                ecard bank verify --home bank >&2
                """#)
        expect(outcome, exits: 0, saying: [#""profile" : "D""#])
        let report = issuer.text("report.json")
        #expect(report.contains(#""body" : "(a code)""#) && report.contains(#""kind" : "code""#), "\(report)")
    }

    @Test("Nobody but the bank reaches the issuer, and the bank no other")
    func strangers() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            "set -euo pipefail\n" + Apart.prologue + #"""
                start_issuer
                url=https://issuer.ecard.internal:$issuer_port
                as bank/pki bank $url/issuer/v1/sealing-keys -d '{}' | grep -o publicKey
                as $ECARD_HOME/pki issuer $url/issuer/v1/sealing-keys -d '{}' | grep -o party_not_allowed
                as $ECARD_HOME/pki issuer -o /dev/null -w 'own health %{http_code}\n' $url/healthz
                curl -sS --cacert bank/pki/authority.pem --resolve issuer.ecard.internal:$issuer_port:127.0.0.1 \
                    $url/healthz || echo "no certificate refused"
                ECARD_HOME=$PWD/other ecard pki init >&2 && ECARD_HOME=$PWD/other ecard pki issue bank >&2
                as other/pki bank $url/healthz || echo "another authority refused"
                as bank/pki bank --tls-max 1.2 $url/healthz || echo "TLS 1.2 refused"
                # A bank that trusts another authority than the issuer's does not speak to it.
                cp -a bank bank2; cp other/pki/* bank2/pki/
                listen bank --home bank2 --roles bank --issuer https://127.0.0.1:$issuer_port --port 0
                curl -sS $bank_url/readyz; echo
                grep -c "the issuer gave no answer" bank.log
                kill -TERM $bank $issuer; wait
                """#)
        expect(outcome, exits: 0)
        for line in [
            "publicKey", "party_not_allowed", "own health 200", "no certificate refused", "another authority refused",
            "TLS 1.2 refused",
            #"{"parts":{"bank-hsm":"ok","bank-ledger":"ok","issuer":"failed","mail-outbox":"ok","sms-outbox":"ok"},"#
                + #""status":"failed"}"#, "1",
        ] {
            #expect(outcome.out.split(separator: "\n").contains { $0 == line }, "\(line): \(outcome)")
        }
    }

    @Test("While the issuer is gone merchants see 'processing', and its verdict when it is back")
    func gone() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            "set -euo pipefail\n" + Apart.prologue + #"""
                start_issuer; start_bank
                # The bank knows from here on what codes are sealed to.
                first=$(order | field id); dial s1 '' >&2; dial s1 "$(cat code)" >&2
                id=$(order | field id); dial s2 '' >&2
                kill -9 $issuer; wait $issuer || true
                dial s2 "$(cat code)" >&2
                echo "gone: $(status $id)"
                order | grep -o '"code":"unavailable"'
                curl -sS -o /dev/null -w 'ready %{http_code}\n' $bank_url/readyz
                curl -sS -o /dev/null -w 'healthy %{http_code}\n' $bank_url/healthz
                start_issuer
                until [ "$(status $id)" = captured ]; do read -t 0.2 <> <(:) || true; done
                echo "back: $(status $id)"
                kill -TERM $bank $issuer; wait
                ecard ledger verify >&2; ecard bank verify --home bank >&2
                ecard account show $account --json | grep -o '"balance" : "[^"]*"'
                """#, limit: 240)
        expect(outcome, exits: 0, saying: ["at work on your answer"])
        for line in [
            "gone: processing", #""code":"unavailable""#, "ready 503", "healthy 200", "back: captured",
            #""balance" : "498.00""#,
        ] {
            #expect(outcome.out.split(separator: "\n").contains { $0 == line }, "\(line): \(outcome)")
        }
    }

    @Test("What waits for a person is decided by the issuer that the settings name")
    func review() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            "set -euo pipefail\n" + Apart.prologue + #"""
                cat >bank/patterns.yaml <<'YAML'
                caps: {codes-per-phone: 1000, codes-per-merchant: 1000, codes-everywhere: 1000, notices-per-card: 1000}
                rules: [{reason: an amount, amount-above: 0}]
                YAML
                start_issuer
                printf '  roles: [bank, ussd]\n  issuer: https://127.0.0.1:%s\n' $issuer_port >>bank/ecard.yaml
                listen bank --home bank --port 0
                id=$(order | field id); dial s1 '' >&2; dial s1 "$(cat code)" >&2
                ecard review list --home bank --json | grep -o '"state" : "review"'
                ecard review approve $id --by Efua --home bank
                echo "then $(status $id)"
                kill -TERM $bank $issuer; wait
                ecard review approve $id --by Efua --home bank || echo "again $?"
                """#)
        expect(outcome, exits: 0)
        for line in [#""state" : "review""#, "then captured", "again 2"] {
            #expect(outcome.out.split(separator: "\n").contains { $0 == line }, "\(line): \(outcome)")
        }
    }

    @Test(
        "Roles that do not go together, and certificates that are missing or another's, are told before anything listens",
        arguments: [
            ("ecard serve --roles ussd", 2, "bank,ussd"), ("ecard serve --roles issuer,ussd", 2, "bank,ussd"),
            ("ecard serve --roles bank,ussd", 2, "--issuer https"), ("ecard serve --roles ''", 2, "roles"),
            ("ecard serve --roles bank,clerk", 2, "some of bank"),
            ("ecard serve --issuer https://127.0.0.1:1", 2, "in this process"),
            ("ecard serve --roles issuer --port 0", 3, "pki issue"),
            ("ecard serve --roles issuer --port 0 --certificate x --key y", 2, "pki issue issuer"),
            ("ecard pki init; ecard pki issue issuer; ecard serve --roles bank --issuer https://h:1", 3, "bank.pem"),
            (
                "ecard pki init; ecard pki issue bank; ecard serve --roles bank --issuer http://127.0.0.1:1",
                3, "https://HOST:PORT"
            ),
            (
                "ecard pki init; ecard pki issue ussd; cd $ECARD_HOME/pki; cp ussd.pem bank.pem; cp ussd.key bank.key; ecard serve --roles bank --issuer https://h:1",
                3, "pki issue bank --renew"
            ),
            (
                "ecard pki init; ecard pki issue issuer; ecard pki issue ussd; cd $ECARD_HOME/pki; cp ussd.key issuer.key; ecard serve --roles issuer --port 0",
                3, "not of one another"
            ),
        ])
    func wrong(_ script: String, _ status: Int32, _ words: String) async throws {
        let issuer = try await Issuer()
        try await issuer.must("ecard bank init")
        expect(try await issuer.run(script), exits: status, saying: [words])
    }

    @Test("A bank alone in its folder: made twice it changes nothing, and what is the issuer's says where that is")
    func bankAlone() async throws {
        let folder = try Issuer.temporaryFolder()
        let outcome = try await Shell.run(
            """
            set -e
            ecard bank init --apart; ecard bank init --apart; ecard bank init
            ecard merchant add --name Makola --registration CS-1 >&2
            ecard card list || echo "no issuer $?"
            ecard init >&2; ecard card list >&2; ecard merchant list >&2
            ecard bank init --apart || echo "with an issuer $?"
            """, home: folder + "/home", folder: folder)
        expect(outcome, exits: 0, saying: ["whose issuer runs apart", "needs no --apart"])
        #expect(outcome.out.components(separatedBy: "nothing changed").count == 3, "\(outcome)")
        #expect(outcome.out.contains("no issuer 3") && outcome.out.contains("with an issuer 2"), "\(outcome)")
    }
}
