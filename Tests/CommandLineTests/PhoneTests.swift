import ECardTesting
import Foundation
import Testing

/// The telephone of `/phone` in Debian's Chromium before `ecard serve --simulator`: shop, server, browser, each a process.
@Suite(.ownThread) struct PhoneTests {
    /// A server with a simulator, and a shop whose webhooks go to its page: `$FOLDER` has `key.txt`, `pan.txt`, `expiry.txt`.
    private struct Setting {
        let issuer: Issuer
        let server: ServiceChild
        let url: String
        /// The command that the server tells a person to paste.
        let curl: String
    }

    private static let script = """
        unset SOFTHSM2_CONF
        export ECARD_HOME=$1
        "$2/ecard" serve --simulator --port 0 2>log & server=$!
        read -r _ || true
        kill -TERM $server
        wait $server
        echo "ended $?" >"$1/../ended"
        """

    private static func setting() async throws -> Setting {
        let issuer = try await Issuer.withCard()
        let shop = try await issuer.must(
            """
            ecard bank init >&2
            shop=$(ecard merchant add --name 'Makola Books' --registration CS-1)
            ecard merchant verify $shop --by Efua >&2
            ecard merchant key $shop --live --key-fd 3 3>key.txt >&2
            mv pan pan.txt; mv expiry expiry.txt
            echo $shop
            """)
        let server = try ServiceChild(script, [issuer.home, Shell.binaries], files: [:])
        try await server.wait(for: "the server") { server.output.contains("/phone/webhooks") }
        let said = server.output
        let url = try #require(said.firstMatch(of: #/Listening on (http\S+)/#)).output.1
        try await issuer.must(
            "ecard webhook add \(shop) --live --url \(url)/phone/webhooks --allow-private --secret-fd 3 3>whsec >&2")
        let curl = try #require(said.range(of: "curl "))
        let end = try #require(said.range(of: "}}'"))
        return Setting(
            issuer: issuer, server: server, url: String(url), curl: String(said[curl.lowerBound..<end.upperBound]))
    }

    @Test(
        "A person refuses, pays in profile A and B what asks by itself, and watches receipts and webhooks arrive",
        .enabled(if: Browser.whyNot == nil, "\(Browser.whyNot ?? "")"))
    func story() async throws {
        let setting = try await Self.setting()
        let (issuer, code) = (setting.issuer, setting.issuer.text("code"))
        let browser = try await Browser.start(width: 360)
        // A telephone that is off gets a notice at once. It says what to dial, and that stands there.
        try await issuer.must(setting.curl)
        try await browser.open(setting.url + "/phone")
        try await browser.type("+233201234567\t", into: "#number")
        try await browser.wait(for: "Makola Books asks for GHS 25.00", in: "#messages li:nth-child(1)")
        try await browser.click("#send")
        try await browser.wait(for: "9 to refuse", in: "#screen")
        try await browser.click("#keypad button:nth-child(9)")
        try await browser.click("#send")
        try await browser.wait(for: "You refused", in: "#screen")
        let hook = try await browser.wait(for: "payment.denied", in: "#webhooks li:nth-child(1)")
        #expect(hook.contains("webhook-signature: v1,") && hook.contains("\"amount\":2500"), "\(hook)")

        for (count, profile) in ["plain", "compact", "uncompressed"].enumerated() {
            try await browser.choose(profile, in: "#profile")
            try await issuer.must(setting.curl)
            // It comes by itself: nobody dials.
            let prompt = try await browser.wait(for: "Code to pay", in: "#screen")
            #expect(prompt.contains("Pay Makola Books\nGHS 25.00\nRef "), "\(prompt)")
            #expect(try await browser.value(of: "document.getElementById('typed').type") as? String == "password")
            if profile != "uncompressed" {
                try await browser.type("00000000\n", into: "#typed")
                try await browser.wait(for: "Wrong code", in: "#screen")
            }
            #expect(try await browser.value(of: "document.getElementById('typed').value") as? String == "")
            try await browser.type(code + "\n", into: "#typed")
            try await browser.wait(for: "Paid: GHS 25.00 to Makola Books", in: "#screen")
            try await browser.wait(for: "Paid: GHS 25.00 to Makola Books", in: "#messages li:nth-child(1)")
            // One more than before.
            try await browser.wait(for: "payment.captured", in: "#webhooks li:nth-child(\(count + 1))")
        }

        try await Self.requireTidy(browser, setting)
        try await Self.requireBooks(setting, code)
    }

    /// Nothing of a code is left in the page, nothing was asked of anybody else, and everything fits and has a name.
    private static func requireTidy(_ browser: Browser, _ setting: Setting) async throws {
        let code = setting.issuer.text("code")
        let page = try await browser.value(of: "document.documentElement.outerHTML") as? String ?? ""
        #expect(page.contains("Makola Books") && !page.contains(">\(code)<") && !page.contains("00000000"))
        let stored = "localStorage.length + sessionStorage.length + document.cookie.length"
        #expect(try await browser.value(of: stored) as? Int == 0)
        let width = try await browser.value(of: "document.documentElement.scrollWidth") as? Int ?? 0
        #expect(width <= 360, "\(width) wide")
        let places = try await browser.places().filter { $0.role != "RootWebArea" }
        #expect(places.count >= 16 && places.allSatisfy { !$0.name.isEmpty }, "\(places)")
        let requests = try await browser.requests()
        #expect(requests.contains(setting.url + "/phone/ussd"))
        #expect(requests.allSatisfy { $0.hasPrefix(setting.url + "/phone") }, "\(Set(requests))")
        #expect(try await browser.faults() == [])
        // The look at the console would see a breach of the policy.
        _ = try await browser.value(
            of: "document.head.append(Object.assign(document.createElement('style'), {textContent: 'p {color: red}'}))")
        #expect(try await browser.faults().contains { $0.contains("Content Security Policy") })
    }

    /// The payments are in the books by the profiles in which they were answered, and nobody wrote a code down.
    private static func requireBooks(_ setting: Setting, _ code: String) async throws {
        let issuer = setting.issuer
        let listed = try await issuer.run("ecard bank payment list --json")
        let books = try #require(try listed.json() as? [[String: Any]])
        #expect(books.map { $0["state"] as? String } == ["captured", "captured", "captured", "denied"])
        #expect(books.map { $0["profile"] as? String } == ["B", "B", "A", nil])
        #expect(books.allSatisfy { $0["channel"] as? String == "ussd:simulator" })
        try await issuer.must(
            """
            ecard bank verify >&2
            ecard account show $account --json | grep '"balance" : "425.00"'
            """)
        let log = try String(contentsOf: setting.server.folder.appendingPathComponent("log"), encoding: .utf8)
        for secret in [code + " ", "00000000", issuer.text("pan.txt"), issuer.text("key.txt"), "whsec"] {
            #expect(!log.contains(secret) && !setting.server.output.contains(secret))
        }
        #expect(!log.contains("/phone/news"), "a line of the log a second")
        // A browser that asks every second keeps no server from its end.
        await onOwnThread { setting.server.stop() }
        #expect(issuer.text("ended") == "ended 0")
    }

    @Test("Without --simulator there is no telephone, and beyond loopback none is served")
    func refusals() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            """
            ecard bank init >&2
            >listening; ecard serve --port 0 >listening 2>log & server=$!
            until grep -q http listening; do kill -0 $server || exit 9; read -t 0.05 <> <(:) || true; done
            url=$(grep -o 'http.*' listening)
            for path in phone phone/secret phone/news; do curl -sS -o /dev/null -w '%{http_code} ' $url/$path; done
            curl -sS -o /dev/null -w '%{http_code}\\n' $url/phone/webhooks -d '{}'
            cat listening
            kill -TERM $server; wait $server
            for host in 0.0.0.0 :: 192.168.1.4 example.org; do
                ecard serve --simulator --port 0 --host $host; echo "$host $?"
            done
            ecard serve --simulator --port 0 --host 0.0.0.0 --certificate x --key y; echo "tls $?"
            ECARD_SERVER_SIMULATOR=yes ecard serve --port 0 --host 0.0.0.0; echo "environment $?"
            ecard serve --simulator --port 0 --roles bank,issuer; echo "roles $?"
            """)
        let lines = outcome.out.split(separator: "\n").map(String.init)
        #expect(lines.first == "404 404 404 404" && lines.count == 9, "\(outcome)")
        #expect(!lines[1].contains("phone"))
        for place in ["0.0.0.0", "::", "192.168.1.4", "example.org", "tls", "environment"] {
            #expect(lines.contains("\(place) 3"), "\(place): \(outcome)")
        }
        #expect(lines.contains("roles 2"), "\(outcome)")
        #expect(outcome.err.components(separatedBy: "answers payments as any telephone").count == 7, "\(outcome)")
        #expect(outcome.err.contains("ussd"))
    }
}
