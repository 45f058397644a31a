import ByteCoding
import Crypto
@testable import ECardServer
import ECardTesting
import Foundation
import Hummingbird
import Ledger
import OOPA
import PaymentPorts
import Testing

/// The telephone of `/phone`: who may use it, what its page may do, and what its browser seals.
@Suite(.ownThread) struct PhoneSimulatorTests {
    private static let place = Result { try ListeningPlace(host: "127.0.0.1", port: 0, certificate: nil) }

    private static func simulator(_ bank: ServerBank, keys: [CodeSealingKey] = []) throws -> PhoneSimulator {
        try PhoneSimulator(
            at: place.get(), dialogue: bank.office.dialogue(TelephoneTexts.standard.get()), time: bank.clock,
            logger: bank.log.logger
        ) {
            keys
        } messages: { phone in
            phone == ServerBank.phone
                ? [
                    PhoneSimulator.Message(
                        kind: "notice", reference: "r", body: "for \(phone)", at: bank.clock.now())
                ] : []
        }
    }

    private static func serving<Value: Sendable>(
        keys: [CodeSealingKey] = [], _ body: @escaping @Sendable (RunningServer, ServerBank) async throws -> Value
    ) async throws -> Value {
        let bank = try await ServerBank()
        let routes = try simulator(bank, keys: keys).routes + bank.merchantAPI.routes
        return try await RunningServer.with(routes, logger: bank.log.logger) { try await body($0, bank) }
    }

    private static func secret(_ server: RunningServer) async throws -> String {
        try #require(try await server.send("GET", "/phone/secret").json["secret"] as? String)
    }

    private static func callback(_ count: Int, _ text: String, phone: String = ServerBank.phone) -> String {
        let type = count == 1 ? "initiation" : "response"
        return
            #"{"SessionId": "s1", "Mobile": "\#(phone)", "Type": "\#(type)", "Message": "\#(text)", "Sequence": \#(count)}"#
    }

    @Test("The page's dialogue pays, under the simulator's name; a repeat is answered and pays nothing")
    func dialogue() async throws {
        try await Self.serving { server, bank in
            let shop = try await bank.merchant()
            let made = try await server.ask("POST", "/v1/payments", bank.order(), key: shop.key)
            let id = try #require(made.json["id"] as? String)
            let key = ["authorization": "Bearer \(try await Self.secret(server))"]
            let prompt = try await server.send("POST", "/phone/ussd", Self.callback(1, "*920*55#"), headers: key)
            #expect(prompt.json["Type"] as? String == "response")
            #expect((prompt.json["Message"] as? String)?.contains("GHS 25.00") == true, "\(prompt.text)")
            for _ in 1...2 {
                let paid = try await server.send(
                    "POST", "/phone/ussd", Self.callback(2, ServerBank.code), headers: key)
                #expect((paid.json["Message"] as? String)?.contains("Paid: GHS 25.00") == true, "\(paid.text)")
            }
            let payment = try #require(try await bank.books.onlinePayment(PaymentID(rawValue: id)))
            #expect(payment.state == .captured && payment.capturedMinorUnits == 2500)
            let news = try await server.send("GET", "/phone/news?phone=%2B233201234567", headers: key)
            #expect(news.text.contains("for +233201234567"), "\(news.text)")
            let other = try await server.send("GET", "/phone/news?phone=%2B233201234568", headers: key)
            #expect(other.status == 200 && !other.text.contains("for "))
            #expect(!bank.log.all.joined().contains(ServerBank.code + " "))
            #expect(!bank.log.all.contains { $0.hasPrefix("info") && $0.contains("/phone/news") })
        }
    }

    @Test("Nobody uses it without the secret of this process, by another name, or from another site's page")
    func strangers() async throws {
        try await Self.serving { server, _ in
            let right = "Bearer \(try await Self.secret(server))"
            let own = server.base
            let strangers: [(headers: [String: String], status: Int)] = [
                ([:], 401), (["authorization": "Bearer 00"], 401), (["authorization": right.lowercased()], 401),
                (["authorization": right, "host": "evil.example"], 403),
                (["authorization": right, "host": "127.0.0.1.evil.example:\(server.port)"], 403),
                (["authorization": right, "host": "localhost.evil.example"], 403),
                (["authorization": right, "host": "192.168.1.4:\(server.port)"], 403),
                (["authorization": right, "origin": "https://evil.example"], 403),
                (["authorization": right, "origin": "null"], 403),
                (["authorization": right, "origin": "http://localhost:\(server.port)"], 403),
                (["authorization": right, "origin": "http://127.0.0.1:1"], 403),
                (["authorization": right, "origin": own.replacing("http", with: "https")], 403),
                (["authorization": right, "sec-fetch-site": "cross-site"], 403),
                (["authorization": right, "sec-fetch-site": "same-site"], 403),
                (["authorization": right, "origin": own, "sec-fetch-site": "same-origin"], 200),
                (["authorization": right, "host": "localhost:\(server.port)"], 200),
                (["authorization": right, "host": "[::1]:\(server.port)"], 200),
            ]
            for (headers, status) in strangers {
                for (method, path) in [("GET", "/phone/news"), ("GET", "/phone/keys"), ("POST", "/phone/ussd")] {
                    let body = method == "POST" ? Self.callback(1, "*1#") : nil
                    let answer = try await server.send(method, path, body, headers: headers)
                    #expect(answer.status == status, "\(path) \(headers): \(answer.text)")
                    #expect(!answer.headers.keys.contains { $0.hasPrefix("access-control") })
                }
                // The secret itself is for no other site, and the page for no other name.
                if status == 403 {
                    let isOtherName = headers["host"] != nil
                    #expect(try await server.send("GET", "/phone/secret", headers: headers).status == 403)
                    let page = try await server.send("GET", "/phone", headers: headers)
                    #expect(page.status == (isOtherName ? 403 : 200), "\(headers)")
                }
            }
            let preflight = try await server.send(
                "OPTIONS", "/phone/ussd",
                headers: ["origin": "https://evil.example", "access-control-request-method": "POST"])
            #expect(preflight.status == 405 && !preflight.headers.keys.contains { $0.hasPrefix("access-control") })
        }
    }

    @Test(
        "Another site's page in the same browser reads nothing and changes nothing",
        .enabled(if: Browser.whyNot == nil, "\(Browser.whyNot ?? "")"))
    func otherSite() async throws {
        let page = Route(.get, "/other") { _, _ in Response(.ok, "text/html", "<title>other</title>".utf8) }
        try await Self.serving { server, _ in
            let key = ["authorization": "Bearer \(try await Self.secret(server))"]
            try await RunningServer.with([page]) { site in
                let browser = try await Browser.start()
                try await browser.open("http://localhost:\(site.port)/other")
                func told(_ path: String, _ options: String) async throws -> String? {
                    try await browser.value(
                        of: "fetch('\(server.base)\(path)', \(options)).then((r) => r.type, () => 'refused')")
                        as? String
                }
                for path in ["/phone", "/phone/secret", "/phone/keys", "/phone/news"] {
                    #expect(try await told(path, "{}") == "refused", "\(path)")
                }
                // What a page may send without asking arrives, and is not taken.
                let event = "{method: 'POST', mode: 'no-cors', body: '{}'}"
                #expect(try await told("/phone/webhooks", event) == "opaque")
                #expect(try await told("/phone/ussd", event) == "opaque")
            }
            let news = try await server.send("GET", "/phone/news", headers: key)
            #expect((news.json["webhooks"] as? [Any])?.isEmpty == true, "\(news.text)")
        }
    }

    @Test("Two processes have two secrets")
    func secrets() async throws {
        let secrets = try await [1, 2].asyncMap { _ in
            try await Self.serving { server, _ in try await Self.secret(server) }
        }
        #expect(Set(secrets).count == 2 && secrets.allSatisfy { $0.utf8.count == 64 })
    }

    @Test("The page runs nothing but its own files")
    func page() async throws {
        try await Self.serving { server, _ in
            let files = ["/phone", "/phone/phone.css", "/phone/phone.js", "/phone/sealing.js", "/phone/phone.svg"]
            for file in files {
                let answer = try await server.send("GET", file)
                #expect(answer.status == 200 && answer.headers["x-content-type-options"] == "nosniff")
                let policy = try #require(answer.headers["content-security-policy"])
                #expect(policy.hasPrefix("default-src 'none';") && policy.contains("frame-ancestors 'none'"))
                #expect(!policy.contains("unsafe") && !policy.contains("http"))
            }
            let html = try await server.send("GET", "/phone").text
            #expect(!html.contains("<style") && !html.contains(" style=") && !html.contains(" onclick="))
            #expect(html.contains("<script type=\"module\" src=\"/phone/phone.js\"></script>"))
        }
    }

    @Test("A webhook that arrives is shown as it came; one that a page sends is not taken")
    func webhooks() async throws {
        try await Self.serving { server, _ in
            let event = #"{"type":"payment.captured","data":{}}"#
            let signed = ["webhook-id": "evt_1", "webhook-timestamp": "17", "webhook-signature": "v1,x"]
            #expect(try await server.send("POST", "/phone/webhooks", event, headers: signed).status == 200)
            for headers in [
                ["origin": server.base], ["origin": "null"], ["content-type": "text/plain"], ["host": "evil.example"],
            ] {
                let answer = try await server.send("POST", "/phone/webhooks", event, headers: headers)
                #expect([403, 415].contains(answer.status), "\(headers)")
            }
            #expect(try await server.send("POST", "/phone/webhooks", "no JSON").status == 200)
            let key = ["authorization": "Bearer \(try await Self.secret(server))"]
            let news = try await server.send("GET", "/phone/news", headers: key)
            let shown = try #require(news.json["webhooks"] as? [[String: Any]])
            #expect(shown.compactMap { $0["number"] as? Int } == [1, 2])
            #expect(shown[0]["type"] as? String == "payment.captured" && shown[0]["body"] as? String == event)
            #expect(shown[0]["id"] as? String == "evt_1" && shown[0]["signature"] as? String == "v1,x")
        }
    }

    @Test("Of addresses that are not public webhooks go to its own receiver, and to no other")
    func receiver() async throws {
        let simulator = try Self.simulator(try await ServerBank())
        let wanted = "http://127.0.0.1:8080/phone/webhooks"
        #expect(!simulator.receives(wanted), "before it listens")
        simulator.listens(on: 8080)
        for url in [wanted, "http://localhost:8080/phone/webhooks", "http://[::1]:8080/phone/webhooks"] {
            #expect(simulator.receives(url), "\(url)")
        }
        for url in [
            "https://127.0.0.1:8080/phone/webhooks", "http://127.0.0.1:8081/phone/webhooks", wanted + "?a",
            wanted + "/x",
            "http://127.0.0.1:8080/v1/payments", "http://192.168.1.4:8080/phone/webhooks", "http://a@", "",
            "http://127.0.0.1/phone/webhooks", "http://evil.example:8080/phone/webhooks",
        ] {
            #expect(!simulator.receives(url), "\(url)")
        }
    }

    @Test("It is not made for a place beyond loopback, with or without TLS")
    func beyondLoopback() async throws {
        let bank = try await ServerBank()
        let wide = try ListeningPlace(host: "0.0.0.0", port: 0, certificate: ("chain", "key"))
        #expect(throws: ServerError.self) {
            try PhoneSimulator(
                at: wide, dialogue: bank.office.dialogue(TelephoneTexts.standard.get()), time: bank.clock,
                logger: bank.log.logger
            ) {
                []
            } messages: { _ in
                []
            }
        }
    }

    /// RFC 9180 as the browser does it against pyhpke (0x0010) and against the oracle's own 0x0013.
    @Test(
        "What the browser seals, others' software opens, for this prompt and telephone",
        .enabled(if: Browser.whyNot == nil, "\(Browser.whyNot ?? "")"))
    func sealing() async throws {
        let recipient = P256.KeyAgreement.PrivateKey(compactRepresentable: false)
        let scalar = Array(recipient.rawRepresentation).hex
        let point = Array(recipient.publicKey.x963Representation).hex
        let screen =
            "Wrong code. Tries left: 2\nPay 0123456789ABCDEF Ɛdɔ\nGHS 25.00\nRef 7FQ2ABCD0123WXYZ\n"
            + "Until 2026-11-21 14:40Z\nCode to pay, 9 to refuse"
        let expiry = try #require(PaymentPrompt.parse(screen)).expiresAt.milliseconds / 1000
        let codes = ["000", "135790", "87654321"].flatMap { code in (0..<8).map { _ in code } }
        let rows = try await Self.serving { server, _ in
            let browser = try await Browser.start()
            try await browser.open(server.base + "/phone")
            var rows: [[String]] = []
            for (form, kem) in [("compact", "19"), ("uncompressed", "16")] {
                let arguments = try String(decoding: JSONEncoder().encode([screen, point, form]), as: UTF8.self)
                let list = try String(decoding: JSONEncoder().encode(codes), as: UTF8.self)
                let sealed = try await browser.value(
                    of: """
                        (async ([screen, publicKey, form]) => {
                            const { associatedData, parsePrompt, seal } = await import('/phone/sealing.js');
                            const bound = await associatedData(screen, '\(ServerBank.phone)', parsePrompt(screen));
                            return Promise.all(\(list).map((code) => seal(code, { key: 7, publicKey }, form, bound)));
                        })(\(arguments))
                        """)
                for text in try #require(sealed as? [String]) {
                    rows.append([kem, scalar, text, "pay_7FQ2ABCD0123WXYZ", screen, ServerBank.phone, "\(expiry)"])
                }
            }
            return rows
        }
        #expect(try PythonOracle().call("code_open", rows) == (codes + codes).map { "7:\($0)" })
        #expect(Set(rows.map { $0[2] }).count == rows.count, "two ciphertexts are one")
        #expect(throws: PythonOracle.Failure.self, "another telephone's") {
            try PythonOracle().call("code_open", [rows[0].dropLast(2) + ["+233201234568", "\(expiry)"]])
        }
    }

    private static let screens = [
        "Pay A\nGHS 1.00\nRef 7FQ2ABCD0123WXYZ\nUntil 2026-11-21 14:40Z\nCode to pay, 9 to refuse",
        "TEST\n7FQ2ABCD0123WXYZ\nGHS 1.00\n0000000000000000\n2026-12-31 23:59Z\nCode/9",
        "Tua ƐƐ0123456789ABCDEF\nRef 7FQ2ABCD0123WXYZ\nKɔsi 2026-11-21 14:40Z\nKoodu = tua, 9 = dabi",
        // None of these asks for a code.
        "Until 2026-11-21 14:40Z\nCode to pay", "Ref 7FQ2ABCD0123WXYZ\nCode to pay",
        "Ref 7FQ2ABCD0123WXYI\n2026-11-21 14:40Z", "Ref 7FQ2ABCD0123WXYZ7\n2026-11-21 14:40Z",
        "Ref 7FQ2ABCD0123WXYZ\n2026-13-41 14:40Z", "1 Payments\n0 End", "",
    ]

    @Test(
        "Page and bank read the same of a screen", .enabled(if: Browser.whyNot == nil, "\(Browser.whyNot ?? "")"))
    func prompts() async throws {
        let screens = Self.screens
        let read = try await Self.serving { server, _ in
            let browser = try await Browser.start()
            try await browser.open(server.base + "/phone")
            let list = try String(decoding: JSONEncoder().encode(screens), as: UTF8.self)
            return try await browser.value(
                of: "import('/phone/sealing.js').then((m) => \(list).map((s) => JSON.stringify(m.parsePrompt(s))))")
                as? [String]
        }
        let wanted = screens.map { screen in
            PaymentPrompt.parse(screen).map {
                #"{"payment":"\#($0.payment)","expiresAt":\#($0.expiresAt.milliseconds)}"#
            } ?? "null"
        }
        #expect(read == wanted && wanted.count { $0 != "null" } == 3)
    }
}
