import ECardTesting
import Foundation
import Testing

/// The telephone in the terminal before `ecard serve --simulator`: shop, bank, issuer and holder, each by its own process.
@Suite(.ownThread) struct HandsetTests {
    /// A server on a port of its own, and a shop: `$url`, `$handset`, `pay KEY`, and `on` waits until a handset that says so in
    /// the file `said` is switched on.
    private static let shop = """
        set -euo pipefail
        ecard bank init >/dev/null
        merchant=$(ecard merchant add --name 'Makola Books' --registration CS-1)
        ecard merchant verify $merchant --by 'Efua, certificate seen' >/dev/null
        ecard merchant key $merchant --live --key-fd 3 3>key >/dev/null
        umask 077
        mkfifo listening
        exec 8<>listening
        ecard serve --simulator --port 0 >listening 2>server.log 3>&- &
        server=$!
        trap 'kill $server && wait $server' EXIT
        read -t 60 -r _ _ url <&8 || { cat server.log >&2; exit 99; }
        handset="ecard handset +233201234567 --url $url"
        pay() {
            printf '{"amount":2500,"currency":"ghs","card":{"number":"%s","exp":"%s"}}' $(cat pan) $(cat expiry) |
                curl --silent --show-error --fail-with-body --data-binary @- -H "Authorization: Bearer $(cat key)" \\
                    -H 'Content-Type: application/json' -H "Idempotency-Key: $1" $url/v1/payments >payment.json
        }
        on() { until grep -q 'switched on' said; do read -t 0.05 <> <(:) || true; done; }

        """

    private struct Report: Decodable {
        struct Exchange: Decodable {
            let sent: String
            let shown: String
            let continues: Bool
        }
        struct Message: Decodable {
            let kind: String
            let body: String
        }
        let exchanges: [Exchange]
        let messages: [Message]
    }

    @Test(
        "A payment is announced by message, shown, answered with the code and receipted", arguments: ["A", "B"])
    func pays(profile: String) async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            Self.shop + """
                pay one
                printf '%s\\n' 'message Makola Books asks for GHS 25.00' 'dial *920*55#' 'expect Pay Makola Books' \\
                    'expect GHS 25.00' 'code-fd 4' 'expect Wrong code' 'code-fd 4' 'expect Paid: GHS 25.00' again \\
                    'expect Paid: GHS 25.00' 'message Paid: GHS 25.00 to Makola Books' >script
                { echo 00000000; cat code; } >codes
                $handset --profile \(profile) --script script --json 4<codes
                ecard account show $account >&2
                ecard bank payment list --json >payments.json
                """)
        #expect(outcome.status == 0, "\(outcome)")
        let report = try JSONDecoder().decode(Report.self, from: Data(outcome.out.utf8))
        let given = profile == "B" ? "(sealed code)" : "(code)"
        #expect(report.exchanges.map(\.sent) == ["*920*55#", given, given, "(again)"])
        #expect(report.exchanges.map(\.continues) == [true, true, false, false])
        #expect(report.exchanges[2].shown == report.exchanges[3].shown)
        #expect(report.messages.map(\.kind) == ["notice", "receipt"])
        #expect(outcome.err.contains("475.00"), "debited once: \(outcome)")
        #expect(issuer.text("payments.json").contains("\"captured\""))
        #expect(issuer.text("payments.json").contains("\"\(profile)\""))
        #expect(issuer.text("payments.json").contains("ussd:simulator"))
        let log = issuer.text("server.log")
        #expect(!log.contains(issuer.text("code") + " ") && !log.contains("00000000"))
        #expect(!outcome.out.contains("00000000"))
    }

    @Test("A payment asks by itself on a telephone that is on: no notice comes; refused, it is denied")
    func prompted() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            Self.shop + """
                printf '%s\\n' 'prompt Pay Makola Books' 'expect GHS 25.00' 'code-fd 4' 'expect Paid: GHS 25.00' \\
                    'message Paid: GHS 25.00' 'prompt GHS 25.00' 'send 9' 'expect You refused' >script
                $handset --script script --json 4<code >report.json 2>said & phone=$!
                on
                pay one
                until ecard bank payment list --json | grep -q '"captured"'; do read -t 0.1 <> <(:) || true; done
                pay two
                wait $phone
                ecard bank payment list --json | grep -o '"state" : "[^"]*"'
                """)
        #expect(outcome.status == 0, "\(outcome) \(issuer.text("said")) \(issuer.text("server.log"))")
        let report = try JSONDecoder().decode(Report.self, from: Data(issuer.text("report.json").utf8))
        #expect(report.exchanges.map(\.sent) == ["(prompt)", "(code)", "(prompt)", "9"])
        #expect(report.messages.map(\.kind) == ["receipt"], "a notice came to whoever had answered: \(report)")
        #expect(outcome.out.contains("\"denied\"") && outcome.out.contains("\"captured\""), "\(outcome)")
    }

    @Test("A one-time code comes by message and pays; it stands in no transcript")
    func oneTimeCode() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            Self.shop + """
                ecard card policy $card --profiles D >/dev/null
                pay one
                printf '%s\\n' 'dial *920*55#' one-time-code 'expect Paid: GHS 25.00' >script
                $handset --script script --json
                ecard bank payment list --json | grep -o '"profile" : "D"' >&2
                """)
        #expect(outcome.status == 0 && outcome.err.contains("\"D\""), "\(outcome)")
        let report = try JSONDecoder().decode(Report.self, from: Data(outcome.out.utf8))
        #expect(report.exchanges.map(\.sent) == ["*920*55#", "(code)"])
        #expect(report.messages.filter { $0.kind == "code" }.map(\.body) == ["(a code)"])
    }

    @Test("By hand: messages come while nothing is typed, and what is typed ends it")
    func live() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            Self.shop + """
                mkfifo typed
                exec 7<>typed
                $handset <typed >shown 2>said & phone=$!
                pay one
                until grep -q 'message: Makola Books asks' shown || grep -q 'press Enter' said; do
                    read -t 0.05 <> <(:) || true
                done
                echo quit >&7
                wait $phone
                """)
        #expect(outcome.status == 0, "\(outcome)")
    }

    @Test("Without a simulator there is no telephone, and what was expected and did not come is a finding")
    func strangers() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            Self.shop + """
                pay one
                echo 'dial *920*55#' >script
                ecard serve --port 0 >plain 2>/dev/null & other=$!
                until grep -q http plain; do kill -0 $other; read -t 0.05 <> <(:) || true; done
                set +e
                ecard handset +233201234567 --url $(grep -o 'http.*' plain) --script script
                echo "no simulator $?"
                kill $other; wait $other
                echo 'expect GHS 26.00' >>script
                $handset --script script
                echo "other amount $?"
                """)
        for text in ["no simulator 3", "other amount 5"] {
            #expect(outcome.out.contains(text), "\(text): \(outcome)")
        }
        for text in ["--simulator", "'GHS 26.00' is not on the screen"] {
            #expect(outcome.err.contains(text), "\(text): \(outcome)")
        }
    }
}
