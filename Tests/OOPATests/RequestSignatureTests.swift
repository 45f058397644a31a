import ByteCoding
import Crypto
import ECardTesting
import Foundation
import KeyCustody
import PKCS11
import PaymentPorts
import Testing

@testable import OOPA

/// A merchant's signature over a request: what is taken, and that nothing else is.
@Suite("Signed requests") struct RequestSignatureTests {
    static let now = Timestamp(milliseconds: 1_800_000_000_000)
    static let body = #"{"amount": 2500, "currency": "ghs"}"#
    static let components = #""@method" "@authority" "@path" "content-digest" "idempotency-key""#

    /// A request with its signature, any part of which a test may change.
    struct Request: Sendable {
        var method = "POST"
        var scheme = "https"
        var authority = "bank.example:8443"
        var path = "/v1/payments"
        var query: String?
        var fields: [String: String]
        var body: String
        var input = ""
        var signature = ""
        var at = RequestSignatureTests.now

        init(body: String = RequestSignatureTests.body, path: String = "/v1/payments") {
            self.body = body
            self.path = path
            let digest = Data(SHA256.hash(data: Data(body.utf8))).base64EncodedString()
            fields = ["content-digest": "sha-256=:\(digest):", "idempotency-key": "order-1"]
        }

        var message: RequestSignature.Message {
            RequestSignature.Message(
                method: method, scheme: scheme, authority: authority, path: path, query: query, fields: fields,
                body: Array(body.utf8), changes: method == "POST")
        }

        mutating func sign(
            _ components: String = RequestSignatureTests.components, _ parameters: String = "created=1800000000",
            tag: String = RequestSignature.tag, with key: P256.Signing.PrivateKey, as keyID: String? = nil
        ) throws {
            let id = try keyID ?? RequestSignatureTests.publicKey(key).jwkThumbprint
            let text = "(\(components));\(parameters);keyid=\"\(id)\";tag=\"\(tag)\""
            let message = message
            let base = try SignatureBase(SignatureParameters(parsing: text)) { message.value(of: $0) ?? "" }
            let bytes = try key.signature(for: Data(base.text.utf8)).rawRepresentation
            (input, signature) = ("shop=\(text)", "shop=:\(bytes.base64EncodedString()):")
        }

        func verified(by key: P256.Signing.PrivateKey) async throws -> MerchantRequest {
            let registered = try RequestSignatureTests.publicKey(key)
            return try await RequestSignature.verify(message, input: input, signature: signature, at: at) { id in
                id == registered.jwkThumbprint ? registered : nil
            }
        }
    }

    static func publicKey(_ key: P256.Signing.PrivateKey) throws -> P256PublicKey {
        try #require(P256PublicKey(point: Array(key.publicKey.x963Representation)))
    }

    @Test("A signed request is taken, and what is kept shows it to anybody")
    func taken() async throws {
        let key = P256.Signing.PrivateKey()
        var request = Request()
        try request.sign(with: key)
        let kept = try await request.verified(by: key)
        try kept.check(about: "pay_1", allowed: [.create])
        #expect(kept.action(on: "pay_1") == .create && kept.contentDigest == request.fields["content-digest"])
        #expect(kept.keyID == (try Self.publicKey(key).jwkThumbprint))
        #expect(throws: Evidence.Refusal.self) { try kept.check(about: "pay_1", allowed: [.capture]) }
        let again = try MerchantRequest(kept.kept(for: PaymentID(rawValue: "pay_1"), signed: nil))
        #expect(again == kept)
        // A capture of one payment is none of another.
        var capture = Request(body: "", path: "/v1/payments/pay_1/capture")
        try capture.sign(with: key)
        let captured = try await capture.verified(by: key)
        try captured.check(about: "pay_1", allowed: [.capture])
        #expect(throws: Evidence.Refusal.self) { try captured.check(about: "pay_2", allowed: [.capture]) }
    }

    struct Change: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let kind: RequestSignatureError.Kind
        let change: @Sendable (inout Request) -> Void

        init(
            _ what: String, _ kind: RequestSignatureError.Kind, _ change: @escaping @Sendable (inout Request) -> Void
        ) {
            testDescription = what
            self.kind = kind
            self.change = change
        }
    }

    static let changes = [
        Change("method", .invalid) { $0.method = "PUT" },
        Change("authority", .invalid) { $0.authority = "other.example" },
        Change("path", .invalid) { $0.path = "/v1/payments/pay_1/capture" },
        Change("query", .coverage) { $0.query = "a=b" },
        Change("body", .digest) { $0.body = #"{"amount": 2501, "currency": "ghs"}"# },
        Change("digest", .digest) {
            $0.fields["content-digest"] = "sha-256=:\(Data(repeating: 1, count: 32).base64EncodedString()):"
        },
        Change("digest gone", .digest) { $0.fields["content-digest"] = nil },
        Change("another digest", .digest) { $0.fields["content-digest"] = "sha-512=:AAAA:" },
        Change("digest and another", .invalid) { $0.fields["content-digest"]? += ", sha-512=:AAAA:" },
        Change("idempotency key", .invalid) { $0.fields["idempotency-key"] = "order-2" },
        Change("idempotency key gone", .coverage) { $0.fields["idempotency-key"] = nil },
        Change("created", .invalid) { $0.input.replace("1800000000", with: "1800000001") },
        Change("nonce", .invalid) { $0.input += ";nonce=\"x\"" },
        Change("expires, over", .time) { $0.input += ";expires=1800000000" },
        Change("algorithm", .malformed) { $0.input += ";alg=\"hmac-sha256\"" },
        Change("a parameter", .malformed) { $0.input += ";colour=\"red\"" },
        Change("order of the components", .invalid) {
            $0.input.replace(#""@method" "@authority""#, with: #""@authority" "@method""#)
        },
        Change("too late", .time) { $0.at = RequestSignatureTests.now.adding(seconds: 301) },
        Change("too early", .time) { $0.at = RequestSignatureTests.now.adding(seconds: -61) },
        Change("label", .malformed) { $0.signature.replace("shop=", with: "other=") },
        Change("signature short", .invalid) { $0.signature = "shop=:AAAA:" },
        Change("signature no bytes", .malformed) { $0.signature = "shop=\"AAAA\"" },
        Change("no dictionary", .malformed) { $0.input = "shop" },
        Change("twice", .malformed) { $0.input += ", again=" + $0.input.dropFirst(5) },
    ]

    @Test("Nothing that is covered can be changed, and nothing is taken late", arguments: changes)
    func changed(change: Change) async throws {
        let key = P256.Signing.PrivateKey()
        var request = Request()
        try request.sign(with: key)
        _ = try await request.verified(by: key)
        change.change(&request)
        let changed = request
        let error = await #expect(throws: RequestSignatureError.self) { try await changed.verified(by: key) }
        #expect(error?.kind == change.kind, "\(String(describing: error))")
    }

    @Test(
        "The authority is signed in lower case and without the port that its scheme has anyway",
        arguments: [
            ("https", "Bank.Example:443", "bank.example"), ("http", "bank.example:80", "bank.example"),
            ("https", "bank.example", "bank.example"), ("https", "bank.example:", "bank.example"),
            ("https", "[::1]:443", "[::1]"), ("https", "bank.example:80", "bank.example:80"),
            ("http", "bank.example:443", "bank.example:443"), ("https", "bank.example:8443", "bank.example:8443"),
            ("http", "bank.example:8080", "bank.example:8080"), ("http", "127.0.0.1:180", "127.0.0.1:180"),
        ])
    func authorities(_ scheme: String, _ authority: String, _ signed: String) async throws {
        let key = P256.Signing.PrivateKey()
        var request = Request()
        (request.scheme, request.authority) = (scheme, signed)
        try request.sign(with: key)
        request.authority = authority
        let kept = try await request.verified(by: key)
        #expect(kept.base.contains("\"@authority\": \(signed)\n"))
    }

    @Test("At both ends of the time that a signature may have it is taken")
    func times() async throws {
        let key = P256.Signing.PrivateKey()
        var request = Request()
        try request.sign(with: key)
        for seconds in [-60, 0, 300] as [Int64] {
            request.at = Self.now.adding(seconds: seconds)
            _ = try await request.verified(by: key)
        }
    }

    @Test(
        "What must be covered is, and what must not be kept is not",
        arguments: [
            #""@authority" "@path" "content-digest" "idempotency-key""#,
            #""@method" "@path" "content-digest" "idempotency-key""#,
            #""@method" "@authority" "content-digest" "idempotency-key""#,
            #""@method" "@authority" "@path" "idempotency-key""#, #""@method" "@authority" "@path" "content-digest""#,
            #"\#(components) "authorization""#, #"\#(components) "cookie""#, #"\#(components) "@target-uri""#,
            #""@method";req "@authority" "@path" "content-digest" "idempotency-key""#, "",
        ])
    func coverage(components: String) async throws {
        let key = P256.Signing.PrivateKey()
        var request = Request()
        request.fields["authorization"] = "Bearer sk_test_secret"
        try request.sign(components, with: key)
        let signed = request
        let error = await #expect(throws: RequestSignatureError.self) { try await signed.verified(by: key) }
        #expect(error?.kind == .coverage)
        #expect(error.map { !"\($0)".contains("sk_test") } == true)
    }

    @Test(
        "Another's key, and a signature for something else, are refused; that of a proxy beside ours is not looked at")
    func others() async throws {
        let (key, other) = (P256.Signing.PrivateKey(), P256.Signing.PrivateKey())
        var request = Request()
        try request.sign(with: other)
        let unknown = request
        var error = await #expect(throws: RequestSignatureError.self) { try await unknown.verified(by: key) }
        #expect(error?.kind == .unknownKey)
        try request.sign(with: other, as: Self.publicKey(key).jwkThumbprint)
        let forged = request
        error = await #expect(throws: RequestSignatureError.self) { try await forged.verified(by: key) }
        #expect(error?.kind == .invalid)
        try request.sign(tag: "another-service", with: key)
        let elsewhere = request
        error = await #expect(throws: RequestSignatureError.self) { try await elsewhere.verified(by: key) }
        #expect(error?.kind == .malformed)
        try request.sign(with: key)
        request.input = #"proxy=("@method");created=1;keyid="p", "# + request.input
        request.signature = "proxy=:AAAA:, " + request.signature
        _ = try await request.verified(by: key)
    }

    @Test(
        "A record that the bank signed is refused where the merchant's signature in it is not right, or about another")
    func records() async throws {
        let key = P256.Signing.PrivateKey()
        var (create, refund) = (Request(), Request(path: "/v1/payments/pay_0123456789ABCDEF/refunds"))
        try create.sign(with: key)
        try refund.sign(with: key)
        let (made, refunded) = (try await create.verified(by: key), try await refund.verified(by: key))
        let base = try SignatureBase(parsing: made.base)
        let forged = MerchantRequest(
            base: base, signature: [UInt8](repeating: 1, count: 64), key: try Self.publicKey(key), receivedAt: Self.now)
        let stolen = MerchantRequest(
            base: base, signature: try #require([UInt8](base64URL: made.signature)),
            key: try Self.publicKey(P256.Signing.PrivateKey()), receivedAt: Self.now)
        let payment = try EvidenceTests.payment()
        func read(_ draft: Evidence.Draft) throws -> Evidence.Statement {
            try OOPAToken.keys().withSessionBlocking { session in
                let own = try session.key(.evidence, 1)
                return try Evidence.read(
                    draft.signed(with: own, in: session), with: try session.provenPublicKey(of: own))
            }
        }
        func record(_ requests: [MerchantRequest]) throws -> Evidence.Draft {
            try Evidence.Draft(
                EvidenceRecord(
                    payment, answer: .approved, requests: requests, verdict: nil, answeredAt: Self.now,
                    decidedAt: Self.now))
        }
        guard case .payment(let right) = try read(record([made])) else { throw Evidence.Refusal(description: "type") }
        #expect(right.requests == [made])
        for wrong in [[forged], [stolen], [refunded], [made, made]] {
            #expect(throws: Evidence.Refusal.self) { try read(record(wrong)) }
        }
        let later = try read(Evidence.Draft(RequestRecord(payment, minorUnits: 5_00, request: refunded)))
        #expect(later == .request(RequestRecord(payment, minorUnits: 5_00, request: refunded)))
        for wrong in [made, forged] {
            #expect(throws: Evidence.Refusal.self) {
                try read(Evidence.Draft(RequestRecord(payment, minorUnits: 5_00, request: wrong)))
            }
        }
    }

    @Test("What others' software signs is taken")
    func differential() async throws {
        guard PythonOracle.isConfigured else { return print(PythonOracle.howToEnable) }
        let key = P256.Signing.PrivateKey()
        let rows = try [
            ("bank.example:8443", "", "/v1/payments"), ("BANK.example", "n-1", "/v1/payments/pay_1/refunds"),
        ].map { authority, nonce, path -> (Request, [String]) in
            var request = Request(path: path)
            request.authority = authority
            let fields = String(decoding: try JSONEncoder().encode(request.fields), as: UTF8.self)
            return (
                request,
                [
                    key.pemRepresentation, "POST", "https://\(authority)\(path)", fields,
                    try Self.publicKey(key).jwkThumbprint, "1800000000", nonce, RequestSignature.tag,
                    Self.components.filter { $0 != "\"" },
                ]
            )
        }
        let answers = try PythonOracle().call("http_sign", rows.map(\.1))
        for (row, answer) in zip(rows, answers) {
            let fields = try JSONDecoder().decode([String: String].self, from: Data(answer.utf8))
            var request = row.0
            request.input = try #require(fields["Signature-Input"])
            request.signature = try #require(fields["Signature"])
            let kept = try await request.verified(by: key)
            try kept.check(about: "pay_1", allowed: [.create, .refund])
        }
    }
}
