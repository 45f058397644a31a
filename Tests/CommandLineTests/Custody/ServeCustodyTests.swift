import ByteCoding
import ECardTesting
import Foundation
import PKCS11
import Testing

/// Payments at `ecard serve` in profiles A, B and D, with the module of ours before both tokens; then everything that bank and
/// issuer wrote, said and gave to their tokens is searched for the holder's codes and for the key that opens sealed ones.
@Suite(.enabled(if: PythonOracle.isConfigured, Comment(rawValue: PythonOracle.howToEnable)))
struct ServeCustodyTests {
    /// One-time codes have six digits, which come about by chance in so many bytes: what leaks one leaks another, too.
    private static let oneTimeCodes = 3

    private static let story = #"""
        set -euo pipefail
        umask 077
        exec 2>said.err
        ecard bank init >said
        printf 'caps: {codes-per-phone: 99, codes-per-merchant: 99, codes-everywhere: 99, notices-per-card: 99}\nrules: []\n' \
            >$ECARD_HOME/patterns.yaml
        sed -i "s|module: .*|module: $MODULE|" $ECARD_HOME/ecard.yaml
        ecard code rotate $card --digits 8 --code-fd 3 3>code >>said
        merchant=$(ecard merchant add --name 'Makola Books' --registration CS-1)
        ecard merchant verify $merchant --by Efua >>said
        ecard merchant key $merchant --live --key-fd 3 3>key >>said
        ecard serve --simulator --port 0 --json --log-level debug >listening 2>log & server=$!
        until grep -q '^}' listening; do kill -0 $server; read -t 0.05 <> <(:) || true; done
        url=$(grep '"url"' listening | grep -o 'http[^"]*')
        : >ids; : >once
        pay() {
            printf '{"amount":2500,"currency":"ghs","card":{"number":"%s","exp":"%s"}}' $(cat pan) $(cat expiry) |
                curl -sS --fail-with-body --data-binary @- -H "Authorization: Bearer $(cat key)" \
                    -H 'Content-Type: application/json' $url/v1/payments >payment.json
            python3 -c 'import json; print(json.load(open("payment.json"))["id"])' >>ids
        }
        printf '%s\n' 'dial *920*55#' 'expect Makola Books' 'code-fd 4' 'expect Paid' >dialogue
        answer() { ecard handset +233201234567 --url $url --script dialogue --json "$@" >>said; }
        pay; answer 4<code
        pay; answer --profile B 4<code
        ecard card policy $card --profiles D >>said
        for payment in $(seq $ONCE); do
            pay
            until grep -rhoE 'code [0-9]{6}' $ECARD_HOME/outbox | cut -c 6- | grep -vxFf once >new; do read -t 0.1 <> <(:) || true; done
            cat new >>once
            answer 4<new
        done
        curl -sS $url/metrics >metrics
        ecard bank payment list --json >>said
        ecard evidence export $(cat ids) >evidence
        kill -TERM $server; wait $server
        ecard ledger verify >>said
        ecard bank verify >>said
        """#

    @Test("No code and nothing of the key that opens them stands where it does not belong")
    func served() async throws {
        let issuer = try await Issuer.withCard()
        let module = try FaultyModule(copiedTo: issuer.folder)
        let recordingPath = issuer.folder + "/recording"
        let outcome = try await issuer.run(
            Self.story,
            environment: [
                "MODULE": module.path, "ECARD_RECORD_FILE": recordingPath, "ONCE": "\(Self.oneTimeCodes)",
            ], limit: 240)
        #expect(outcome.status == 0, "\(outcome)\(issuer.text("said.err"))\(issuer.text("log"))")
        #expect(issuer.text("evidence").contains("ey") && issuer.text("metrics").contains("hb_requests_total"))
        #expect(try await issuer.must("wc -l <ids").trimmingCharacters(in: .whitespaces) == "\(2 + Self.oneTimeCodes)")

        let secrets = try Secrets(issuer)
        #expect(secrets.scan.selfTest() == [])
        let recording = try ModuleRecording(contentsOfFile: recordingPath)
        let found = secrets.systematic(try Self.places(issuer, secrets) + secrets.inBuffers(recording))
        found.forEach { print("finding: \($0)") }
        claim(
            "codes and the key that opens them, in books, logs, metrics, evidence and other messages of a served bank",
            "\(found.count) places", "0", holds: found.isEmpty)
        #expect(found == [])
        try Self.checkDesign(issuer, secrets, recording)
        try await Self.checkControl(issuer, secrets)
    }

    /// All that was written and said: the state folder with both books, and what the commands and the server put out.
    private static func places(_ issuer: Issuer, _ secrets: Secrets) throws -> [LeakScan.Finding] {
        var findings = try secrets.scan.findings(under: issuer.home) { _ in false }
        // A message with a one-time code is how it gets to its holder.
        findings.removeAll { $0.place.hasPrefix("outbox/") && secrets.isOneTime($0.secret) }
        for file in ["said", "said.err", "log", "metrics", "evidence", "listening", "payment.json", "dialogue"] {
            findings += secrets.scan.findings(in: issuer.text(file), place: file)
        }
        return findings
    }

    /// The codes did come where they go by design: to the token, to be hashed, and one-time codes to their messages.
    private static func checkDesign(_ issuer: Issuer, _ secrets: Secrets, _ recording: ModuleRecording) throws {
        let hashed = recording.buffers.filter { $0.place.hasPrefix("C_Verify <in") || $0.place.hasPrefix("C_Sign <in") }
        let seen = Set(secrets.scan.findings(inBuffers: hashed).map(\.secret))
        #expect(seen == Set(secrets.codes), "\(seen)")
        let sent = Set(
            try secrets.scan.findings(under: issuer.home + "/outbox") { _ in false }.map(\.secret)
                .filter(secrets.isOneTime))
        #expect(sent.count == oneTimeCodes)
        claim(
            "codes seen by the token to be hashed, and one-time codes in their messages, as designed",
            "\(seen.count), \(sent.count)", "\(secrets.codes.count), \(oneTimeCodes)",
            holds: seen.count == secrets.codes.count && sent.count == oneTimeCodes)
    }

    /// Leaks that are planted in a copy of what was searched are found, each.
    private static func checkControl(_ issuer: Issuer, _ secrets: Secrets) async throws {
        let leaks = [
            "sql bank.sqlite \"UPDATE payment SET details = '$CODE'\"",
            "sql bank.sqlite \"UPDATE payment SET sealed_code = x'$KEY'\"",
            "sql ledger.sqlite \"UPDATE customer SET email = '$CODE'\"",
            "printf '%s' \"request code=$CODE\" >>log", "printf 'a{code=\"%s\"} 1' $CODE >>metrics",
            "printf '%s' $CODE | base64 >>evidence", "printf '%s' $KEY >>log",
        ]
        var missed: [String] = []
        for leak in leaks {
            let folder = try Issuer.temporaryFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let planted = try await Shell.run(
                #"""
                set -eu
                cp "$FROM"/home/*.sqlite* "$FROM"/log "$FROM"/metrics "$FROM"/evidence .
                sql() { python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])' "$@"; }

                """# + leak, home: "/nonexistent", folder: folder,
                environment: ["FROM": issuer.folder, "CODE": issuer.text("code"), "KEY": secrets.key.hex])
            guard planted.status == 0 else { throw Shell.Failure("\(planted)") }
            let found = secrets.systematic(try secrets.scan.findings(under: folder) { _ in false })
            if found.isEmpty { missed.append(leak) }
        }
        claim(
            "control: leaks planted in copies of them, which the search finds",
            "\(leaks.count - missed.count) of \(leaks.count)",
            "all", holds: missed.isEmpty)
        #expect(missed == [])
    }

    /// What is looked for.
    private struct Secrets {
        private(set) var scan = LeakScan()
        let codes: [String]
        /// The private scalar of the issuer's first key for sealed codes.
        let key: [UInt8]
        private static let oneTime = "one-time code"

        init(_ issuer: Issuer) throws {
            let yaml = issuer.text("home/ecard.yaml")
            let label = try #require(yaml.firstMatch(of: #/token: *['"]?pkcs11:token=([^\s'";]+)/#)).output.1
            let keys = try PythonOracle().softHSMKeys(
                in: issuer.home + "/softhsm/tokens", of: String(label), pin: issuer.text("home/token.pin"))
            key = try #require(keys["ecard.code-seal.1"], "\(keys.keys.sorted())")
            #expect(key.count == 32)
            let once = issuer.text("once").split(separator: "\n").map { String($0) }
            #expect(issuer.text("code").count == 8 && Set(once).count == oneTimeCodes)
            scan.add(digits: issuer.text("code"), as: "the holder's code")
            for (index, code) in once.enumerated() { scan.add(digits: code, as: "\(Self.oneTime) \(index + 1)") }
            codes = scan.secrets
            scan.add(key: key, as: "the private key that opens codes")
        }

        func isOneTime(_ secret: String) -> Bool { secret.hasPrefix(Self.oneTime) }

        /// What crossed to the tokens otherwise than by design: a code goes there to be hashed, and a one-time code to be sealed
        /// for its message and opened again when that leaves.
        func inBuffers(_ recording: ModuleRecording) -> [LeakScan.Finding] {
            let (hashing, sealing) = (["C_Verify <in", "C_Sign <in"], ["C_Encrypt <in", "C_Decrypt >out"])
            return recording.buffers.flatMap { buffer in
                scan.findings(in: buffer.bytes, place: buffer.place).filter { finding in
                    func isBy(_ ways: [String]) -> Bool { ways.contains { buffer.place.hasPrefix($0) } }
                    return !(codes.contains(finding.secret) && isBy(hashing))
                        && !(isOneTime(finding.secret) && isBy(sealing))
                }
            }
        }

        /// All that is no coincidence: one-time codes count where two of them are found in places of one kind.
        func systematic(_ findings: [LeakScan.Finding]) -> [LeakScan.Finding] {
            func kind(_ place: String) -> Substring { place.prefix { $0 != "," && $0 != "-" } }
            let several = Dictionary(grouping: findings.filter { isOneTime($0.secret) }) { kind($0.place) }
                .filter { Set($0.value.map(\.secret)).count > 1 }
            return findings.filter { !isOneTime($0.secret) || several[kind($0.place)] != nil }
        }
    }
}
