import ByteCoding
import Crypto
import Foundation
import KeyCustody
import Testing

@testable import OOPA

/// Signature bases of RFC 9421, appendix B: what they are made of, and the signatures over them.
@Suite("Signature bases") struct SignatureBaseTests {
    struct Vector: Sendable, CustomTestStringConvertible {
        let section: String
        let parameters: String
        let lines: [String]
        var testDescription: String { section }
        var base: String { (lines + ["\"@signature-params\": \(parameters)"]).joined(separator: "\n") }
    }

    private static let digest =
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"

    static let vectors = [
        Vector(
            section: "B.2.1",
            parameters: #"();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
            lines: []),
        Vector(
            section: "B.2.2",
            parameters:
                #"("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
            lines: [
                #""@authority": example.com"#, #""content-digest": \#(digest)"#, #""@query-param";name="Pet": dog"#,
            ]),
        Vector(
            section: "B.2.3",
            parameters:
                #"("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
            lines: [
                #""date": Tue, 20 Apr 2021 02:07:55 GMT"#, #""@method": POST"#, #""@path": /foo"#,
                #""@query": ?param=Value&Pet=dog"#, #""@authority": example.com"#,
                #""content-type": application/json"#, #""content-digest": \#(digest)"#, #""content-length": 18"#,
            ]),
        ecdsa, ed25519,
    ]
    static let ecdsa = Vector(
        section: "B.2.4",
        parameters:
            #"("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#,
        lines: [
            #""@status": 200"#, #""content-type": application/json"#,
            #""content-digest": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:"#,
            #""content-length": 23"#,
        ])
    static let ed25519 = Vector(
        section: "B.2.6",
        parameters:
            #"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
        lines: [
            #""date": Tue, 20 Apr 2021 02:07:55 GMT"#, #""@method": POST"#, #""@path": /foo"#,
            #""@authority": example.com"#, #""content-type": application/json"#, #""content-length": 18"#,
        ])

    /// The request of RFC 9421, B.2, and of B.2.4 the response.
    private static func made(_ vector: Vector) throws -> SignatureBase {
        let request = RequestSignature.Message(
            method: "POST", scheme: "https", authority: "Example.com", path: "/foo", query: "param=Value&Pet=dog",
            fields: [
                "date": "Tue, 20 Apr 2021 02:07:55 GMT", "content-type": "application/json", "content-digest": digest,
                "content-length": "18",
            ], body: Array(#"{"hello": "world"}"#.utf8), changes: true)
        return try SignatureBase(SignatureParameters(parsing: vector.parameters)) { component in
            switch component {
            case #""@query-param";name="Pet""#: "dog"
            case #""@status""#: "200"
            case #""content-length""# where vector.section == "B.2.4": "23"
            case #""content-digest""# where vector.section == "B.2.4":
                vector.lines[2].split(separator: " ").last.map(String.init)
            default: request.value(of: component)
            }
        }
    }

    @Test("They are those of RFC 9421, B.2, and are read as they are written", arguments: vectors)
    func construction(vector: Vector) throws {
        let base = try Self.made(vector)
        #expect(base.text == vector.base)
        #expect(base.parameters.created == 1_618_884_473)
        #expect(try SignatureBase(parsing: vector.base) == base)
    }

    @Test("The ECDSA signature of B.2.4 and the Ed25519 signature of B.2.6 are over them")
    func signatures() throws {
        let ecc = try #require(
            P256PublicKey(
                pem: """
                    -----BEGIN PUBLIC KEY-----
                    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
                    w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
                    -----END PUBLIC KEY-----
                    """))
        let b24 = try #require(
            Data(
                base64Encoded:
                    "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw=="))
        let base = Array(try Self.made(Self.ecdsa).text.utf8)
        #expect(ecc.verifies(Array(b24), of: base))
        #expect(!ecc.verifies(Array(b24), of: base + [0x0A]))
        let edwards = try Curve25519.Signing.PublicKey(
            rawRepresentation: try #require(Data(base64Encoded: "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=")))
        let b26 = try #require(
            Data(
                base64Encoded:
                    "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="))
        #expect(edwards.isValidSignature(b26, for: Data(try Self.made(Self.ed25519).text.utf8)))
    }

    @Test(
        "What is no parameters is refused",
        arguments: [
            "", "x", "(", #"("a" "a")"#, "(a)", #"("a");created="1""#, #"("a");created=1.5"#, #"("a");created=@1"#,
            #"("a");keyid=1"#, #"("a");colour="red""#, #"("a"),("b")"#, #"("a\u{e9}")"#, #"("a") x"#,
        ])
    func refusedParameters(text: String) {
        #expect(throws: RequestSignatureError.self) { try SignatureParameters(parsing: text) }
    }

    @Test("White space that RFC 9651 lets stand is written as it has to be")
    func canonical() throws {
        let parameters = try SignatureParameters(parsing: #"(  "@method"   "@path" );  created=1;keyid="k" "#)
        #expect(parameters.text == #"("@method" "@path");created=1;keyid="k""#)
    }

    @Test(
        "What is no base is refused",
        arguments: [
            "", "\n", #""@signature-params": "#, #""@signature-params": ("a")"#, "\"a\": 1\n\"@signature-params\": ()",
            "\"b\": 1\n\"@signature-params\": (\"a\")", "\"a\": 1\r\n\"@signature-params\": (\"a\")",
            "\"a\": é\n\"@signature-params\": (\"a\")", "\"a\": 1\n\"@signature-params\": ( \"a\")",
            "\"a\":1\n\"@signature-params\": (\"a\")", "\"a\": 1\n\"@signature-params\": (\"a\")\n",
        ])
    func refusedBases(text: String) {
        #expect(throws: RequestSignatureError.self) { try SignatureBase(parsing: text) }
    }
}
