import ECardTesting
import Foundation
import Testing

/// Issuer or bank is killed while a payment is on its way between them: whatever the moment, the holder is debited once or not
/// at all, both books agree on every payment, and no hold stays.
///
/// `ECARD_TEST_SEED` draws the same again.
@Suite("Bank and issuer apart, killed", .ownThread) struct ApartKillTests {
    /// A card has at most 50 approvals a day.
    static let kills = (issuer: 30, bank: 8)

    @Test("Nothing is debited twice and no hold is left")
    func kills() async throws {
        var generator = SeededGenerator()
        var victims = [String](repeating: "issuer", count: Self.kills.issuer)
        victims += [String](repeating: "bank", count: Self.kills.bank)
        victims.shuffle(using: &generator)
        // Of the time that a payment takes, in thousandths: from its creation to a little after its end, and more often while
        // the holder's code is on its way.
        let plan = victims.map { victim in
            let moment = Int.random(in: Bool.random(using: &generator) ? 0...1100 : 650...1000, using: &generator)
            return "\(victim) \(moment) \(Bool.random(using: &generator) ? "manual" : "automatic")"
        }
        print("kills: \(victims.count), seed \(generator.seed)")
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            "set -euo pipefail\n" + Apart.prologue + Self.campaign,
            environment: ["PLAN": plan.joined(separator: "\n"), "TOOLS": Shell.package + "/tools"], limit: 1100)
        print(outcome.out)
        expect(outcome, exits: 0)
        func figure(_ name: String) throws -> Int {
            let line = try #require(outcome.out.split(separator: "\n").last { $0.hasPrefix(name + " ") }, "\(outcome)")
            return try #require(Int(line.dropFirst(name.count + 1)), "\(line)")
        }
        #expect(try figure("findings") == 0, "\(outcome)")
        #expect(try figure("created") >= victims.count / 2)
        // Whatever the seed, enough happened to mean something.
        #expect(try figure("approved") >= 5)
    }

    /// A payment in each round, and a kill somewhere in it; what was killed is started again at the same place.
    private static let campaign = #"""
        start_issuer; start_bank; bank_port=${bank_url##*:}
        pay() { # session, capture; what the telephone said goes to its file
            local id; id=$(order $2 2>/dev/null | field id) || true; [ -n "$id" ] || return 0
            echo $id >>created
            dial $1 '' >/dev/null 2>&1 || true
            dial $1 "$(cat code)" >said.$1 2>/dev/null || true
            if grep -q 'Paid\|Approved' said.$1; then echo $id >>told; fi
        }
        ids() { ask "$bank_url/v1/payments?limit=100" | python3 -c 'import json, sys; [print(p["id"]) for p in json.load(sys.stdin)["data"] if p["status"] in sys.argv[1:]]' "$@"; }
        cancel() { for id in $(ids $1); do ask $bank_url/v1/payments/$id/cancel -d '{}' >/dev/null; done; }
        : >created; : >told
        start=$(date +%s%N); pay first automatic; took=$(( ($(date +%s%N) - start) / 1000000 ))
        [ -s told ]
        round=0
        while read -u 9 victim moment capture; do
            round=$((round + 1))
            pay r$round $capture & payment=$!
            ms=$(( took * moment / 1000 )); read -t $(printf '%d.%03d' $((ms / 1000)) $((ms % 1000))) <> <(:) || true
            kill -9 ${!victim}; wait ${!victim} 2>/dev/null || true
            start_$victim $([ $victim = issuer ] || echo $bank_port)
            wait $payment
            # A try that a kill left undecided counts as wrong until its repeat is decided.
            ecard code unlock $card >/dev/null 2>&1 || true
            # Of several that wait the telephone would ask which one.
            cancel pending
        done 9<<<"$PLAN"
        # What is in doubt the bank finds out, what is held is given back.
        until [ -z "$(ids processing pending)" ]; do read -t 0.5 <> <(:) || true; cancel pending; done
        cancel authorized
        # Reversals and inquiries that are owed.
        owed() { ecard bank payment list --home bank --limit 100 --json | python3 -c 'import json, sys; print(sum(1 for p in json.load(sys.stdin) if p["dueAt"] and p["state"] != "awaiting_holder"))'; }
        until [ "$(owed)" = 0 ]; do read -t 0.5 <> <(:) || true; done
        kill -TERM $bank $issuer; wait
        echo "without an answer: $(grep -o 'call=[a-z-]*' bank.log | sort | uniq -c | tr -s ' \n' ' ')"
        ecard ledger verify >&2
        ecard bank verify --home bank >&2
        "$TOOLS/ledger-audit" $ECARD_HOME/ledger.sqlite >&2
        ecard bank payment list --home bank --limit 100 --json >bank.json
        ecard account show $account --json >account.json
        python3 - <<'PYTHON'
        import json
        from decimal import Decimal
        payments = {p["id"]: p for p in json.load(open("bank.json"))}
        account = json.load(open("account.json"))
        created, told = open("created").read().split(), open("told").read().split()
        findings = ["acknowledged and not there: " + p for p in created if p not in payments]
        findings += [f"told that it was paid, and is {payments[p]['state']}: {p}" for p in told
                     if payments[p]["state"] not in ("captured", "voided")]
        captured = sum(Decimal(p["captured"]) for p in payments.values())
        balance, available = Decimal(account["account"]["balance"]), Decimal(account["account"]["available"])
        if Decimal("500.00") - balance != captured:
            findings.append(f"the holder lost {Decimal('500.00') - balance}, the merchant got {captured}")
        if available != balance:
            findings.append(f"{balance - available} are held")
        states = {}
        for p in payments.values():
            states[p["state"]] = states.get(p["state"], 0) + 1
        print("ends", " ".join(f"{state}={count}" for state, count in sorted(states.items())))
        for finding in findings:
            print("finding:", finding)
        print("created", len(created))
        print("told", len(told))
        print("approved", sum(states.get(s, 0) for s in ("captured", "voided")))
        print("findings", len(findings))
        PYTHON
        """#
}
