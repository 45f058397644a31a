import CardData
import ECardServer
import ECardTesting
import Foundation
import Ledger
import OOPA
import PaymentPorts
import Testing

/// The merchants' side over a socket, on a bank with real books and a real token.
@Suite(.ownThread) struct MerchantAPITests {
    @Test("A payment from its making to its last refund")
    func life() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        try await bank.serving { server in
            let made = try await server.ask(
                "POST", "/v1/payments",
                bank.order(2500, #", "reference": "order-17", "description": "two books""#), key: shop.key)
            #expect(made.status == 201 && made.json["status"] as? String == "pending", "\(made.text)")
            let id = try #require(made.json["id"] as? String)
            #expect(made.headers["location"] == "/v1/payments/\(id)")
            #expect((made.json["card"] as? [String: String]) == ["number": bank.pan.masked])
            #expect(made.json["reference"] as? String == "order-17" && made.json["livemode"] as? Bool == false)
            #expect(!made.text.contains(bank.pan.digits) && !made.text.contains(ServerBank.phone))

            try await bank.approve(id)
            let paid = try await server.ask("GET", "/v1/payments/\(id)", key: shop.key)
            #expect(paid.json["status"] as? String == "captured" && paid.json["amount_captured"] as? Int == 2500)

            let part = try await server.ask("POST", "/v1/payments/\(id)/refunds", #"{"amount": 500}"#, key: shop.key)
            #expect(part.status == 200 && part.json["amount_refunded"] as? Int == 500, "\(part.text)")
            let tooMuch = try await server.ask(
                "POST", "/v1/payments/\(id)/refunds", #"{"amount": 2600}"#, key: shop.key)
            #expect(tooMuch.status == 400 && tooMuch.param == "amount", "\(tooMuch.text)")
            let more = try await server.ask("POST", "/v1/payments/\(id)/refunds", #"{"amount": 2001}"#, key: shop.key)
            #expect(more.status == 400 && more.param == "amount" && more.text.contains("2000 are left"), "\(more.text)")
            let rest = try await server.ask("POST", "/v1/payments/\(id)/refunds", key: shop.key)
            #expect(rest.json["status"] as? String == "refunded" && rest.json["amount_refunded"] as? Int == 2500)
            for body in [#"{"amount": 1}"#, "{}", #"{"amount": null}"#, nil] {
                let none = try await server.ask("POST", "/v1/payments/\(id)/refunds", body, key: shop.key)
                #expect(none.status == 409 && none.text.contains("refunded whole"), "\(none.text)")
            }
            let late = try await server.ask("POST", "/v1/payments/\(id)/cancel", key: shop.key)
            #expect(late.status == 409 && late.code == "payment_unexpected_status", "\(late.text)")
        }
        #expect(try await bank.books.verify(since: nil) == [])
        let log = bank.log.all.joined()
        #expect(log.contains("payment=pay_"))
        #expect(!log.contains(bank.pan.digits) && !log.contains(shop.key) && !log.contains("order-17"))
    }

    @Test("What is held is captured in part, or cancelled")
    func manual() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant(isLive: true)
        try await bank.serving { server in
            func authorized() async throws -> String {
                let made = try await server.ask(
                    "POST", "/v1/payments", bank.order(2500, #", "capture": "manual""#), key: shop.key)
                let id = try #require(made.json["id"] as? String)
                let early = try await server.ask("POST", "/v1/payments/\(id)/capture", key: shop.key)
                #expect(early.status == 409 && early.text.contains("pending"), "\(early.text)")
                try await bank.approve(id)
                let held = try await server.ask("GET", "/v1/payments/\(id)", key: shop.key)
                #expect(held.json["status"] as? String == "authorized" && held.json["livemode"] as? Bool == true)
                return id
            }
            let first = try await authorized()
            let captured = try await server.ask(
                "POST", "/v1/payments/\(first)/capture", #"{"amount": 2000}"#, key: shop.key)
            #expect(captured.json["amount_captured"] as? Int == 2000, "\(captured.text)")
            let second = try await authorized()
            let voided = try await server.ask("POST", "/v1/payments/\(second)/cancel", "{}", key: shop.key)
            #expect(voided.json["status"] as? String == "voided", "\(voided.text)")
        }
    }

    @Test("A card that nobody has looks the same, and ends as expired")
    func unknownCard() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        let nobody = try PAN(issuer: "400000", account: "999999999")
        try await bank.serving { server in
            let answers = try await [bank.pan, nobody].asyncMap {
                try await server.ask("POST", "/v1/payments", bank.order(pan: $0), key: shop.key)
            }
            #expect(answers.map(\.status) == [201, 201])
            let shapes = answers.map { answer in
                answer.json.filter { !["id", "card", "created", "expires_at"].contains($0.key) }.map { "\($0)" }
                    .sorted()
            }
            #expect(shapes[0] == shapes[1])
            bank.clock.turn(seconds: 700)
            while try await BankTimers(bank.office).runDue() > 0 {}
            for answer in answers {
                let id = try #require(answer.json["id"] as? String)
                let after = try await server.ask("GET", "/v1/payments/\(id)", key: shop.key)
                #expect(after.json["status"] as? String == "expired")
            }
        }
    }

    @Test("A key opens its merchant's own payments, of its own mode, and nothing else")
    func keys() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        let live = try await bank.merchant(isLive: true)
        let unverified = try await bank.merchant(.registered, isLive: true)
        let suspended = try await bank.merchant(.suspended)
        try await bank.serving { server in
            let made = try await server.ask("POST", "/v1/payments", bank.order(), key: shop.key)
            let id = try #require(made.json["id"] as? String)
            for path in ["/v1/payments/\(id)", "/v1/payments/pay_0000000000000000", "/v1/payments/x"] {
                let other = try await server.ask("GET", path, key: live.key)
                #expect(other.status == 404 && other.code == "resource_missing", "\(path)")
            }
            for change in ["cancel", "capture", "refunds"] {
                #expect(try await server.ask("POST", "/v1/payments/\(id)/\(change)", key: live.key).status == 404)
            }
            for header in ["", "Bearer", "Bearer sk_test_nobody", "Basic \(shop.key)", "Bearer \(shop.key)x", shop.key]
            {
                let refused = try await server.send("GET", "/v1/payments", headers: ["authorization": header])
                #expect(refused.status == 401 && refused.code == "api_key_invalid", "\(header)")
                #expect(refused.headers["www-authenticate"] != nil)
            }
            let early = try await server.ask("POST", "/v1/payments", bank.order(), key: unverified.key)
            #expect(early.status == 403 && early.code == "merchant_not_verified", "\(early.text)")
            let out = try await server.ask("GET", "/v1/payments", key: suspended.key)
            #expect(out.status == 403 && out.code == "merchant_suspended")
            try await bank.books.endKey(hint: String(shop.key.suffix(12)), of: shop.merchant.id, at: bank.clock.now())
            #expect(try await server.ask("GET", "/v1/payments/\(id)", key: shop.key).status == 401)
        }
    }

    @Test("Pages hold every payment once, newest first")
    func pages() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        try await bank.serving { server in
            var made: [String] = []
            for _ in 0..<7 {
                let answer = try await server.ask("POST", "/v1/payments", bank.order(), key: shop.key)
                made.append(try #require(answer.json["id"] as? String))
            }
            var seen: [String] = []
            var path = "/v1/payments?limit=3"
            while true {
                let page = try await server.ask("GET", path, key: shop.key)
                let ids = (page.json["data"] as? [[String: Any]] ?? []).compactMap { $0["id"] as? String }
                seen += ids
                guard page.json["has_more"] as? Bool == true else { break }
                path = "/v1/payments?limit=3&starting_after=\(ids.last ?? "")"
            }
            #expect(seen == made.reversed())
            for (query, param) in [
                ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("limit=%2B5", "limit"),
                ("limit=1&limit=2", "limit"), ("colour=red", "colour"),
            ] {
                let refused = try await server.ask("GET", "/v1/payments?\(query)", key: shop.key)
                #expect(refused.status == 400 && refused.param == param, "\(query): \(refused.text)")
            }
            let nowhere = try await server.ask("GET", "/v1/payments?starting_after=pay_1", key: shop.key)
            #expect(nowhere.status == 404 && nowhere.param == "starting_after")
        }
    }

    @Test("The body is JSON and says so")
    func mediaTypes() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        try await bank.serving { server in
            for type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"] {
                let refused = try await server.send(
                    "POST", "/v1/payments", bank.order(),
                    headers: ["authorization": "Bearer \(shop.key)", "content-type": type])
                #expect(refused.status == 415 && refused.code == "content_type_unsupported", "\(type)")
            }
            let taken = try await server.send(
                "POST", "/v1/payments", bank.order(),
                headers: ["authorization": "Bearer \(shop.key)", "content-type": "Application/JSON; charset=utf-8"])
            #expect(taken.status == 201)
            let cvv = try await server.ask(
                "POST", "/v1/payments", bank.order(2500, #", "cvv": "123""#), key: shop.key)
            #expect(cvv.status == 400 && cvv.code == "security_code_refused" && cvv.param == "cvv")
            let form = try await server.send(
                "POST", "/v1/payments", "amount=2500&card%5Bcvc%5D=123",
                headers: [
                    "authorization": "Bearer \(shop.key)", "content-type": "application/x-www-form-urlencoded",
                ])
            #expect(form.status == 400 && form.code == "security_code_refused" && form.param == "card[cvc]")
            let text = try await server.send(
                "POST", "/v1/payments", bank.order(2500, #", "cvv": "1", "reference": "a=b""#),
                headers: ["authorization": "Bearer \(shop.key)", "content-type": "text/plain"])
            #expect(text.status == 415 && !text.text.contains(bank.pan.digits), "\(text.text)")
        }
    }

    @Test("A query is for lists: a request that changes something has none, and a security code is refused in any")
    func queries() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        try await bank.serving { server in
            for (query, code, param) in [
                ("cvv=123", "security_code_refused", "cvv"), ("a=b&cvv2=123", "security_code_refused", "cvv2"),
                ("card%5Bcvv%5D", "security_code_refused", "card[cvv]"), ("amount=1", "parameter_unknown", "amount"),
                ("incident_id=1", "parameter_unknown", "incident_id"),
            ] {
                let refused = try await server.ask("POST", "/v1/payments?\(query)", bank.order(), key: shop.key)
                #expect(refused.status == 400 && refused.code == code && refused.param == param, "\(refused.text)")
                #expect(!refused.text.contains("123"))
            }
            let list = try await server.ask("GET", "/v1/payments?limit=1&cvv=123", key: shop.key)
            #expect(list.status == 400 && list.code == "security_code_refused", "\(list.text)")
            let none = try await server.ask("GET", "/v1/payments", key: shop.key)
            #expect((none.json["data"] as? [Any])?.isEmpty == true, "\(none.text)")
        }
    }
}

extension Sequence {
    func asyncMap<Value>(_ body: (Element) async throws -> Value) async rethrows -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await body(element)) }
        return values
    }
}
