import ByteCoding
@testable import ECardServer
import ECardTesting
import Foundation
import Testing

@Suite struct WebhookSignatureTests {
    /// From the specification of Standard Webhooks 1.0.0, "Signature scheme", and the tests of its reference libraries.
    @Test func theVectorOfTheReferenceLibraries() throws {
        let secret = SecretBytes(try #require(Data(base64Encoded: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")))
        #expect(WebhookSecret.text(secret) == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        #expect(
            WebhookSignature.v1(
                id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330,
                body: Array(#"{"test": 2432232314}"#.utf8),
                secret: secret) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    @Test(
        "The reference library of others verifies what we sign",
        .enabled(if: PythonOracle.isConfigured, "\(PythonOracle.howToEnable)"))
    func othersVerifyIt() throws {
        let child = try LineChild(try #require(PythonOracle.interpreter), ["-u", "-c", Self.verifier])
        for round in 0..<50 {
            let secret = WebhookSecret.random()
            let body = Array(#"{"round":\#(round),"text":"Ɛdwoa & Söhne"}"#.utf8)
            let now = Int64(Date().timeIntervalSince1970)
            let signature = WebhookSignature.v1(id: "evt_\(round)", timestamp: now, body: body, secret: secret)
            for (sent, wanted) in [(body, "yes"), (body + [0x20], "no")] {
                try child.send(
                    JSONEncoder().encode([
                        WebhookSecret.text(secret), "evt_\(round)", "\(now)", signature, sent.hex,
                    ]))
                #expect(child.line() == wanted)
            }
        }
    }

    private static let verifier = """
        import json, sys
        from standardwebhooks.webhooks import Webhook
        for line in sys.stdin:
            secret, id, timestamp, signature, body = json.loads(line)
            try:
                Webhook(secret).verify(bytes.fromhex(body).decode(),
                    {'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature})
                print('yes')
            except Exception as error:
                print('no')
        """
}
