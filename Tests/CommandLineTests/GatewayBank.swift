import ECardTesting
import Foundation
import Testing

/// `ecard serve` in a process of its own beside the test, with a verified merchant and the test's settings.
final class GatewayBank: Sendable {
    let issuer: Issuer
    private let child: ServiceChild

    /// - Parameters:
    ///   - settings: the section `server:` of `ecard.yaml`, indented.
    ///   - secrets: private files of the state folder.
    init(_ issuer: Issuer, settings: String, secrets: [String: String]) async throws {
        self.issuer = issuer
        for (name, text) in secrets {
            try await issuer.must(
                "umask 077; printf '%s\\n' \"$SECRET\" >$ECARD_HOME/\(name)", environment: ["SECRET": text])
        }
        try await issuer.must(
            """
            umask 077
            ecard bank init
            merchant=$(ecard merchant add --name "Makola Books" --registration CS-1)
            ecard merchant verify $merchant --by Efua
            ecard merchant key $merchant --live --key-fd 3 3>key
            printf 'server:\\n%s\\n' "$SETTINGS" >>$ECARD_HOME/ecard.yaml
            """, environment: ["SETTINGS": settings])
        child = try ServiceChild(Self.script, [issuer.home, Shell.binaries + "/ecard"], files: [:])
        try await child.wait(for: "ecard serve") { [folder = child.folder] in
            FileManager.default.fileExists(atPath: folder.appendingPathComponent("ready").path)
        }
    }

    private static let script = """
        unset SOFTHSM2_CONF
        export ECARD_HOME=$1
        >listening; "$2" serve --port 0 --json >listening 2>log & server=$!
        until grep -q '^}' listening; do kill -0 $server || { cat log; exit 1; }; read -r -t 0.05 <> <(:); done
        echo $server >pid
        touch ready
        end_with_input $server
        """

    private func file(_ name: String) -> String {
        (try? String(contentsOf: child.folder.appendingPathComponent(name), encoding: .utf8)) ?? ""
    }

    /// What the server has logged.
    var log: String { file("log") }

    /// Runs bash with `$url` and functions to ask: `pay MINOR_UNITS` prints the payment, `status PAYMENT` its status, `dial
    /// SESSION TEXT` one screen, `metric NAME` its lines.
    @discardableResult
    func run(_ script: String) async throws -> String {
        try await issuer.must(
            #"""
            url=$(grep -o 'http[^"]*' <<<"$LISTENING")
            ask() { curl -sS -H "Authorization: Bearer $(cat key)" -H 'Content-Type: application/json' "$@"; }
            field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' $1; }
            pay() {
                ask $url/v1/payments -d '{"amount": '$1', "currency": "ghs", "card":
                    {"number": "'$(cat pan)'", "exp": "'$(cat expiry)'"}}' | field id
            }
            status() { ask $url/v1/payments/$1 | field status; }
            dial() {
                curl -sS $url/ussd/africastalking -H "Authorization: Bearer $(cat $ECARD_HOME/at.secret)" \
                    -d sessionId=$1 -d networkCode=62001 --data-urlencode serviceCode='*920*55#' \
                    --data-urlencode phoneNumber=+233201234567 --data-urlencode text="$2"
            }
            metric() { curl -sS $url/metrics | grep "^$1"; }
            part() { curl -sS $url/readyz | python3 -c 'import json, sys; print(json.load(sys.stdin)["parts"][sys.argv[1]])' $1; }
            until_is() { local wanted=$1; shift; until [ "$("$@")" = "$wanted" ]; do read -t 0.1 <> <(:) || true; done; }

            """# + script, environment: ["LISTENING": file("listening")])
    }

    /// Ends it as a service manager does; returns when it has ended.
    func terminate() async throws {
        let process = try #require(pid_t(file("pid").trimmingCharacters(in: .newlines)))
        kill(process, SIGTERM)
        try await child.wait(for: "the server's end") { kill(process, 0) != 0 }
        child.stop()
    }

    /// Waits until the server has logged this.
    func logs(_ text: String) async throws { try await child.wait(for: "'\(text)' in the log") { log.contains(text) } }
}
