import CardData
import Crypto
@testable import ECardServer
import ECardTesting
import Foundation
import Logging
import OOPA
import PaymentPorts
import Testing

@Suite(.ownThread) struct ReceiptPageTests {
    @Test("A paid payment has a page that loads nothing; one that is not has none")
    func page() async throws {
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        let other = try await bank.merchant()
        try await bank.serving { server in
            let body = bank.order(25_00, #", "reference": "<b>17 & 'x'\"", "description": "A book""#)
            let created = try await server.ask("POST", "/v1/payments", body, key: shop.key)
            let id = try #require(created.json["id"] as? String, "\(created.text)")
            let path = "/v1/payments/\(id)/receipt"
            let early = try await server.ask("GET", path, key: shop.key)
            #expect(early.status == 409 && early.code == "payment_unexpected_status")
            try await bank.approve(id)
            let page = try await server.ask("GET", path, key: shop.key)
            #expect(page.status == 200 && page.headers["content-type"] == "text/html; charset=utf-8")
            #expect(page.headers["x-content-type-options"] == "nosniff" && page.headers["cache-control"] == "no-store")
            #expect(page.headers["referrer-policy"] == "no-referrer")
            // The policy lets the page's own style in, and nothing else.
            let style = try #require(page.text.firstMatch(of: #/<style>([^<]*)</style>/#)).output.1
            let digest = Data(SHA256.hash(data: Data(style.utf8))).base64EncodedString()
            let policy = try #require(page.headers["content-security-policy"])
            #expect(policy.hasPrefix("default-src 'none'; style-src 'sha256-\(digest)';"))
            #expect(style.contains("@media print") && page.text.contains("<html lang=\"en\">"))
            for text in [
                shop.merchant.name, "GHS 25.00", bank.pan.masked, "&lt;b&gt;17 &amp; &#39;x&#39;&quot;", "A book", id,
                "A test payment",
            ] {
                #expect(page.text.contains(text), "\(text): \(page.text)")
            }
            #expect(!page.text.contains("<b>") && !page.text.contains(ServerBank.phone))
            #expect(!page.text.contains("http") && !page.text.contains("<script"))

            #expect(try await server.ask("GET", path, key: other.key).status == 404)
            #expect(try await server.send("GET", path).status == 401)
            let french = try await server.ask("GET", path + "?language=fr", key: shop.key)
            #expect(french.text.contains("<html lang=\"fr\">") && french.text.contains("<h1>Reçu</h1>"))
            for query in ["language=xx", "langauge=fr", "language="] {
                #expect(try await server.ask("GET", "\(path)?\(query)", key: shop.key).status == 400, "\(query)")
            }
            _ = try await server.ask("POST", "/v1/payments/\(id)/refunds", #"{"amount": 500}"#, key: shop.key)
            let after = try await server.ask("GET", path, key: shop.key)
            #expect(after.text.contains("<th scope=\"row\">Returned</th><td>GHS 5.00</td>"), "\(after.text)")
        }
    }

    @Test("A gateway that is down is told, and takes nothing out of service; a ledger does")
    func readiness() async throws {
        struct Down: Error {}
        func parts(ledger: Bool) -> [OperationsAPI.Part] {
            [
                .init("ledger") { if !ledger { throw Down() } }, .init("sms-kannel", isNeeded: false) { throw Down() },
                .init("mail-smtp", isNeeded: false) {},
            ]
        }
        for (ledger, status, word) in [(true, 200, "degraded"), (false, 503, "failed")] {
            let routes = OperationsAPI(
                parts: parts(ledger: ledger), metrics: PrometheusMetrics(), logger: Logger(label: "test")
            ).routes
            let answer = try await RunningServer.with(routes) { try await $0.send("GET", "/readyz") }
            let told = answer.json["parts"] as? [String: String]
            #expect(answer.status == status && answer.json["status"] as? String == word)
            #expect(told == ["ledger": ledger ? "ok" : "failed", "sms-kannel": "failed", "mail-smtp": "ok"])
        }
    }
}
