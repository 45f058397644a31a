import ECardTesting
import Foundation
import Testing

/// The whole story with a known card number and code, then everything it wrote and said is searched for them.
@Suite(.ownThread, .serialized, .virtualReaders) struct LeakTests {
    @Test func noSecretInAnyFileOrOutput() async throws {
        let issuer = try await Issuer()
        // Eight digits: six come about by chance in a megabyte of random bytes read as BCD.
        let card = try await issuer.must("ecard card create --account $account")
        let story = try await issuer.run(
            """
            exec 2>&1
            ecard card show \(card) --pan-fd 3 3>pan
            ecard card insert \(card) --detach
            ecard card personalize \(card)
            ecard code issue \(card) --digits 8 --code-fd 3 3>code
            ecard authorize --card \(card) --amount 25 --currency GHS --merchant M --code-fd 3 3<code
            ecard authorize --card \(card) --amount 25 --currency GHS --merchant M --code-fd 3 3<code --json
            expiry=$(ecard card show \(card) --field expiry)
            ecard authorize --card-not-present --pan-fd 4 --code-fd 3 3<code 4<pan --expiry $expiry --name 'Kofi Boateng' --amount 5 --currency GHS --merchant M
            ecard authorize --card-not-present --pan-fd 4 --code-fd 3 3<<<00000000 4<pan --expiry $expiry --amount 5 --currency GHS --merchant M
            ecard authorize --card-not-present --pan-fd 4 --code-fd 3 3<code 4<pan --expiry 13/99 --amount 5 --currency GHS --merchant M
            ecard authorize --card-not-present --pan-fd 4 --code-fd 3 3<code 4< <(sed 's/.$/x/' pan) --expiry $expiry --amount 5 --currency GHS --merchant M
            ecard card read; ecard card read --json; ecard card list; ecard card show \(card) --json; ecard code status \(card)
            ecard payment list --json; ecard payment show $(ecard payment list --ids --limit 1)
            ecard ledger list; ecard ledger verify; ecard hsm info; ecard hsm keys; ecard hsm preflight; ecard doctor
            ecard account show $account; ecard customer list
            chmod 644 $ECARD_HOME/token.pin; ecard account list; chmod 600 $ECARD_HOME/token.pin
            ecard card eject \(card); ecard code revoke \(card); ecard card block \(card)
            """)
        #expect(
            story.out.contains("APPROVED") && story.out.contains("DECLINED") && story.out.contains("Ledger verified"),
            "\(story)")

        let pan = issuer.text("pan"), code = issuer.text("code"), pin = issuer.text("home/token.pin")
        #expect(pan.count == 16 && code.count == 8 && pin.count == 16)
        for (name, secret) in [("PAN", pan), ("code", code), ("PIN", pin)] {
            for form in Self.forms(secret) {
                #expect(Data(story.out.utf8).range(of: form) == nil, "\(name) in the output: \(story)")
            }
        }
        let files = try #require(FileManager.default.enumerator(atPath: issuer.home)).compactMap { $0 as? String }
        var searched = 0
        for file in files where !Self.mayHoldSecrets(file) {
            guard let data = FileManager.default.contents(atPath: "\(issuer.home)/\(file)") else { continue }
            searched += 1
            for (name, secret) in [("PAN", pan), ("code", code), ("PIN", pin)] {
                for form in Self.forms(secret) { #expect(data.range(of: form) == nil, "\(name) in \(file)") }
            }
        }
        #expect(searched >= 4, "ledger, configuration, profile, chip log: \(files)")
        // The search finds what is there: the number in the chip's own file.
        let chip = try #require(FileManager.default.contents(atPath: "\(issuer.home)/chips/\(card).chip"))
        #expect(Self.forms(pan).contains { chip.range(of: $0) != nil })
    }

    /// The chip's own state, the token and its PIN file.
    private static func mayHoldSecrets(_ file: String) -> Bool {
        file.hasSuffix(".chip") || file.hasPrefix("softhsm/") || file == "token.pin"
    }

    /// As text, as text in hexadecimal, as UTF-16, and as BCD, alone or after one more digit.
    private static func forms(_ digits: String) -> [Data] {
        let hex = digits.utf8.map { String(format: "%02x", $0) }.joined()
        func bcd(_ digits: Substring) -> Data {
            Data(
                stride(from: 0, to: digits.count - 1, by: 2).map { offset in
                    let index = digits.index(digits.startIndex, offsetBy: offset)
                    return UInt8(digits[index...digits.index(after: index)], radix: 16) ?? 0
                })
        }
        return [
            Data(digits.utf8), Data(hex.utf8), Data(hex.uppercased().utf8),
            Data(digits.utf16.flatMap { [UInt8($0), 0] }),
            bcd(digits[...]), bcd(digits.dropFirst().dropLast()),
        ]
    }

    /// The kernel keeps other processes of the same user out while a secret is in memory. As another user than root, for
    /// whom no wall holds.
    @Test(.enabled(if: geteuid() == 0, "only root can become a user without rights"))
    func othersDoNotReadTheMemory() async throws {
        let folder = try Issuer.temporaryFolder()
        let outcome = try await Shell.run(
            """
            chmod 711 . && mkdir nobody && chown 65534:65534 nobody && cd nobody
            cat >look <<'SCRIPT'
            export ECARD_HOME=$PWD/home; ecard init >/dev/null || exit 1
            mkfifo slow; exec 7<>slow
            ecard hsm import cvk --components 2 --component-fd 3 --component-fd 3 --expect-kcv 08D7B4 3<slow 2>said & tool=$!
            echo 803DC8248E08183E2E1BB14555C0BB7A >slow
            until grep -q 'Component 1' said; do kill -0 $tool || { cat said; exit 2; }; done
            head -c 1 /proc/$$/environ >/dev/null || exit 3
            head -c 1 /proc/$tool/environ 2>/dev/null && exit 4
            dd if=/proc/$tool/mem count=0 2>/dev/null && exit 5
            ls /proc/$tool/fd >/dev/null 2>&1 && exit 6
            kill $tool
            echo closed
            SCRIPT
            setpriv --reuid=65534 --regid=65534 --clear-groups bash look
            """, home: folder + "/home", folder: folder)
        #expect(outcome.line == "closed", "\(outcome)")
    }
}
