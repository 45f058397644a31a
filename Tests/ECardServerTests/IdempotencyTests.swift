import CardData
import ECardServer
import ECardTesting
import Foundation
import OOPA
import PaymentPorts
import Testing

/// `Idempotency-Key`: one request, done once.
@Suite(.ownThread) struct IdempotencyTests {
    private static func payments(_ server: RunningServer, _ key: String) async throws -> Int {
        let page = try await server.ask("GET", "/v1/payments?limit=100", key: key)
        return (page.json["data"] as? [Any])?.count ?? -1
    }

    @Test("A repeat gets the same bytes; another request under the same key is refused; a day later the key is free")
    func repeats() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        let other = try await bank.merchant()
        try await bank.serving { server in
            let first = try await server.ask("POST", "/v1/payments", bank.order(), key: shop.key, idempotency: "a-1")
            let again = try await server.ask("POST", "/v1/payments", bank.order(), key: shop.key, idempotency: "a-1")
            #expect(first.status == 201 && again.status == 201 && first.body == again.body)
            #expect(first.headers["idempotent-replayed"] == nil && again.headers["idempotent-replayed"] == "true")
            let changed = try await server.ask(
                "POST", "/v1/payments", bank.order(2600), key: shop.key, idempotency: "a-1")
            #expect(changed.status == 422 && changed.code == "idempotency_key_reused")
            #expect(!changed.text.contains(bank.pan.digits))
            let id = try #require(first.json["id"] as? String)
            let path = try await server.ask("POST", "/v1/payments/\(id)/cancel", key: shop.key, idempotency: "a-1")
            #expect(path.status == 422, "another path")
            let others = try await server.ask("POST", "/v1/payments", bank.order(), key: other.key, idempotency: "a-1")
            #expect(others.status == 201 && others.body != first.body, "another merchant's key is another")
            #expect(try await Self.payments(server, shop.key) == 1)
            bank.clock.turn(seconds: 86_401)
            let later = try await server.ask(
                "POST", "/v1/payments", bank.order(2600), key: shop.key, idempotency: "a-1")
            #expect(later.status == 201 && later.headers["idempotent-replayed"] == nil, "\(later.text)")
        }
    }

    @Test("A refund under a key is given once, whatever becomes of the answers")
    func refunds() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        try await bank.serving { server in
            let made = try await server.ask("POST", "/v1/payments", bank.order(), key: shop.key)
            let id = try #require(made.json["id"] as? String)
            try await bank.approve(id)
            let path = "/v1/payments/\(id)/refunds"
            let first = try await server.ask("POST", path, #"{"amount": 700}"#, key: shop.key, idempotency: "r")
            let again = try await server.ask("POST", path, #"{"amount": 700}"#, key: shop.key, idempotency: "r")
            #expect(first.body == again.body && again.headers["idempotent-replayed"] == "true")
            let changed = try await server.ask("POST", path, #"{"amount": 800}"#, key: shop.key, idempotency: "r")
            #expect(changed.status == 422)
            let second = try await server.ask("POST", path, #"{"amount": 700}"#, key: shop.key, idempotency: "s")
            #expect(second.json["amount_refunded"] as? Int == 1400)
            // What was answered before stays what it was.
            let old = try await server.ask("POST", path, #"{"amount": 700}"#, key: shop.key, idempotency: "r")
            #expect(old.json["amount_refunded"] as? Int == 700)
        }
    }

    @Test("A request that comes to two servers of the same books at once is done once, and both give its answer")
    func twoServers() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        try await bank.serving { one in
            try await bank.serving { two in
                for round in 0..<8 {
                    async let first = one.ask(
                        "POST", "/v1/payments", bank.order(), key: shop.key, idempotency: "k\(round)")
                    async let second = two.ask(
                        "POST", "/v1/payments", bank.order(), key: shop.key, idempotency: "k\(round)")
                    let answers = try await [first, second]
                    #expect(answers.map(\.status) == [201, 201], "\(answers.map(\.text))")
                    #expect(answers[0].body == answers[1].body)
                }
                #expect(try await Self.payments(one, shop.key) == 8)
            }
        }
    }

    @Test("The same request thirty times at once is done once: the others get its answer, or are told to wait")
    func atOnce() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        try await bank.serving { server in
            let answers = try await withThrowingTaskGroup(of: RunningServer.Answer.self) { group in
                for _ in 0..<30 {
                    group.addTask {
                        try await server.ask("POST", "/v1/payments", bank.order(), key: shop.key, idempotency: "once")
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let done = answers.filter { $0.status == 201 }
            #expect(!done.isEmpty && Set(done.map(\.text)).count == 1)
            for other in answers where other.status != 201 {
                #expect(other.status == 409 && other.code == "idempotency_key_in_use", "\(other.text)")
            }
            #expect(try await Self.payments(server, shop.key) == 1)
        }
    }

    @Test("A refused request holds no key", arguments: ["", String(repeating: "k", count: 256), "with space"])
    func refused(_ key: String) async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        try await bank.serving { server in
            let wrong = try await server.ask("POST", "/v1/payments", bank.order(), key: shop.key, idempotency: key)
            #expect(wrong.status == 400 && wrong.code == "idempotency_key_invalid", "\(wrong.text)")
            let bad = try await server.ask("POST", "/v1/payments", bank.order(0), key: shop.key, idempotency: "k")
            #expect(bad.status == 400)
            let good = try await server.ask("POST", "/v1/payments", bank.order(1), key: shop.key, idempotency: "k")
            #expect(good.status == 201, "\(good.text)")
        }
    }
}
