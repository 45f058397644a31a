import ByteCoding
import CardData
import EMV
import ECardTesting
import Foundation
import KeyCustody
import PKCS11
import Testing

/// Keys from elsewhere: components in, one key in the token, a transcript that proves how, and published values out.
@Suite(.ownThread, .serialized) struct CeremonyTests {
    /// Components of the two-key test key of payment manuals, 0123456789ABCDEF FEDCBA9876543210 (check value 08D7B4), and
    /// of the AES-128 key of FIPS 197, C.1 (C6A13B). Check values of the components by psec 1.3.0 and OpenSSL 3.
    private static let des = [
        "803DC8248E08183E2E1BB14555C0BB7A", "97A315941B4268209F7995C4F7DE886E", "16BD98D71CE1BDF14FBE9E19D44A0104",
    ]
    private static let desCheckValues = ["818DDC", "B6A82E", "93A743"]
    private static let aes = ["803DC8248E08183E2E1BB14555C0BB7A", "803CCA278A0D1E392612BB4E59CDB575"]

    /// Files `c1` … with the components, private, and a folder with an issuer.
    private static func issuer(_ components: [String]) async throws -> Issuer {
        let issuer = try await Issuer()
        for (index, component) in components.enumerated() {
            let path = "\(issuer.folder)/c\(index + 1)"
            try #require(
                FileManager.default.createFile(
                    atPath: path, contents: Data((component + "\n").utf8), attributes: [.posixPermissions: 0o600]))
        }
        return issuer
    }

    private static let three = "--components 3 --component-file c1 --component-file c2 --component-file c3"

    // MARK: What it does

    @Test func publishedValuesComeOutOfTheToken() async throws {
        let issuer = try await Self.issuer(Self.des + Self.aes)
        let token = try TemporaryToken()
        let shared = try TemporaryToken.sharedFolder()
        let pin = String(decoding: token.pin.exposedCopy(), as: UTF8.self)
        let given = "--token \(token.label) --pin-file pin"
        let made = try await issuer.run(
            """
            set -e
            export ECARD_HOME=$PWD/scheme SOFTHSM2_CONF=\(shared)/softhsm2.conf
            (umask 077; echo $PIN >pin)
            ecard hsm import imk-ac \(given) --custodian Ama --custodian Kofi --custodian Esi \(Self.three) --expect-kcv 08d7b4
            ecard hsm import cvk \(given) --components 3 --component-fd 3 --component-fd 4 --component-fd 5 \
                --expect-kcv 08D7B4 3<c1 4<c2 5<c3
            ecard hsm import kmc \(given) --components 2 --component-file c4 --component-file c5 --expect-kcv C6A13B
            ecard init \(given)
            ecard hsm preflight
            for transcript in scheme/ceremonies/*; do ecard hsm transcript verify $transcript; done
            customer=$(ecard customer add --name Ama); account=$(ecard account open --customer $customer --currency GHS)
            ecard card create --account $account
            """, environment: ["PIN": pin])
        expect(made, exits: 0)
        for words in [
            "ecard.imk-ac.1 is in", "9 keys made inside",
            "Imported by a key ceremony: ecard.cvk-left.1, ecard.cvk.1, ecard.imk-ac.1, ecard.kmc.1.",
            "14 keys of ours, all as they were made.", "Esi", "Verified: sealed by this token",
        ] { #expect(made.out.contains(words), "'\(words)' in: \(made)") }
        for (number, value) in Self.desCheckValues.enumerated() {
            #expect(made.err.contains("Component \(number + 1),") && made.err.contains("KCV \(value)"), "\(made)")
        }
        let values = try Self.publishedValues(try token.open())
        let published = ["561", "1227F92511E5A0B0"]
        #expect(values == published)
        print(
            "claim: CVV and ARQC under published keys that a ceremony imported | \(values.joined(separator: ", ")) | "
                + "\(published.joined(separator: ", ")) | \(values == published ? "holds" : "fails")")
    }

    /// CVV: a vector printed in many HSM manuals, which psec 1.3.0 agrees with (its PAN fails Luhn: the block is given).
    /// ARQC: pyemv 1.5.0, `cvn.VisaCVN18` with the same issuer master key, PAN 4111111111111111, sequence number 01.
    private static func publishedValues(_ store: PKCS11KeyStore) throws -> [String] {
        let elements: [BERTag: String] = [
            0x9F02: "000000009999", 0x9F03: "000000000000", 0x9F1A: "0840", 0x95: "8000048000", 0x5F2A: "0840",
            0x9A: "991231", 0x9C: "01", 0x9F37: "52BF4585", 0x82: "1800", 0x9F36: "0FFF", 0x9F10: "06011203A0B800",
        ]
        let input = try CryptogramVersion.cvn18.input(elements.compactMapValues { [UInt8](hex: $0) })
        let block = try #require([UInt8](hex: "41234567890123458701101000000000"))
        let pan = try PAN("4111111111111111")
        return try store.withSessionBlocking { session in
            let key = RetailMACKey(pair: try session.key("ecard.cvk.1"), left: try session.key("ecard.cvk-left.1"))
            let mac = try key.mac(block, padding: .method1, in: session)
            let arqc = try RetailMACKey.withSessionKey(
                issuerKey: session.key("ecard.imk-ac.1"), pan: pan, sequenceNumber: 1, counter: 0x0FFF, in: session
            ) { key throws(KeyStoreError) in try key.mac(input, in: session) }
            // What came in stays in, and does its one thing.
            for attributes in try session.keys(prefix: "ecard.imk-ac") {
                #expect(attributes.sensitive && !attributes.extractable && attributes.usage == .derive)
                #expect(!attributes.local && !attributes.neverExtractable)
            }
            return [CardValueInput.decimalize(mac, digits: 3), arqc.hex]
        }
    }

    @Test func anExistingKeyIsNeverReplaced() async throws {
        let issuer = try await Self.issuer(Self.des)
        let before = try await issuer.must("ecard hsm keys")
        let made = try await issuer.run("ecard hsm import imk-ac \(Self.three) --expect-kcv 08D7B4 --json")
        expect(made, exits: 0)
        let report = try #require(try made.json() as? [String: Any])
        #expect(report["label"] as? String == "ecard.imk-ac.2")
        #expect(report["recorded"] as? Bool == true)
        #expect(
            Set(report.keys) == [
                "key", "label", "version", "checkValue", "components", "adjustedParity", "transcript", "recorded",
            ])
        let after = try await issuer.must("ecard hsm keys; ecard ledger verify; ecard hsm preflight | tail -2")
        for line in before.split(separator: "\n").dropFirst() { #expect(after.contains(line.prefix(40)), "\(after)") }
        #expect(after.contains("13 keys of ours") && after.contains("Imported by a key ceremony: ecard.imk-ac.2."))
        let told = try await issuer.must(
            "ecard ledger list --limit 1 --json; ecard hsm transcript verify $ECARD_HOME/ceremonies/*")
        #expect(told.contains("key.imported") && told.contains("Verified"), "\(told)")
        let rotated = try await issuer.must("ecard hsm rotate imk-ac --yes; ecard hsm keys | grep imk-ac")
        #expect(rotated.contains("version 2 of a key ceremony put into use, KCV 08D7B4"))
        #expect(rotated.contains(/ecard.imk-ac.2 +current .* 08D7B4 .*\(imported\)/), "\(rotated)")
    }

    // MARK: What it refuses

    struct Refused: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let components: [String]
        var key = "imk-ac"
        var expected = "08D7B4"
        let status: Int32
        let words: [String]
    }

    static let refused = [
        Refused(
            testDescription: "wrong whole", components: des, expected: "08D7B5", status: 5, words: ["08D7B4", "08D7B5"]),
        Refused(testDescription: "equal components", components: [des[0], des[0]], status: 2, words: ["given before"]),
        Refused(
            testDescription: "equal but for parity bits", components: [des[0], "813DC8248E08183E2E1BB14555C0BB7A"],
            status: 2, words: ["given before"]),
        Refused(
            testDescription: "zero component", components: [des[0], String(repeating: "0", count: 32)], status: 2,
            words: ["adds nothing"]),
        Refused(
            testDescription: "zero but for parity bits", components: [des[0], String(repeating: "01", count: 16)],
            status: 2, words: ["adds nothing"]),
        Refused(
            testDescription: "15 bytes", components: [des[0], String(des[1].dropLast(2))], status: 2,
            words: ["15 bytes"]),
        Refused(
            testDescription: "24 bytes", components: [des[0], des[1] + "0011223344556677"], status: 2,
            words: ["24 bytes"]),
        Refused(
            testDescription: "no hexadecimal", components: [des[0], "correct horse"], status: 2,
            words: ["32 hexadecimal digits"]),
        // The second component makes each half 1122334455667788.
        Refused(
            testDescription: "equal halves",
            components: ["803DC8248E08183E2E1BB14555C0BB7A", "911FFB60DB6E6FB63F39820100A6CCF2"], status: 2,
            words: ["two equal halves"]),
        // The second component makes the left half FEFEFEFEFEFEFEFE.
        Refused(
            testDescription: "weak half",
            components: ["803DC8248E08183E2E1BB14555C0BB7A", "7EC336DA70F6E6C09F7995C4F7DE886E"], status: 2,
            words: ["weak half"]),
        // 1FE01FE00EF10EF1, one of the semi-weak keys, as the right half.
        Refused(
            testDescription: "semi-weak half",
            components: ["803DC8248E08183E2E1BB14555C0BB7A", "97A315941B42682031FBAEA55B31B58B"], status: 2,
            words: ["weak half"]),
        Refused(
            testDescription: "zero AES key", components: [aes[0], aes[0]], key: "kmc", status: 2,
            words: ["given before"]),
        Refused(testDescription: "no key of ours", components: des, key: "zmk", status: 2, words: ["zmk", "imk-ac"]),
        Refused(
            testDescription: "a key made in the token", components: des, key: "code", status: 2, words: ["elsewhere"]),
    ]

    /// Nothing is made, the next ceremony is as if there had been none, and of what got as far as a component there is a
    /// transcript that says how it ended. No component is in anything that was printed or kept.
    @Test(arguments: refused) func aBadCeremonyMakesNothing(_ bad: Refused) async throws {
        let issuer = try await Self.issuer(bad.components)
        let before = try await issuer.must("ecard hsm keys")
        let files = (1...bad.components.count).map { "--component-file c\($0)" }.joined(separator: " ")
        let outcome = try await issuer.run(
            "ecard hsm import \(bad.key) --components \(bad.components.count) \(files) --expect-kcv \(bad.expected)")
        expect(outcome, exits: bad.status, saying: bad.words)
        #expect(outcome.out.isEmpty, "\(outcome)")
        #expect(try await issuer.must("ecard hsm keys") == before)
        let kept = try await issuer.must("cat $ECARD_HOME/ceremonies/* 2>/dev/null || true")
        if kept.isEmpty {
            #expect(bad.key == "zmk" || bad.key == "code")
        } else {
            try await issuer.must("ecard hsm transcript verify $ECARD_HOME/ceremonies/*")
            #expect(!kept.contains("\"made\""))
        }
        for component in bad.components where component.count >= 16 {
            for text in [outcome.err, kept] {
                #expect(!text.lowercased().contains(component.lowercased().prefix(16)), "a component was printed")
            }
        }
    }

    @Test(arguments: [
        ("--components 1 --component-file c1 --expect-kcv 08D7B4", 2, "2 or 3"),
        ("--components 3 --component-file c1 --component-file c2 --expect-kcv 08D7B4", 2, "2 were given"),
        ("--components 2 --component-file c1 --component-file c2", 2, "--expect-kcv"),
        ("--components 2 --component-file c1 --component-file c2 --expect-kcv 08D7", 2, "6 hexadecimal digits"),
        ("--components 2 --component-file c1 --component-file open --expect-kcv 08D7B4", 2, "chmod 600"),
        ("--components 2 --component-file c1 --component-file none --expect-kcv 08D7B4", 2, "No such file"),
        ("--components 2 --component-fd 3 --component-fd 9 --expect-kcv 08D7B4 3<c1", 2, "descriptor 9"),
        ("--components 2", 2, "no terminal"),
    ])
    func aBadCommandLineSaysSo(_ options: String, _ status: Int32, _ words: String) async throws {
        let issuer = try await Self.issuer(Self.des)
        let outcome = try await issuer.run("cp c2 open; chmod 644 open; ecard hsm import cvk \(options)")
        expect(outcome, exits: status, saying: [words])
    }

    /// A killed ceremony leaves the token as it was: the key is made in its last step.
    @Test func aKilledCeremonyMakesNothing() async throws {
        let issuer = try await Self.issuer(Self.des)
        let outcome = try await issuer.run(
            """
            before=$(ecard hsm keys)
            mkfifo slow; exec 7<>slow
            ecard hsm import cvk --components 2 --component-fd 3 --component-fd 4 --expect-kcv 08D7B4 3<c1 4<slow 2>said &
            until grep -q 'Component 1' said; do kill -0 $! || exit 1; done
            kill -9 $!; wait $!
            test "$(ecard hsm keys)" = "$before" && ecard hsm preflight >/dev/null && echo same
            """)
        #expect(outcome.line == "same", "\(outcome)")
    }

    // MARK: The transcript

    /// Every single change to the file is found: by the seal, or because the file is not as it was written.
    @Test func aChangedTranscriptDoesNotVerify() async throws {
        let issuer = try await Self.issuer(Self.des)
        try await issuer.must(
            "ecard hsm import cvk \(Self.three) --expect-kcv 08D7B4; cp $ECARD_HOME/ceremonies/* good")
        let good = Array(FileManager.default.contents(atPath: issuer.folder + "/good") ?? Data())
        var generator = SeededGenerator()
        print("changed transcripts: ECARD_TEST_SEED=\(generator.seed)")
        var count = 60
        for number in 0..<count {
            var changed = good
            let place = Int.random(in: 0..<changed.count, using: &generator)
            switch number % 3 {
            case 0: changed[place] ^= 1 << UInt8.random(in: 0...6, using: &generator)
            case 1: changed.remove(at: place)
            default: changed.insert(UInt8.random(in: 0x20...0x7E, using: &generator), at: place)
            }
            if changed == good { changed.append(0x20) }
            let path = "\(issuer.folder)/bad\(number)"
            try #require(FileManager.default.createFile(atPath: path, contents: Data(changed)))
        }
        // One that names a version of the audit key that there never was.
        try await issuer.must("sed 's/audit\\.1\"/audit.7\"/' good >bad-version; ! cmp -s good bad-version")
        count += 1
        let outcome = try await issuer.run(
            """
            ecard hsm transcript verify good >/dev/null || exit 1
            found=0
            for bad in bad*; do ecard hsm transcript verify $bad >/dev/null 2>&1; [ $? = 5 ] && found=$((found + 1)); done
            echo $found
            """)
        #expect(outcome.line == "\(count)", "\(outcome)")
        print(
            "claim: changed ceremony transcripts that verified | \(count - (Int(outcome.line) ?? 0)) of \(count) | 0 | "
                + (outcome.line == "\(count)" ? "holds" : "fails"))
    }

    /// A stranger's file is shown to nobody with what could steer their terminal.
    @Test func aTranscriptSteersNoTerminal() async throws {
        let issuer = try await Self.issuer(Self.des)
        let outcome = try await issuer.run(
            """
            ecard hsm import cvk \(Self.three) --expect-kcv 08D7B4 --custodian $'Ama\\e[2J' && exit 1
            ecard hsm import cvk \(Self.three) --expect-kcv 08D7B4 --custodian Ama >/dev/null || exit 1
            sed 's/"Ama"/"Ama\\\\u001b[2J"/' $ECARD_HOME/ceremonies/* >steering
            grep -q u001b steering || exit 1
            ecard hsm transcript verify steering
            """)
        expect(outcome, exits: 5, saying: ["no transcript", "control characters"])
        #expect(!(outcome.out + outcome.err).contains("\u{1B}"), "\(outcome)")
    }

    @Test func anotherTokensTranscriptDoesNotVerify() async throws {
        let issuer = try await Self.issuer(Self.des)
        let outcome = try await issuer.run(
            """
            ecard hsm import cvk \(Self.three) --expect-kcv 08D7B4 >/dev/null || exit 1
            mv $ECARD_HOME/ceremonies/* theirs
            ECARD_HOME=$PWD/other ecard init >/dev/null
            ECARD_HOME=$PWD/other ecard hsm transcript verify theirs
            """)
        expect(outcome, exits: 5, saying: ["the seal is not by this token's audit key", "not in the token"])
    }

    /// A key that somebody put into the token without a ceremony is a finding, and so is one whose transcript is gone.
    @Test func aKeyWithoutATranscriptIsAFinding() async throws {
        let issuer = try await Self.issuer(Self.des)
        let outcome = try await issuer.run(
            """
            ecard hsm import imk-smi \(Self.three) --expect-kcv 08D7B4 >/dev/null || exit 1
            ecard hsm preflight >/dev/null || exit 1
            rm $ECARD_HOME/ceremonies/*
            ecard hsm rotate imk-smi --yes; [ $? = 2 ] || exit 1
            ecard hsm preflight
            """)
        expect(outcome, exits: 5, saying: ["no transcript of a key ceremony tells of it"])
        #expect(outcome.out.contains("ecard.imk-smi.2': was not made in the token"), "\(outcome)")
    }

    // MARK: At the terminal

    /// Two custodians at a terminal: the first mistypes, then says no to a check value, then yes. Nothing that was typed
    /// shows, and the screen with its scrollback is cleared after each turn. Standard error goes elsewhere: what must be
    /// compared is on the terminal all the same.
    @Test func custodiansSitDownOneAfterTheOther() async throws {
        let whole = "0123456789ABCDEFFEDCBA9876543210"
        let key = try #require([UInt8](hex: whole))
        let first = try #require([UInt8](hex: Self.des[0]))
        let second = key.xor(first).hex
        let issuer = try await Self.issuer([Self.des[0], second])
        let script = """
            import os, pty, sys
            child, terminal = pty.fork()
            if child == 0: os.execvp("sh", ["sh", "-c", "exec ecard hsm import cvk --components 2 2>said"])
            seen = b""
            def answer(prompt, text):
                global seen
                start = len(seen)
                while prompt not in seen[start:]:
                    seen += os.read(terminal, 4096)
                os.write(terminal, text.encode() + b"\\n")
            c1, c2 = (open(name).read().strip() for name in ("c1", "c2"))
            answer(b"custodian 1", "Ama")
            answer(b"hidden", "not hexadecimal")
            answer(b"hidden", c1)
            answer(b"sheet", "no")
            answer(b"hidden", c1)
            answer(b"sheet", "yes")
            answer(b"custodian 2", "Kofi")
            answer(b"hidden", c2)
            answer(b"sheet", "yes")
            answer(b"agreed", "yes")
            try:
                while chunk := os.read(terminal, 4096): seen += chunk
            except OSError: pass
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            open("seen", "wb").write(seen)
            sys.exit(status)
            """
        try #require(FileManager.default.createFile(atPath: issuer.folder + "/desk.py", contents: Data(script.utf8)))
        let outcome = try await issuer.run("python3 desk.py && ecard hsm transcript verify $ECARD_HOME/ceremonies/*")
        let seen = issuer.text("seen")
        expect(outcome, exits: 0)
        let shown = [Self.des[0], second].filter { seen.contains($0.prefix(8)) }
        #expect(shown == [], "a component shows")
        #expect(seen.components(separatedBy: "\u{1B}[2J\u{1B}[3J\u{1B}[H").count - 1 == 4, "\(seen)")
        #expect(seen.contains("KCV 818DDC") && seen.contains("KCV 08D7B4"), "\(seen)")
        #expect(
            outcome.out.contains("not confirmed") && outcome.out.contains("Ama") && outcome.out.contains("Kofi"),
            "\(outcome)")
        print(
            "claim: components of a ceremony that showed on the terminal | \(shown.count) of 2 | 0 | "
                + (shown.isEmpty ? "holds" : "fails"))
    }
}
