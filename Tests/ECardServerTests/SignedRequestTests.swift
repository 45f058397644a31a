import CardData
import Crypto
import ECardServer
import ECardTesting
import Foundation
import KeyCustody
import Ledger
import OOPA
import PaymentPorts
import Testing

/// Merchants' signed requests over a socket, as far as the record that neither side can deny.
@Suite struct SignedRequestTests {
    /// A shop that signs by RFC 9421, written out here by hand.
    struct Shop: Sendable {
        let merchant: Merchant
        let apiKey: String
        let key = P256.Signing.PrivateKey()
        let keyID: String

        init(_ bank: ServerBank, isLive: Bool = false) async throws {
            (merchant, apiKey) = try await bank.merchant(isLive: isLive)
            let point = Array(key.publicKey.x963Representation)
            keyID = try #require(P256PublicKey(point: point)).jwkThumbprint
            try await bank.books.add(
                MerchantSigningKey(
                    id: keyID, merchant: merchant.id, isLive: isLive, point: point, createdAt: bank.clock.now()))
        }

        func headers(
            _ path: String, _ body: String, on server: RunningServer, at time: Timestamp, idempotency: String,
            keyID: String? = nil
        ) throws -> [String: String] {
            let digest = "sha-256=:\(Data(SHA256.hash(data: Data(body.utf8))).base64EncodedString()):"
            let parameters =
                "(\"@method\" \"@authority\" \"@path\" \"content-digest\" \"idempotency-key\");created=\(time.milliseconds / 1000)"
                + ";keyid=\"\(keyID ?? self.keyID)\";tag=\"ecard-merchant-request\""
            let base = """
                "@method": POST
                "@authority": 127.0.0.1:\(server.port)
                "@path": \(path)
                "content-digest": \(digest)
                "idempotency-key": \(idempotency)
                "@signature-params": \(parameters)
                """
            let signature = try key.signature(for: Data(base.utf8)).rawRepresentation.base64EncodedString()
            return [
                "authorization": "Bearer \(apiKey)", "idempotency-key": idempotency, "content-digest": digest,
                "signature-input": "shop=\(parameters)", "signature": "shop=:\(signature):",
            ]
        }

        func ask(
            _ path: String, _ body: String? = nil, on server: RunningServer, at time: Timestamp,
            idempotency: String = UUID().uuidString, changing change: (inout [String: String]) -> Void = { _ in }
        ) async throws -> RunningServer.Answer {
            var headers = try headers(path, body ?? "", on: server, at: time, idempotency: idempotency)
            change(&headers)
            return try await server.send("POST", path, body, headers: headers)
        }
    }

    @Test("A signed order has a nonce of its own, without which its digest would give the card's number away")
    func nonces() async throws {
        let bank = try await ServerBank()
        let shop = try await Shop(bank)
        try await bank.serving { server in
            func ask(_ body: String, idempotency: String = UUID().uuidString) async throws -> RunningServer.Answer {
                try await shop.ask(
                    "/v1/payments", body, on: server, at: bank.clock.now(), idempotency: idempotency)
            }
            for body in [bank.order(), bank.order(2500, #", "nonce": null"#)] {
                let refused = try await ask(body)
                #expect(refused.status == 400 && refused.code == "nonce_missing", "\(refused.text)")
                #expect(refused.param == "nonce" && !refused.text.contains(bank.pan.digits))
            }
            // In what is kept it would be no secret.
            let signed = try await ask(bank.signedOrder(), idempotency: ServerBank.nonce)
            #expect(signed.status == 400 && signed.param == "nonce", "\(signed.text)")
            let kept = try await ask(bank.signedOrder(#", "reference": "x\#(ServerBank.nonce)""#))
            #expect(kept.status == 400 && kept.param == "nonce", "\(kept.text)")
            #expect(try await ask(bank.signedOrder()).status == 201)
            let unsigned = try await server.ask("POST", "/v1/payments", bank.signedOrder(), key: shop.apiKey)
            #expect(unsigned.status == 201, "\(unsigned.text)")
        }
        #expect(try await bank.books.verify(since: nil) == [])
    }

    private static func publicKey(of bank: ServerBank) async throws -> P256PublicKey {
        try await bank.keys.withSession { try $0.provenPublicKey(of: $0.key(BankKey.evidence, 1)) }
    }

    @Test("What a merchant signs stands in the payment's record, and in one of its own for what comes after")
    func life() async throws {
        let bank = try await ServerBank()
        let shop = try await Shop(bank)
        let id = try await bank.serving { server in
            let now = bank.clock.now()
            let made = try await shop.ask(
                "/v1/payments", bank.signedOrder(#", "capture": "manual""#), on: server, at: now, idempotency: "order-1"
            )
            #expect(made.status == 201, "\(made.text)")
            let id = try #require(made.json["id"] as? String)
            // Sent again, and signed again: the same answer, and one payment.
            let again = try await shop.ask(
                "/v1/payments", bank.signedOrder(#", "capture": "manual""#), on: server, at: now.adding(seconds: 1),
                idempotency: "order-1")
            #expect(again.json["id"] as? String == id && again.headers["idempotent-replayed"] == "true")
            try await bank.approve(id)
            let captured = try await shop.ask("/v1/payments/\(id)/capture", on: server, at: now)
            #expect(captured.json["amount_captured"] as? Int == 2500, "\(captured.text)")
            let refunded = try await shop.ask("/v1/payments/\(id)/refunds", #"{"amount": 500}"#, on: server, at: now)
            #expect(refunded.json["amount_refunded"] as? Int == 500, "\(refunded.text)")
            return PaymentID(rawValue: id)
        }
        let key = try await Self.publicKey(of: bank)
        let text = try #require(try await bank.books.evidence(of: id))
        let record = try Evidence.verify(text, with: key)
        let request = try #require(record.requests?.first)
        #expect(record.requests?.count == 1 && request.action(on: id.rawValue) == .create)
        #expect(request.keyID == shop.keyID && request.contentDigest?.hasPrefix("sha-256=:") == true)
        let kept = try await bank.books.requests(of: id)
        let later = try kept.compactMap(\.signed).compactMap { text -> RequestRecord? in
            guard case .request(let record) = try Evidence.read(text, with: key) else { return nil }
            return record
        }
        #expect(later.map { $0.request.action(on: id.rawValue) } == [.capture, .refund])
        #expect(later.map(\.amount.minorUnits) == [2500, 500])
        for secret in [bank.pan.digits, shop.apiKey, ServerBank.nonce] {
            #expect(!kept.contains { $0.text.contains(secret) })
            #expect(!bank.log.all.joined().contains(secret))
        }
        #expect(try await bank.books.verify(since: nil) == [])
    }

    @Test("What ends a payment stands in the record of its end; a hold that is given back has one of its own")
    func endings() async throws {
        let bank = try await ServerBank()
        let shop = try await Shop(bank)
        let (cancelled, voided) = try await bank.serving { server in
            func make() async throws -> String {
                let made = try await shop.ask(
                    "/v1/payments", bank.signedOrder(#", "capture": "manual""#), on: server, at: bank.clock.now())
                return try #require(made.json["id"] as? String)
            }
            let (first, second) = (try await make(), try await make())
            try await bank.approve(second)
            for id in [first, second] {
                let ended = try await shop.ask("/v1/payments/\(id)/cancel", on: server, at: bank.clock.now())
                #expect(ended.status == 200, "\(ended.text)")
            }
            return (PaymentID(rawValue: first), PaymentID(rawValue: second))
        }
        let key = try await Self.publicKey(of: bank)
        let record = try Evidence.verify(try #require(try await bank.books.evidence(of: cancelled)), with: key)
        #expect(record.answer == .unanswered)
        #expect(record.requests?.map { $0.action(on: cancelled.rawValue) } == [.create, .cancel])
        #expect(try await bank.books.requests(of: voided).map { $0.signed != nil } == [false, true])
        #expect(try await bank.books.verify(since: nil) == [])
    }

    @Test("A signature that is wrong is refused, with what is wrong and what to cover, and nothing is done")
    func refused() async throws {
        let bank = try await ServerBank()
        let (shop, other) = (try await Shop(bank), try await Shop(bank))
        let live = try await Shop(bank, isLive: true)
        try await bank.serving { server in
            let now = bank.clock.now()
            func expect(
                _ code: String, at time: Timestamp? = nil, _ change: (inout [String: String]) -> Void
            ) async throws {
                let answer = try await shop.ask(
                    "/v1/payments", bank.signedOrder(), on: server, at: time ?? now, changing: change)
                #expect(answer.status == 401 && answer.code == code, "\(code): \(answer.text)")
                #expect(answer.headers["accept-signature"]?.contains("content-digest") == true)
                #expect(answer.headers["www-authenticate"] != nil && !answer.text.contains(bank.pan.digits))
            }
            try await expect("signature_invalid") { $0["idempotency-key"] = "another" }
            try await expect("signature_malformed") { $0["signature"] = nil }
            try await expect("signature_malformed") { $0["signature-input"] = nil }
            try await expect("content_digest_mismatch") { $0["content-digest"] = "sha-256=:AAAA:" }
            try await expect("signature_coverage") { $0["idempotency-key"] = nil }
            try await expect("signature_time", at: now.adding(seconds: -400)) { _ in }
            try await expect("signature_time", at: now.adding(seconds: 120)) { _ in }
            for stranger in [other, live] {
                try await expect("signature_key_unknown") {
                    $0 =
                        (try? stranger.headers(
                            "/v1/payments", bank.signedOrder(), on: server, at: now, idempotency: "x")) ?? [:]
                    $0["authorization"] = "Bearer \(shop.apiKey)"
                }
            }
            let number = try await shop.ask(
                "/v1/payments", bank.signedOrder(), on: server, at: now, idempotency: bank.pan.digits)
            #expect(number.status == 400 && number.param == "card.number", "\(number.text)")
            let list = try await server.ask("GET", "/v1/payments", key: shop.apiKey)
            #expect((list.json["data"] as? [Any])?.isEmpty == true, "\(list.text)")
            let read = try await server.send(
                "GET", "/v1/payments",
                headers: [
                    "authorization": "Bearer \(shop.apiKey)", "signature": "shop=:AAAA:",
                    "signature-input": "shop=();tag=\"ecard-merchant-request\"",
                ])
            #expect(read.status == 401 && read.code == "signature_coverage", "\(read.text)")
            try await bank.books.endSigningKey(shop.keyID, of: shop.merchant.id, at: now)
            try await expect("signature_key_unknown") { _ in }
        }
        #expect(try await bank.books.verify(since: nil) == [])
    }

    @Test("Where signatures are required, unsigned requests that change something are refused, and no others")
    func required() async throws {
        let bank = try await ServerBank()
        let shop = try await Shop(bank)
        let free = try await bank.merchant()
        try await bank.books.requireSignatures(true, of: shop.merchant.id, by: "Efua", at: bank.clock.now())
        try await bank.serving { server in
            let refused = try await server.ask(
                "POST", "/v1/payments", bank.order(), key: shop.apiKey, idempotency: "order-1")
            #expect(refused.status == 401 && refused.code == "signature_missing", "\(refused.text)")
            #expect(try await server.ask("GET", "/v1/payments", key: shop.apiKey).status == 200)
            let signed = try await shop.ask("/v1/payments", bank.signedOrder(), on: server, at: bank.clock.now())
            #expect(signed.status == 201, "\(signed.text)")
            let id = try #require(signed.json["id"] as? String)
            for change in ["cancel", "capture", "refunds"] {
                let refused = try await server.ask("POST", "/v1/payments/\(id)/\(change)", key: shop.apiKey)
                #expect(refused.code == "signature_missing", "\(change): \(refused.text)")
            }
            let unsigned = try await server.ask("POST", "/v1/payments", bank.order(), key: free.key)
            #expect(unsigned.status == 201, "\(unsigned.text)")
            let cancelled = try await server.ask(
                "POST", "/v1/payments/\(try #require(unsigned.json["id"] as? String))/cancel", key: free.key)
            #expect(cancelled.status == 200)
            let payment = PaymentID(rawValue: try #require(unsigned.json["id"] as? String))
            let record = try Evidence.verify(
                try #require(try await bank.books.evidence(of: payment)), with: try await Self.publicKey(of: bank))
            #expect(record.requests == nil)
        }
        #expect(try await bank.books.verify(since: nil) == [])
    }
}

extension ServerBank {
    /// 128 bits.
    static let nonce = "c1f0a9d27be345688e01f2a3b4c5d6e7"

    /// A body that may be signed.
    func signedOrder(_ more: String = "") -> String { order(2500, #", "nonce": "\#(Self.nonce)"\#(more)"#) }
}
