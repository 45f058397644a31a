import ECardTesting
import Foundation
import Testing

/// `ecard init`: no terminal, nothing twice, nothing of others, nothing left half.
@Suite(.ownThread) struct InitTests {
    /// Every file below a folder with its SHA-256, the keys, and the end of the audit chain. SoftHSM writes its token's own
    /// file at every login, SQLite its log and counters at every opening.
    private static let fingerprint = """
        ecard hsm keys --json; ecard ledger checkpoint; (cd $ECARD_HOME && find . -type f ! -name token.object ! -path './softhsm/kept/*' ! -name 'ledger.sqlite*' \
            -print0 | sort -z | xargs -0 sha256sum)
        """

    @Test func theSecondChangesNothing() async throws {
        let issuer = try await Issuer()
        let before = try await issuer.must(Self.fingerprint)
        let second = try await issuer.run("ecard init --json")
        expect(second, exits: 0)
        let report = try #require(try second.json() as? [String: Any])
        #expect(report["alreadyThere"] as? Bool == true)
        #expect((report["keysMade"] as? [Any])?.isEmpty == true)
        #expect(try await issuer.must(Self.fingerprint) == before)
    }

    @Test func onlyTheOwnerMayReadAnyOfIt() async throws {
        // An open umask and a folder made by somebody careless.
        let folder = try Issuer.temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let modes = try await Shell.run(
            """
            umask 000; mkdir -m 777 home; ecard init >/dev/null
            c=$(ecard customer add --name A); a=$(ecard account open --customer $c --currency GHS)
            k=$(ecard card create --account $a); ecard code issue $k --deliver || ecard code issue $k >/dev/null
            find home -type d -printf '%m\\n' | sort -u; find home -type f -printf '%m\\n' | sort -u
            """, home: folder + "/home", folder: folder)
        #expect(modes.out == "700\n600\n", "\(modes)")
    }

    @Test func aFolderOfOthersIsNotTaken() async throws {
        let folder = try Issuer.temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let outcome = try await Shell.run(
            "mkdir -m 755 home; touch home/mine; ecard init", home: folder + "/home", folder: folder)
        expect(outcome, exits: 3, saying: ["can be entered by others", "chmod 700"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/home") == ["mine"])
    }

    @Test func twoAtOnceMakeOneIssuer() async throws {
        let folder = try Issuer.temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let outcome = try await Shell.run(
            """
            ecard init >one & a=$!; ecard init >two & wait $a && wait $! && cat one two
            ls home/softhsm/tokens | wc -l; ecard hsm preflight | tail -1
            """, home: folder + "/home", folder: folder)
        expect(outcome, exits: 0)
        #expect(outcome.out.contains("12 keys made") && outcome.out.contains("nothing changed"), "\(outcome)")
        #expect(outcome.out.hasSuffix("1\n12 keys of ours, all as they were made.\n"), "\(outcome)")
    }

    /// Killed at moments spread over its whole run, then run again: an issuer that is whole, and one token.
    @Test(arguments: [UInt64.random(in: 0...999_999)])
    func aKilledOneIsFinishedByTheNext(seed: UInt64) async throws {
        let folder = try Issuer.temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let outcome = try await Shell.run(
            """
            RANDOM=\(seed % 32768)
            start=$(date +%s%N); ECARD_HOME=$PWD/whole ecard init >/dev/null; took=$(( ($(date +%s%N) - start) / 1000000 ))
            for round in 1 2 3 4 5 6; do
                export ECARD_HOME=$PWD/home$round
                setsid ecard init >/dev/null 2>&1 & child=$!
                ms=$(( RANDOM % (took + 50) )); sleep $(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))
                kill -9 $child 2>/dev/null; wait $child 2>/dev/null
                ecard init >/dev/null || exit 1
                test "$(ecard hsm preflight | tail -1)" = "12 keys of ours, all as they were made." || exit 2
                ecard ledger verify >/dev/null || exit 3
            done
            """, home: folder, folder: folder)
        #expect(outcome.status == 0, "seed \(seed): \(outcome)")
    }

    @Test func aLostConfigurationCostsNoKey() async throws {
        let issuer = try await Issuer()
        let before = try await issuer.must("ecard hsm keys; cat $ECARD_HOME/token.pin")
        let after = try await issuer.must(
            "rm $ECARD_HOME/ecard.yaml; ecard init >/dev/null; ecard hsm keys; cat $ECARD_HOME/token.pin")
        #expect(before == after)
    }

    /// A token that is there before `init`, with an object in it, in the same SoftHSM folder and in another.
    @Test func anotherTokenIsNeverTouched() async throws {
        let folder = try Issuer.temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let outcome = try await Shell.run(
            """
            set -e
            mkdir tokens; echo "directories.tokendir = $PWD/tokens" >softhsm2.conf; export SOFTHSM2_CONF=$PWD/softhsm2.conf
            softhsm2-util --init-token --free --label theirs --so-pin 12345678 --pin 87654321 >/dev/null
            print() { (cd tokens && find . -type f -print0 | sort -z | xargs -0 sha256sum); }
            print >before
            ecard init >/dev/null
            unset SOFTHSM2_CONF; print >after; cmp before after
            """, home: folder + "/home", folder: folder)
        expect(outcome, exits: 0)
    }

    /// An existing token is used as it is: keys are made in it, and it is not initialized.
    @Test func anExistingTokenIsUsedByName() async throws {
        let folder = try Issuer.temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let outcome = try await Shell.run(
            """
            set -e
            mkdir tokens; echo "directories.tokendir = $PWD/tokens" >softhsm2.conf; export SOFTHSM2_CONF=$PWD/softhsm2.conf
            softhsm2-util --init-token --free --label given --so-pin 12345678 --pin 87654321 >/dev/null
            (umask 077; echo 87654321 >pin)
            ecard init --token 'pkcs11:token=given' --pin-file pin
            ecard hsm preflight | tail -1
            ecard init --token 'pkcs11:token=given' --pin-file pin
            ecard init --token other --pin-file pin
            """, home: folder + "/home", folder: folder)
        expect(outcome, exits: 2, saying: ["uses pkcs11:token=given, not other"])
        #expect(outcome.out.contains("12 keys of ours, all as they were made."), "\(outcome)")
        #expect(outcome.out.contains("nothing changed"), "\(outcome)")
    }

    /// Another vendor's module without a named token: refused before anything is written into it.
    @Test func aForeignModuleNeedsANamedToken() async throws {
        let folder = try Issuer.temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let outcome = try await Shell.run(
            "ecard init --module /usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", home: folder + "/home", folder: folder)
        if FileManager.default.fileExists(atPath: "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so") {
            expect(outcome, exits: 2, saying: ["OpenSC", "--token", "not initialized"])
        } else {
            expect(outcome, exits: 3, saying: ["cannot be used", "opensc-pkcs11.so"])
        }
    }

    /// SoftHSM empties `token.object` at each login and writes it anew: a kill between the two, or a power cut soon after.
    @Test(arguments: ["", "head -c 100 $kept", "head -c $(stat -c %s $kept) /dev/zero"])
    func aTokenThatALoginLeftInPiecesIsMended(content: String) async throws {
        let issuer = try await Issuer()
        let damage = """
            file=$(ls $ECARD_HOME/softhsm/tokens/*/token.object); kept=$(ls $ECARD_HOME/softhsm/kept/*)
            { \(content.isEmpty ? "true" : content); } >$file
            """
        try await issuer.must("\(damage); ecard ledger verify; ecard hsm info")
        // Without the copy there is nothing to mend it from: the copy is what makes the difference.
        expect(try await issuer.run("\(damage); rm $kept; ecard ledger verify"), exits: 3, saying: ["token"])
    }
}
