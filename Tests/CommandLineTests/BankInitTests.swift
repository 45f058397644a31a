import ByteCoding
import ECardTesting
import Foundation
import Testing

/// The bank beside the issuer: its own token, and what is signed in it.
@Suite(.ownThread) struct BankInitTests {
    @Test func aBankHasItsOwnTokenAndASecondRunChangesNothing() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            """
            set -e
            ecard hsm keys >before
            ecard bank init; ecard bank init
            ecard hsm keys >after; cmp before after
            stat -c '%a %n' $ECARD_HOME/bank.pin
            ecard hsm info --json
            ecard doctor | grep bank
            """)
        expect(outcome, exits: 0)
        for part in [
            "bank's token: token 'ecard-bank'", "bank's keys: all 4 are as they were made", "bank's books: ",
        ] { #expect(outcome.out.contains("ok       " + part), "\(outcome)") }
        #expect(outcome.out.contains("4 keys made inside pkcs11:token=ecard-bank."), "\(outcome)")
        #expect(outcome.out.contains("nothing changed"), "\(outcome)")
        #expect(outcome.out.contains("600 \(issuer.home)/bank.pin"), "\(outcome)")
        #expect(outcome.out.contains(#""label" : "ecard-bank""#), "\(outcome)")
        // A PIN of its own.
        try await issuer.must("! cmp -s $ECARD_HOME/bank.pin $ECARD_HOME/token.pin")
        let made = try await issuer.run(
            "ecard hsm speed --token ecard-bank --pin-file $ECARD_HOME/token.pin --seconds 0.01")
        expect(made, exits: 3, saying: ["refused the PIN"])
    }

    @Test func whatSomebodyWroteIntoTheSettingsStays() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            """
            set -e
            printf '# Ours.\\nserver:\\n  port: 8443 # behind the proxy' >>$ECARD_HOME/ecard.yaml
            cp $ECARD_HOME/ecard.yaml before
            ecard bank init
            head -c $(stat -c %s before) $ECARD_HOME/ecard.yaml | cmp - before
            ecard bank payment list
            """)
        expect(outcome, exits: 0)
    }

    @Test func verificationChangesNothing() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            """
            ecard authorize --card-not-present --pan-fd 4 4<pan --expiry $(cat expiry) --amount 1.00 --currency GHS \
                --merchant Shop --code-fd 3 3<code --capture later >&2 || exit 9
            sqlite=$ECARD_HOME/ledger.sqlite
            python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute(
                "UPDATE hold SET expires_at = 0")' $sqlite
            ecard ledger checkpoint >before; ecard ledger list --limit 1 >/dev/null
            ecard ledger verify; echo "verified $?"
            ecard ledger checkpoint | cmp before - && echo unchanged
            """)
        #expect(outcome.out.contains("is not what its newest audit record says"), "\(outcome)")
        #expect(outcome.out.contains("verified 5\nunchanged\n"), "\(outcome)")
    }

    @Test func whatHasNoRecordIsNotThere() async throws {
        let issuer = try await Issuer()
        try await issuer.must("ecard bank init")
        expect(
            try await issuer.run("ecard evidence export pay_0000000000000000"), exits: 4,
            saying: ["pay_0000000000000000", "not decided yet"])
    }

    @Test func withoutAnIssuerThereIsNoBank() async throws {
        let folder = try Issuer.temporaryFolder()
        let outcome = try await Shell.run("ecard bank init", home: folder + "/home", folder: folder)
        expect(outcome, exits: 3, saying: ["ecard init"])
        let issuer = try await Issuer()
        expect(try await issuer.run("ecard evidence key"), exits: 3, saying: ["no bank", "ecard bank init"])
        expect(try await issuer.run("ecard bank init --token x"), exits: 2, saying: ["--pin-file"])
    }

    @Test func twoAtOnceMakeOneBank() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            """
            ecard bank init >one & a=$!; ecard bank init >two & wait $a && wait $! && cat one two
            ls $ECARD_HOME/softhsm/tokens | wc -l; ecard evidence key | head -1
            """)
        expect(outcome, exits: 0)
        #expect(outcome.out.contains("4 keys made") && outcome.out.contains("nothing changed"), "\(outcome)")
        #expect(outcome.out.hasSuffix("2\n-----BEGIN PUBLIC KEY-----\n"), "\(outcome)")
    }

    /// Killed at moments spread over its whole run, then run again: a bank that is whole, one token of its own, and an
    /// issuer that does not notice.
    @Test(arguments: [UInt64.random(in: 0...999_999)])
    func aKilledOneIsFinishedByTheNext(seed: UInt64) async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            """
            RANDOM=\(seed % 32768); mv $ECARD_HOME fresh; cp -a fresh whole
            start=$(date +%s%N); ECARD_HOME=$PWD/whole ecard bank init >/dev/null
            took=$(( ($(date +%s%N) - start) / 1000000 ))
            for round in 1 2 3 4 5 6; do
                cp -a fresh home$round; export ECARD_HOME=$PWD/home$round
                setsid ecard bank init >/dev/null 2>&1 & child=$!
                ms=$(( RANDOM % (took + 50) )); sleep $(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))
                kill -9 $child 2>/dev/null; wait $child 2>/dev/null
                ecard ledger verify >/dev/null || exit 1
                ecard bank init >/dev/null || exit 2
                test "$(ls $ECARD_HOME/softhsm/tokens | wc -l)" = 2 || exit 3
                ecard evidence key >/dev/null || exit 4
                test "$(ecard hsm preflight | tail -1)" = "12 keys of ours, all as they were made." || exit 5
            done
            """)
        #expect(outcome.status == 0, "seed \(seed): \(outcome)")
    }

    /// As SoftHSM leaves it when it is killed while it writes the token's object for the first time: of such a token
    /// C_GetTokenInfo says CKR_GENERAL_ERROR.
    @Test(arguments: [8, 9]) func aHalfMadeTokenKeepsNobodyFromHisOwn(bytes: Int) async throws {
        let outcome = try await Issuer().run(
            """
            set -e; tokens=$ECARD_HOME/softhsm/tokens; own=$tokens/$(ls $tokens)
            half=$tokens/00000000-0000-0000-0000-000000000000; mkdir $half; touch $half/token.lock
            cp $own/generation $half; head -c \(bytes) $own/token.object >$half/token.object
            ecard ledger verify; ecard hsm keys >/dev/null
            ecard bank init; ls $tokens | wc -l
            """)
        expect(outcome, exits: 0)
        #expect(outcome.out.hasSuffix("\n2\n"), "\(outcome)")
    }

    @Test(.enabled(if: OpenCryptoki.isAvailable)) func aTokenThatLacksSomethingIsRefused() async throws {
        let issuer = try await Issuer()
        let token = try OpenCryptoki.Token()
        try #require(
            FileManager.default.createFile(
                atPath: issuer.folder + "/pin", contents: Data(token.pin.exposedCopy()),
                attributes: [.posixPermissions: 0o600]))
        let outcome = try await issuer.run(
            "ecard bank init --module \(OpenCryptoki.modulePath) --token \(token.label) --pin-file pin")
        expect(
            outcome, exits: 3,
            saying: ["cannot serve a bank; nothing was made in it", "CKM_EC_KEY_PAIR_GEN", "CKM_AES_GCM"])
        expect(try await issuer.run("ecard evidence key"), exits: 3, saying: ["no bank"])
    }

    // MARK: Evidence

    /// Signed by others' software: what this tool verifies is the standard's, and not only its own.
    @Test func othersEvidenceIsVerifiedWithoutABank() async throws {
        guard let python = PythonOracle.interpreter else { return print(PythonOracle.howToEnable) }
        let folder = try Issuer.temporaryFolder()
        try Self.signer.write(toFile: folder + "/sign.py", atomically: true, encoding: .utf8)
        let outcome = try await Shell.run(
            """
            set -e
            \(python) sign.py
            ecard evidence verify good --public-key key.pem
            ecard evidence verify good --public-key key.pem --json >report
            for bad in changed stranger none; do
                status=0; ecard evidence verify $bad --public-key key.pem 2>said || status=$?
                test $status = 5 || exit 1
                cat said
            done
            """, home: folder + "/nowhere", folder: folder)
        expect(outcome, exits: 0)
        for words in [
            "pay_0123456789ABCDEF: approved", "GHS 25.00", "Pay GHS 25.00 to Ama's Shop?", "+233…567", "profile B",
            "NOT VERIFIED: the signature is not this key's", "NOT VERIFIED: its header does not say",
        ] { #expect(outcome.out.contains(words), "'\(words)' in: \(outcome)") }
        let report = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: folder + "/report")))
        let rows = try #require(report as? [[String: Any]])
        #expect(rows.count == 2 && rows.allSatisfy { $0["valid"] as? Bool == true })
        for (command, status, words) in [
            ("evidence verify nothing --public-key key.pem", 4, "no file nothing"),
            ("evidence verify good --public-key good", 2, "no P-256 public key"),
            ("evidence verify good", 2, "--public-key"),
            ("evidence verify empty --public-key key.pem", 4, "nothing in it"),
        ] as [(String, Int32, String)] {
            let refused = try await Shell.run(
                ": >empty; ecard \(command)", home: folder + "/nowhere", folder: folder)
            expect(refused, exits: status, saying: [words])
        }
    }

    private static let signer = #"""
        import base64, hashlib, json
        from cryptography.hazmat.primitives import hashes, serialization as s
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        def b64(data): return base64.urlsafe_b64encode(data).decode().rstrip('=')
        key = ec.generate_private_key(ec.SECP256R1())
        numbers = key.public_key().public_numbers()
        x, y = (b64(number.to_bytes(32, 'big')) for number in (numbers.x, numbers.y))
        kid = b64(hashlib.sha256(f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.encode()).digest())
        open('key.pem', 'wb').write(key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
        record = {
            'version': 1, 'payment': 'pay_0123456789ABCDEF', 'live': True,
            'merchant': {'id': 'mer_1', 'name': "Ama's Shop"}, 'amount': {'minorUnits': 2500, 'currency': 'GHS'},
            'card': '993600******1234', 'phone': '+233…567', 'createdAt': 1800000000000,
            'prompt': {'text': "Pay GHS 25.00 to Ama's Shop?", 'channel': 'simulator', 'shownAt': 1800000000100},
            'profile': 'B', 'tries': 1, 'answer': 'approved', 'answeredAt': 1800000002000, 'responseCode': '00',
        }
        def signed(record, key=key, alg='ES256'):
            header = {'alg': alg, 'kid': kid, 'typ': 'ecard-evidence+jws'}
            text = '.'.join(b64(json.dumps(part).encode()) for part in (header, record))
            r, v = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
            return text + '.' + b64(r.to_bytes(32, 'big') + v.to_bytes(32, 'big'))
        good = signed(record)
        head, body, tail = good.split('.')
        other = b64(json.dumps(record | {'amount': {'minorUnits': 9900, 'currency': 'GHS'}}).encode())
        open('good', 'w').write(good + '\n' + signed(record | {'prompt': None}) + '\n')
        open('changed', 'w').write(f'{head}.{other}.{tail}\n')
        open('stranger', 'w').write(signed(record, ec.generate_private_key(ec.SECP256R1())))
        open('none', 'w').write(signed(record, alg='none'))
        """#
}
