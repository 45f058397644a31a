import ECardTesting
import Foundation
import Testing

/// `ecard hsm rotate` and `retire`, as a person and as other processes meet them.
@Suite("Key rotation, from the command line", .ownThread) struct KeyRotationTests {
    /// In a process of its own, which chooses SoftHSM's folder once.
    @Test("killed at random moments, beside payments: every card is found, every code is right, and it ends")
    func killed() async throws {
        let issuer = try await Issuer()
        let seed = SeededGenerator().seed
        let result = try await #require(
            processExitsWith: .success, observing: [\.standardOutputContent]
        ) { [folder = issuer.folder as String, account = issuer.account as String, seed = seed as UInt64] in
            try await RotationKills(folder: folder, account: account, seed: seed).run(kills: 50)
        }
        let said = String(decoding: result.standardOutputContent, as: UTF8.self)
        for line in said.split(separator: "\n") where line.hasPrefix("claim: ") { print(line) }
        #expect(said.contains("claim: "), "\(said)")
    }

    @Test("a state folder of before keys had versions: its chip pays, its repeats are recognised, its keys rotate")
    func firstSchema() async throws {
        let folder = try Issuer.temporaryFolder()
        let archive = Shell.package + "/Tests/Fixtures/first-schema-home.tar.gz"
        func must(_ script: String) async throws -> Outcome {
            let outcome = try await Shell.run("set -euo pipefail\n" + script, home: folder + "/home", folder: folder)
            #expect(outcome.status == 0, "\(outcome)")
            return outcome
        }
        let payment = """
            ecard authorize --card-not-present --pan-fd 4 4<pan --expiry $(cat expiry) --amount 3 --currency GHS \
                --merchant M --code-fd 3 3<code --json
            """
        _ = try await must("tar xzf '\(archive)'; chmod -R go= home; ecard ledger verify; ecard hsm keys")
        // Version 0.1.0 had no delivery key, and no key pair to seal codes to: everything works without them, and 'init'
        // makes them.
        let made = try await must("ecard init; ecard init")
        #expect(made.out.contains("2 keys made") && made.out.contains("nothing changed"), "\(made)")
        for round in ["upgraded", "rotated"] {
            let again = try await must(payment + " --idempotency-key before").json() as? [String: Any]
            #expect(again?["repeated"] as? Bool == true, "\(round)")
            let paid = try await must(payment).json() as? [String: Any]
            #expect(paid?["approved"] as? Bool == true, "\(round)")
            try await PCSCService.exclusively { _ in
                let chip = try await must(
                    """
                    ecard card insert $(cat card) --detach
                    ecard authorize --card $(cat card) --amount 5 --currency GHS --merchant M --code-fd 3 3<code
                    ecard card eject $(cat card)
                    """)
                #expect(chip.out.contains("APPROVED"), "\(round): \(chip)")
            }
            _ = try await must(
                "ecard ledger verify; ecard hsm rotate --all --yes; ecard ledger verify; ecard hsm preflight")
        }
    }

    @Test("a PAN that does not open is named, and all others are moved")
    func damaged() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            """
            for n in 1 2 3; do ecard card create --account $account --no-chip; done >cards
            python3 - $ECARD_HOME/ledger.sqlite $(sed -n 2p cards) <<'P'
            import sqlite3, sys
            db = sqlite3.connect(sys.argv[1])
            db.execute("UPDATE card SET pan_sealed = zeroblob(length(pan_sealed)) WHERE id = ?", [sys.argv[2]])
            db.commit()
            P
            ecard hsm rotate pan --yes 2>said; [ $? = 5 ] || exit 1
            grep -q "$(sed -n 2p cards) does not open; all others were moved" said || exit 1
            ecard hsm rotate --status | grep -E '^pan +1'
            """)
        expect(outcome, exits: 0)
        #expect(outcome.line.contains(/pan +1 +old +1 +1\b/), "\(outcome)")
    }

    @Test("what is asked is answered: a key that is none, no terminal, a version that is needed")
    func refusals() async throws {
        let issuer = try await Issuer.withCard()
        for (command, status, words) in [
            ("rotate", 2, "name one key"), ("rotate pan --all", 2, "name one key"),
            ("rotate pin", 2, "There are: storage"),
            ("rotate pan", 2, "--yes"), ("retire pan 1", 2, "--yes"), ("retire pan 1 --yes", 2, "no older version"),
            ("retire pan two --yes", 2, "two"), ("retire audit 0 --yes", 2, "no older version"),
        ] as [(String, Int32, String)] {
            expect(try await issuer.run("ecard hsm \(command)"), exits: status, saying: [words])
        }
        try await issuer.must("ecard hsm rotate imk-ac --yes")
        expect(try await issuer.run("ecard hsm retire imk-ac 1 --yes"), exits: 2, saying: ["1 depend", "--status"])
        let status = try await issuer.run("ecard hsm rotate --status --json").json() as? [[String: Any]]
        let old = status?.first { $0["key"] as? String == "imk-ac" && $0["version"] as? Int == 1 }
        #expect(old?["state"] as? String == "old")
        #expect(old?["dependants"] as? Int == 1)
        // Only a card that pays no more lets its keys go.
        try await issuer.must("ecard card block $card; ecard hsm retire imk-ac 1 --yes; ecard ledger verify")
        let keys = try await issuer.run("ecard hsm keys --json").json() as? [[String: Any]]
        let labels = keys?.compactMap { $0["label"] as? String } ?? []
        #expect(labels.contains("ecard.imk-ac.2"))
        #expect(!labels.contains("ecard.imk-ac.1"))
    }
}
