import KeyCustody
import ByteCoding
@testable import ECardServer
import ECardTesting
import Foundation
import HTTPTypes
import Hummingbird
import KeyCustody
import Ledger
import OOPA
import PaymentPorts
import Synchronization
import Testing

/// Webhooks from the commit of a step to a merchant's server.
@Suite(.ownThread) struct WebhookSenderTests {
    /// A merchant's server: what it got, and what it answers next.
    final class Receiver: Sendable {
        struct Call: Sendable {
            let id: String
            let timestamp: String
            let signature: String
            let body: [UInt8]
        }

        private let state = Mutex<(calls: [Call], answers: [HTTPResponse.Status])>(([], []))

        var calls: [Call] { state.withLock { $0.calls } }
        func answer(_ statuses: HTTPResponse.Status...) { state.withLock { $0.answers = statuses } }

        var routes: [Route] {
            [
                Route(.post, "/hook") { request, _ in
                    func header(_ name: String) -> String {
                        HTTPField.Name(name).flatMap { request.headers[$0] } ?? ""
                    }
                    let call = Call(
                        id: header("webhook-id"), timestamp: header("webhook-timestamp"),
                        signature: header("webhook-signature"), body: try await request.bytes())
                    let status = self.state.withLock { state in
                        state.calls.append(call)
                        return state.answers.isEmpty ? HTTPResponse.Status.ok : state.answers.removeFirst()
                    }
                    return Response(status, "text/plain", "".utf8, headers: [.location: "/elsewhere"])
                },
                Route(.post, "/elsewhere") { _, _ in
                    self.state.withLock {
                        $0.calls.append(Call(id: "redirected", timestamp: "", signature: "", body: []))
                    }
                    return Response(.ok, "text/plain", "".utf8)
                },
            ]
        }
    }

    private static func endpoint(
        _ url: String, of merchant: Merchant, _ bank: ServerBank
    ) async throws -> SecretBytes {
        let secret = WebhookSecret.random()
        let id = WebhookEndpointID.random()
        let sealed = try await bank.keys.withSession { try WebhookVault.seal(secret, for: id, in: $0) }
        try await bank.books.add(
            WebhookEndpoint(
                id: id, merchant: merchant.id, isLive: false, url: url, sealedSecret: sealed,
                createdAt: bank.clock.now()))
        return secret
    }

    private static func sender(_ bank: ServerBank, allowsPrivate: Bool = true) -> WebhookSender {
        var settings = WebhookSender.Settings()
        settings.allowsPrivate = allowsPrivate
        settings.seconds = 2
        return WebhookSender(
            events: bank.books, payments: bank.books, time: bank.clock, settings: settings, logger: bank.log.logger
        ) { endpoint in try await bank.keys.withSession { try WebhookVault.open(endpoint, in: $0) } }
    }

    /// A test payment that was captured, and so an event of it.
    private static func captured(_ bank: ServerBank, _ key: String) async throws -> String {
        let id = try await bank.serving { server in
            let made = try await server.ask(
                "POST", "/v1/payments", bank.order(2500, #", "reference": "order-17""#), key: key)
            return try #require(made.json["id"] as? String)
        }
        try await bank.approve(id)
        return id
    }

    @Test("An event arrives once, signed, and tells what became of the payment")
    func delivery() async throws {
        let (bank, receiver) = (try await ServerBank(), Receiver())
        let shop = try await bank.merchant()
        try await RunningServer.with(receiver.routes) { server in
            let secret = try await Self.endpoint(server.base + "/hook", of: shop.merchant, bank)
            let id = try await Self.captured(bank, shop.key)
            let sender = Self.sender(bank)
            await sender.sendDue()
            await sender.sendDue()
            let call = try #require(receiver.calls.first)
            #expect(receiver.calls.count == 1)
            #expect(
                call.signature
                    == WebhookSignature.v1(
                        id: call.id, timestamp: Int64(call.timestamp) ?? 0, body: call.body, secret: secret))
            let body = try #require(try JSONSerialization.jsonObject(with: Data(call.body)) as? [String: Any])
            let data = try #require(body["data"] as? [String: Any])
            #expect(body["type"] as? String == "payment.captured" && call.id.hasPrefix("evt_"))
            #expect(data["id"] as? String == id && data["status"] as? String == "captured")
            #expect(data["amount"] as? Int == 2500 && data["reference"] as? String == "order-17")
        }
    }

    @Test("What fails comes again later, the same under the same identifier; a redirect is not followed")
    func retries() async throws {
        let (bank, receiver) = (try await ServerBank(), Receiver())
        let shop = try await bank.merchant()
        try await RunningServer.with(receiver.routes) { server in
            _ = try await Self.endpoint(server.base + "/hook", of: shop.merchant, bank)
            _ = try await Self.captured(bank, shop.key)
            receiver.answer(.internalServerError, .temporaryRedirect, .ok)
            let sender = Self.sender(bank)
            for tries in 1...3 {
                await sender.sendDue()
                #expect(receiver.calls.count == tries)
                await sender.sendDue()
                #expect(receiver.calls.count == tries, "before its time")
                bank.clock.turn(seconds: 120)
            }
            #expect(Set(receiver.calls.map(\.id)).count == 1 && Set(receiver.calls.map(\.body)).count == 1)
        }
    }

    @Test("What was given up leaves again when it is asked for, under its own identifier")
    func resent() async throws {
        let (bank, receiver) = (try await ServerBank(), Receiver())
        let shop = try await bank.merchant()
        try await RunningServer.with(receiver.routes) { server in
            _ = try await Self.endpoint(server.base + "/hook", of: shop.merchant, bank)
            _ = try await Self.captured(bank, shop.key)
            let sender = Self.sender(bank)
            var tries = 0
            while let waits = try await bank.books.undelivered(of: shop.merchant.id, limit: 9).first?.dueAt {
                receiver.answer(.serviceUnavailable)
                bank.clock.turn(seconds: Int64(waits.milliseconds - bank.clock.now().milliseconds) / 1000 + 1)
                await sender.sendDue()
                tries += 1
                try #require(tries <= 11, "it is never given up")
            }
            #expect(tries == 11 && receiver.calls.count == 11)
            let given = try await bank.books.undelivered(of: shop.merchant.id, limit: 9)
            #expect(given.map(\.reason) == ["the endpoint answered 503"])
            bank.clock.turn(seconds: 86_400)
            await sender.sendDue()
            #expect(receiver.calls.count == 11)
            let sent = try await bank.books.resend(nil, of: shop.merchant.id, at: bank.clock.now())
            await sender.sendDue()
            #expect(receiver.calls.count == 12 && Set(receiver.calls.map(\.id)) == Set(sent.map(\.rawValue)))
            #expect(try await bank.books.undelivered(of: shop.merchant.id, limit: 9).isEmpty)
        }
    }

    @Test("Addresses that are not public get nothing, and an endpoint that is gone nothing more")
    func refusals() async throws {
        let (bank, receiver) = (try await ServerBank(), Receiver())
        let shop = try await bank.merchant()
        try await RunningServer.with(receiver.routes) { server in
            for host in ["localhost", "127.0.0.1"] {
                _ = try await Self.endpoint("https://\(host):\(server.port)/hook", of: shop.merchant, bank)
            }
            _ = try await Self.captured(bank, shop.key)
            await Self.sender(bank, allowsPrivate: false).sendDue()
            #expect(receiver.calls.isEmpty)
            let reasons = bank.log.all.filter { $0.contains("webhook failed") }
            #expect(reasons.count == 2 && reasons.allSatisfy { $0.contains("not public") }, "\(reasons)")
        }
        let other = try await bank.merchant()
        try await RunningServer.with(receiver.routes) { server in
            _ = try await Self.endpoint(server.base + "/hook", of: other.merchant, bank)
            _ = try await Self.captured(bank, other.key)
            receiver.answer(.gone, .ok)
            let sender = Self.sender(bank)
            await sender.sendDue()
            bank.clock.turn(seconds: 86_400 * 2)
            await sender.sendDue()
            #expect(receiver.calls.count == 1)
            #expect(try await bank.books.endpoints(of: other.merchant.id).isEmpty, "it is not ended")
            #expect(bank.log.all.contains { $0.contains("webhook endpoint ended") })
            _ = try await Self.captured(bank, other.key)
            await sender.sendDue()
            #expect(receiver.calls.count == 1)
        }
        #expect(try await bank.books.verify(since: nil) == [])
    }

    @Test("No other refusal ends an endpoint", arguments: [400, 401, 404, 409, 429, 500, 503])
    func refusalsThatPass(_ status: Int) async throws {
        let (bank, receiver) = (try await ServerBank(), Receiver())
        let shop = try await bank.merchant()
        try await RunningServer.with(receiver.routes) { server in
            _ = try await Self.endpoint(server.base + "/hook", of: shop.merchant, bank)
            _ = try await Self.captured(bank, shop.key)
            receiver.answer(HTTPResponse.Status(code: status))
            await Self.sender(bank).sendDue()
            #expect(receiver.calls.count == 1)
            #expect(try await bank.books.endpoints(of: shop.merchant.id).count == 1)
        }
    }
}
