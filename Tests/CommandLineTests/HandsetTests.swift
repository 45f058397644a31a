import ECardTesting
import Foundation
import Testing

/// The telephone in the terminal before `ecard serve`: shop, bank, issuer and holder, each by its own process.
@Suite(.ownThread) struct HandsetTests {
    /// A server on a port of its own with one gateway; a payment of GHS 25.00 that waits. `$url`, `$handset`.
    private static let waiting = """
        set -euo pipefail
        ecard bank init >/dev/null
        merchant=$(ecard merchant add --name 'Makola Books' --registration CS-1)
        ecard merchant verify $merchant --by 'Efua, certificate seen' >/dev/null
        ecard merchant key $merchant --live --key-fd 3 3>key >/dev/null
        umask 077
        openssl rand -hex 32 >secret
        printf 'server:\\n  ussd:\\n    africastalking:\\n      secret-file: %s/secret\\n' "$PWD" >>$ECARD_HOME/ecard.yaml
        mkfifo listening
        exec 8<>listening
        ecard serve --port 0 >listening 2>server.log 3>&- &
        server=$!
        trap 'kill $server && wait $server' EXIT
        read -t 60 -r _ _ url <&8 || { cat server.log >&2; exit 99; }
        handset="ecard handset +233201234567 --gateway $url/ussd/africastalking --secret-file secret"
        pay() {
            printf '{"amount":2500,"currency":"ghs","card":{"number":"%s","exp":"%s"}}' $(cat pan) $(cat expiry) |
                curl --silent --show-error --fail-with-body --data-binary @- -H "Authorization: Bearer $(cat key)" \\
                    -H 'Content-Type: application/json' -H "Idempotency-Key: $1" $url/v1/payments >payment.json
        }
        pay one

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
        let options = profile == "B" ? "--profile B --keys keys.json" : ""
        let outcome = try await issuer.run(
            Self.waiting + """
                ecard code keys --json >keys.json
                printf '%s\\n' 'message Makola Books asks for GHS 25.00' 'dial *920*55#' 'expect Pay Makola Books' \\
                    'expect GHS 25.00' 'code-fd 4' 'expect Wrong code' 'code-fd 4' 'expect Paid: GHS 25.00' again \\
                    'expect Paid: GHS 25.00' 'message Paid: GHS 25.00 to Makola Books' >script
                { echo 00000000; cat code; } >codes
                $handset \(options) --script script --json 4<codes
                ecard account show $account >&2
                ecard bank payment list --json >payments.json
                """)
        #expect(outcome.status == 0, "\(outcome)")
        let report = try JSONDecoder().decode(Report.self, from: Data(outcome.out.utf8))
        let given = profile == "B" ? "(sealed code)" : "(code)"
        #expect(report.exchanges.map(\.sent) == ["*920*55#", given, given, "(again)"])
        #expect(report.exchanges.map(\.continues) == [true, true, false, false])
        #expect(report.exchanges[2].shown == report.exchanges[3].shown)
        #expect(Set(report.messages.map(\.kind)) == ["notice", "receipt"])
        #expect(outcome.err.contains("475.00"), "debited once: \(outcome)")
        let payments = try String(contentsOfFile: issuer.folder + "/payments.json", encoding: .utf8)
        #expect(payments.contains("\"captured\"") && payments.contains("\"\(profile)\""), "\(payments)")
        let code = try String(contentsOfFile: issuer.folder + "/code", encoding: .utf8)
            .trimmingCharacters(in: .newlines)
        let log = try String(contentsOfFile: issuer.folder + "/server.log", encoding: .utf8)
        #expect(!log.contains(code) && !log.contains("00000000") && !outcome.out.contains("00000000"))
    }

    @Test("9 refuses, and nothing is debited")
    func refuses() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            Self.waiting + """
                printf '%s\\n' 'dial *920*55#' 'send 9' 'expect You refused' >script
                $handset --script script
                ecard account show $account
                """)
        #expect(outcome.status == 0 && outcome.out.contains("500.00"), "\(outcome)")
    }

    @Test("Who is not the gateway gets no screen, and what was expected and did not come is a finding")
    func strangers() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.run(
            Self.waiting + """
                openssl rand -hex 32 >other
                echo 'dial *920*55#' >script
                set +e
                ecard handset +233201234567 --gateway $url/ussd/africastalking --secret-file other --script script
                echo "other secret $?"
                ecard handset +233201234567 --gateway $url/ussd/arkesel --secret-file secret --script script
                echo "other gateway $?"
                echo 'expect GHS 26.00' >>script
                $handset --script script
                echo "other amount $?"
                """)
        for text in ["other secret 3", "other gateway 3", "other amount 5"] {
            #expect(outcome.out.contains(text), "\(text): \(outcome)")
        }
        for text in ["401", "404", "'GHS 26.00' is not on the screen"] {
            #expect(outcome.err.contains(text), "\(text): \(outcome)")
        }
    }
}
