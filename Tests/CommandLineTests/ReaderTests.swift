import ECardTesting
import Foundation
import Testing

/// The tool with cards in pcscd's virtual readers, which this suite has for itself.
@Suite(.ownThread, .serialized, .virtualReaders) struct ReaderTests {
    private static let pay = "ecard authorize --currency GHS --merchant 'Makola Books' --code-fd 4 4<code"

    @Test func personalizedPaidReadAndEjected() async throws {
        let issuer = try await Issuer()
        let card = try await issuer.card()
        let inserted = try await issuer.run("ecard card insert \(card) --detach --json")
        expect(inserted, exits: 0)
        let place = try #require(try inserted.json() as? [String: Any])
        #expect((place["reader"] as? String)?.hasPrefix("Virtual PCD") == true)

        let personalized = try await issuer.run("ecard card personalize \(card) --json")
        expect(personalized, exits: 0)
        let report = try #require(try personalized.json() as? [String: Any])
        #expect(report["state"] as? String == "active")
        print("card personalize: \(report["milliseconds"] ?? "?") ms")

        let approved = try await issuer.run("\(Self.pay) --card \(card) --amount 25.00 --json")
        expect(approved, exits: 0)
        let receipt = try #require(try approved.json() as? [String: Any])
        #expect(receipt["approved"] as? Bool == true && receipt["state"] as? String == "captured", "\(approved)")
        // Any reader will do, ours is not named.
        expect(try await issuer.run("\(Self.pay) --amount 1.00"), exits: 0)
        let declined = try await issuer.run("\(Self.pay) --card \(card) --amount 1.00 4<<<000")
        expect(declined, exits: 1)
        #expect(declined.out.hasPrefix("DECLINED"), "\(declined)")
        expect(
            try await issuer.run(
                "\(Self.pay) --amount 1.00 --capture later; ecard payment void $(ecard payment list --limit 1 --ids)"),
            exits: 0)

        let tree = try await issuer.run("ecard card read --card \(card)")
        expect(tree, exits: 0)
        #expect(tree.out.contains("5A") && !tree.out.contains(issuer.text("pan")), "\(tree)")
        let whole = try await issuer.run("ecard card read --show-pan --json")
        #expect(whole.out.contains(issuer.text("pan")), "\(whole)")

        expect(try await issuer.run("ecard card insert \(card)"), exits: 3, saying: ["already", "process"])
        try await issuer.must("ecard card eject \(card)")
        expect(try await issuer.run("ecard card eject \(card)"), exits: 4, saying: ["no virtual reader"])
        expect(
            try await issuer.run("\(Self.pay) --card \(card) --amount 1"), exits: 3,
            saying: ["in no reader", "card insert"])
        #expect(
            try await issuer.must("ecard ledger verify; ecard account show $account").contains("available  GHS 474.00"))
    }

    @Test func noCardInTime() async throws {
        let issuer = try await Issuer()
        _ = try await issuer.card()
        let reader = try await issuer.must(
            "ecard reader list | awk '/Virtual PCD/ && $5 == \"no\" { print $1, $2, $3, $4; exit }'")
        expect(
            try await issuer.run("\(Self.pay) --amount 1 --timeout 0.3 --reader '\(reader)'"), exits: 3,
            saying: ["no card in", "Insert a card"])
        expect(
            try await issuer.run("ecard card read --timeout 0.3 --reader nowhere"), exits: 3,
            saying: ["nowhere", "Virtual PCD"])
        expect(try await issuer.run("ecard card read --timeout -1"), exits: 2, saying: ["--timeout"])
        // Nothing was sent, so no attempt was counted.
        #expect(try await issuer.must("ecard payment list --json") == "[\n\n]")
    }

    /// The holder pulls the card while being asked for the code: approved by the issuer, never by the chip.
    @Test func aCardPulledAtTheCodePromptCostsNothing() async throws {
        let issuer = try await Issuer()
        let card = try await issuer.card(personalized: true)
        let outcome = try await issuer.run(
            """
            mkfifo codes
            ecard authorize --card \(card) --amount 30 --currency GHS --merchant M --code-fd 4 4<codes >receipt 2>errors &
            exec 5>codes
            # It has asked when the chip has made its cryptogram, which its ATC shows: until then the transaction waits.
            until ls -l /proc/$!/fd 2>/dev/null | grep -q codes; do kill -0 $! || exit 9; done
            ecard card eject \(card); cat code >&5
            wait $!; status=$?; cat receipt errors >&2; exit $status
            """)
        expect(outcome, exits: 3, saying: ["card"])
        let after = try await issuer.must("ecard ledger verify; ecard account show $account")
        #expect(
            after.contains("available  GHS 500.00") && after.contains("balance    GHS 500.00"), "\(outcome) \(after)")
        // The next payment goes through.
        try await issuer.must(
            "ecard card insert \(card) --detach; \(Self.pay) --card \(card) --amount 5; ecard card eject \(card)")
    }

    @Test(arguments: [UInt64.random(in: 0...999_999)])
    func aKilledPersonalizationIsFinishedByTheNext(seed: UInt64) async throws {
        let issuer = try await Issuer()
        let card = try await issuer.card()
        let outcome = try await issuer.run(
            """
            RANDOM=\(seed % 32768); set -e
            for round in 1 2 3 4 5 6; do
                : >log; card=$(ecard card create --account $account); ecard card insert $card --detach >&2
                setsid ecard card personalize $card >log 2>&1 & child=$!
                # Its work on the chip begins with the first line, and takes some 200 ms.
                until [ -s log ]; do kill -0 $child; done
                ms=$(( RANDOM % 150 )); sleep $(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))
                kill -9 $child 2>/dev/null || true; wait $child 2>/dev/null || true
                echo "killed $ms ms later: $(tail -1 log)"
                [ "$(ecard card show $card --field state)" = active ] || ecard card personalize $card >&2
                test "$(ecard card show $card --field state)" = active
                ecard code issue $card --code-fd 3 3>code >&2; \(Self.pay) --card $card --amount 1 >&2
                ecard card eject $card >&2
            done
            ecard ledger verify >&2
            """)
        print("seed \(seed)\n\(outcome.out)", terminator: "")
        #expect(outcome.status == 0, "seed \(seed), card \(card): \(outcome)")
    }

    @Test func eachReaderTakesOneCardAndNoMore() async throws {
        let issuer = try await Issuer()
        // Whatever somebody else has in a reader stays there.
        let list = try await issuer.run("ecard reader list --json").json() as? [[String: Any]] ?? []
        let free = list.filter { $0["virtual"] as? Bool == true && $0["card"] as? Bool == false }.count
        try #require(free > 0, "no virtual reader is free")
        var cards: [String] = []
        for _ in 0...free { cards.append(try await issuer.must("ecard card create --account $account")) }
        for card in cards.dropLast() { try await issuer.must("ecard card insert \(card) --detach") }
        let last = try #require(cards.last)
        expect(
            try await issuer.run("ecard card insert \(last) --detach"), exits: 3,
            saying: ["every virtual reader", cards[0]])
        let places = try await issuer.run("ecard card list --json").json() as? [[String: Any]] ?? []
        #expect(Set(places.compactMap { $0["reader"] as? String }).count == free, "\(places)")
        let ejected = try await issuer.run("ecard card eject --all --json").json() as? [Any]
        #expect(ejected?.count == free)
        expect(try await issuer.run("ecard card eject --all"), exits: 0)
    }

    /// In the foreground it stays until Ctrl-C, and goes with it.
    @Test func aForegroundCardEndsWithAnInterrupt() async throws {
        let issuer = try await Issuer()
        let card = try await issuer.card()
        let outcome = try await issuer.run(
            """
            set -m
            ecard card insert \(card) >log 2>&1 & child=$!
            until grep -q 'in the reader' log; do kill -0 $child || exit 9; done
            kill -INT $child; wait $child; echo "ended $?"
            ecard card list | grep \(card); ls $ECARD_HOME/chips
            """)
        #expect(
            outcome.out.contains("ended 0") && !outcome.out.contains("Virtual PCD")
                && !outcome.out.contains(".inserted"), "\(outcome)")
    }

    @Test func watchPrintsEachEventWhenItHappens() async throws {
        let issuer = try await Issuer()
        let card = try await issuer.card()
        let outcome = try await issuer.run(
            """
            ecard reader watch --json >events & child=$!
            seen() { until grep -q "$1" events; do kill -0 $child || exit 9; done; }
            seen 'reader added'; ecard card insert \(card) --detach; seen 'card inserted'
            ecard card eject \(card); seen 'card removed'
            kill $child; cat events
            """)
        for line in outcome.out.split(separator: "\n") where line.hasPrefix("{") {
            let event = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            #expect(Set(event.keys) == ["event", "reader", "atr"], "\(line)")
        }
        #expect(outcome.out.contains("3B65000020"), "\(outcome)")
    }

    @Test func dialoguesAreRecordedPrivatelyAndReplayed() async throws {
        let issuer = try await Issuer()
        let card = try await issuer.card(personalized: true)
        let outcome = try await issuer.run(
            """
            set -e
            ecard reader record dialogue 00A404000E315041592E5359532E4444463031 00B2010C00
            stat -c %a dialogue
            ecard reader apdu 00A404000E315041592E5359532E4444463031 00B2010C00 >live
            ecard reader replay dialogue 00A404000E315041592E5359532E4444463031 00B2010C00 >replayed; cmp live replayed
            # Without commands, those of the recording: what went over the wire.
            ecard reader replay dialogue | grep -c '^>'
            ecard reader replay dialogue 00A404000E315041592E5359532E4444463031 --json
            ecard card eject \(card)
            ecard reader replay dialogue 00A4040000
            """)
        expect(outcome, exits: 3, saying: ["recording"])
        #expect(outcome.out.contains("600\n3\n") && outcome.out.contains("\"status\" : \"9000\""), "\(outcome)")
        expect(try await issuer.run("ecard reader record dialogue 00A4040000"), exits: 2, saying: ["exists"])
    }

    /// A command the chip cannot understand is answered with a status word, and that is data.
    @Test func aStatusWordIsData() async throws {
        let issuer = try await Issuer()
        let card = try await issuer.card()
        let outcome = try await issuer.run(
            "ecard card insert \(card) --detach; ecard reader apdu 00FF0000 FFCA000000 --json; ecard card eject \(card)"
        )
        expect(outcome, exits: 0)
        #expect(outcome.out.contains("6D00") && outcome.out.contains("6A81"), "\(outcome)")
    }

    /// A restart of the service is survived by a card in the reader.
    @Test func aCardComesBackWhenTheServiceDoes() async throws {
        let issuer = try await Issuer()
        let card = try await issuer.card(personalized: true)
        defer { withExtendedLifetime(issuer) {} }
        if let service = PCSCService.current, service.isOurs {
            await service.stop()
            expect(
                try await issuer.run("ecard card read --card \(card)"), exits: 3,
                saying: ["no smart-card service", "pcscd"])
            try await service.start()
            try await issuer.must("ecard card read --card \(card) --timeout 20; \(Self.pay) --card \(card) --amount 2")
        } else {
            print("pcscd was running before the test and is not stopped by it: the restart is not tested")
        }
        try await issuer.must("ecard card eject \(card)")
    }

    @Test func noServiceIsSaid() async throws {
        let issuer = try await Issuer()
        let card = try await issuer.card()
        let none = ["PCSCLITE_CSOCK_NAME": issuer.folder + "/none"]
        for command in [
            "reader list", "card read", "card insert \(card)", "card insert \(card) --detach", "reader apdu 00A4040000",
            "authorize --amount 1 --currency GHS --merchant M",
        ] {
            expect(
                try await issuer.run("ecard \(command)", environment: none), exits: 3,
                saying: ["no smart-card service", "pcscd"])
        }
        let doctor = try await issuer.run("ecard doctor", environment: none)
        expect(doctor, exits: 3)
        #expect(doctor.out.contains("MISSING  smart-card service") && doctor.out.contains("mend it:"), "\(doctor)")
        expect(try await issuer.run("ecard doctor"), exits: 0)
    }
}
