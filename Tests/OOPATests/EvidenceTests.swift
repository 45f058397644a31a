import ByteCoding
import CardData
import Crypto
import ECardTesting
import Foundation
import KeyCustody
import PKCS11
import PaymentPorts
import Testing

@testable import OOPA

/// The signed record of a payment.
@Suite("Evidence") struct EvidenceTests {
    static let prompt = "Pay GHS 25.00 to Ama's \"Shop\" / Kɔfi 🛒? Enter your code, 0 to refuse"

    static func payment(phone: String? = "+233201234567") throws -> OnlinePayment {
        OnlinePayment(
            id: PaymentID(rawValue: "pay_0123456789ABCDEF"), merchant: MerchantID(rawValue: "mer_0123456789ABCDEF"),
            merchantName: "Ama's \"Shop\" / Kɔfi 🛒", isLive: true,
            amount: Money(minorUnits: 25_00, currency: try Currency("GHS")), capturesLater: false, reference: "order 1",
            details: nil, panMasked: "993600******1234",
            route: HolderRoute(
                phone: phone, card: CardID(rawValue: "card_1"), email: "ama@example.org", language: "en",
                profiles: [.plain, .sealed], phoneSince: Timestamp(milliseconds: 0)),
            state: .captured, reason: "approved", step: 4,
            prompt: ShownPrompt(
                text: prompt, channel: "ussd:africastalking", at: Timestamp(milliseconds: 1_800_000_000_123)),
            attempts: 2, sealedCode: nil, profile: .sealed, capturedMinorUnits: 25_00, refundedMinorUnits: 0,
            createdAt: Timestamp(milliseconds: 1_800_000_000_000),
            expiresAt: Timestamp(milliseconds: 1_800_000_300_000),
            dueAt: nil, updatedAt: Timestamp(milliseconds: 1_800_000_009_000))
    }

    static func record(_ payment: OnlinePayment? = nil) throws -> EvidenceRecord {
        EvidenceRecord(
            try payment ?? Self.payment(), answer: .approved,
            verdict: IssuerVerdict(outcome: .approved, responseCode: "00", reason: "approved", triesLeft: nil),
            answeredAt: Timestamp(milliseconds: 1_800_000_008_000),
            decidedAt: Timestamp(milliseconds: 1_800_000_009_000))
    }

    private static func signed(_ record: EvidenceRecord) throws -> (text: String, key: P256PublicKey) {
        try OOPAToken.keys().withSessionBlocking { session in
            let key = try session.key(.evidence, 1)
            return (try Evidence.Draft(record).signed(with: key, in: session), try session.provenPublicKey(of: key))
        }
    }

    @Test("what was signed is read again, word for word")
    func roundTrip() throws {
        let record = try Self.record()
        let (text, key) = try Self.signed(record)
        let read = try Evidence.verify(text, with: key)
        #expect(read == record)
        #expect(read.prompt?.text == Self.prompt)
        #expect(read.phone == "+233…567")
        #expect(read.tries == 2 && read.profile == .sealed && read.responseCode == "00")
        let payload = try #require(text.split(separator: ".").dropFirst().first)
        let json = String(decoding: try #require([UInt8](base64URL: payload)), as: UTF8.self)
        // Names of members in order; nothing of the holder that is nobody's business.
        #expect(
            json.hasPrefix(
                #"{"amount":{"currency":"GHS","minorUnits":2500},"answer":"approved","answeredAt":1800000008000,"#))
        for secret in ["201234", "ama@example.org", "order 1", "card_1"] { #expect(!json.contains(secret)) }
    }

    @Test("a payment that nobody was asked about has evidence too")
    func nobody() throws {
        var payment = try Self.payment(phone: nil)
        payment.prompt = nil
        payment.profile = nil
        let record = EvidenceRecord(
            payment, answer: .unanswered, verdict: nil, answeredAt: Timestamp(milliseconds: 1),
            decidedAt: Timestamp(milliseconds: 1))
        let (text, key) = try Self.signed(record)
        #expect(try Evidence.verify(text, with: key) == record)
    }

    @Test("others' software finds the signature right, and reads the same")
    func differential() throws {
        guard PythonOracle.isConfigured else { return print(PythonOracle.howToEnable) }
        let record = try Self.record()
        let (text, key) = try Self.signed(record)
        let payload = try bytes(try PythonOracle().call("jws", [[key.pem, text]])[0])
        #expect(try JSONDecoder().decode(EvidenceRecord.self, from: Data(payload)) == record)
    }

    @Test("openssl finds the signature right, and a changed text wrong")
    func openSSL() throws {
        let (text, key) = try Self.signed(try Self.record())
        let parts = text.split(separator: ".")
        let signature = try P256.Signing.ECDSASignature(
            rawRepresentation: try #require([UInt8](base64URL: parts[2])))
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        try Data(key.pem.utf8).write(to: URL(fileURLWithPath: folder.file("key")))
        try signature.derRepresentation.write(to: URL(fileURLWithPath: folder.file("signature")))
        for (input, status) in [("\(parts[0]).\(parts[1])", Int32(0)), ("\(parts[0]).\(parts[1])A", 1)] {
            try Data(input.utf8).write(to: URL(fileURLWithPath: folder.file("input")))
            let openssl = TestProcess()
            openssl.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
            openssl.currentDirectoryURL = URL(fileURLWithPath: folder.path)
            openssl.arguments = ["dgst", "-sha256", "-verify", "key", "-signature", "signature", "input"]
            openssl.standardOutput = FileHandle.nullDevice
            openssl.standardError = FileHandle.nullDevice
            try openssl.start()
            openssl.waitUntilExit()
            #expect(openssl.terminationStatus == status)
        }
    }

    @Test("every changed character is noticed")
    func changed() throws {
        let (text, key) = try Self.signed(try Self.record())
        let characters = Array(text)
        for index in characters.indices {
            var other = characters
            other[index] = other[index] == "A" ? "B" : "A"
            #expect(throws: Evidence.Refusal.self, "character \(index)") {
                try Evidence.verify(String(other), with: key)
            }
        }
        for length in stride(from: 0, to: characters.count, by: 17) {
            #expect(throws: Evidence.Refusal.self) { try Evidence.verify(String(characters[..<length]), with: key) }
        }
    }

    @Test("another key, another algorithm, another kind of text: none is evidence")
    func refused() throws {
        let (text, key) = try Self.signed(try Self.record())
        let other = try #require(P256PublicKey(privateKey: SecretBytes([UInt8](repeating: 9, count: 32))))
        #expect(throws: Evidence.Refusal.self) { try Evidence.verify(text, with: other) }
        let payload = try #require(text.split(separator: ".").dropFirst().first)
        let own = P256.Signing.PrivateKey()
        let ownKey = try #require(P256PublicKey(point: Array(own.publicKey.x963Representation)))
        func signed(_ header: String) throws -> String {
            let input = Array(header.utf8).base64URL + "." + payload
            return input + "." + Array(try own.signature(for: Data(input.utf8)).rawRepresentation).base64URL
        }
        let kid = ownKey.jwkThumbprint
        // The first is right: what follows is refused for what it says alone.
        _ = try Evidence.verify(try signed(#"{"alg":"ES256","kid":"\#(kid)","typ":"\#(Evidence.type)"}"#), with: ownKey)
        for header in [
            #"{"alg":"none","kid":"\#(kid)","typ":"\#(Evidence.type)"}"#,
            #"{"alg":"HS256","kid":"\#(kid)","typ":"\#(Evidence.type)"}"#,
            #"{"alg":"ES256","kid":"\#(kid)","typ":"JWT"}"#, #"{"alg":"ES256","kid":"\#(kid)"}"#,
            #"{"alg":"ES256","kid":"\#(key.jwkThumbprint)","typ":"\#(Evidence.type)"}"#,
            #"{"alg":"ES256","kid":"\#(kid)","typ":"\#(Evidence.type)","crit":["b64"],"b64":false}"#, "{}", "[]", "",
        ] {
            #expect(throws: Evidence.Refusal.self, "\(header)") {
                try Evidence.verify(try signed(header), with: ownKey)
            }
        }
    }

    @Test("a key's name is its thumbprint, and its PEM is itself")
    func keys() throws {
        let (_, key) = try Self.signed(try Self.record())
        #expect(P256PublicKey(pem: key.pem) == key)
        #expect(P256PublicKey(pem: "no key") == nil)
        // RFC 7517, A.1, the key "1"; its thumbprint computed with Python after RFC 7638, 3.
        let known = try #require(
            P256PublicKey(
                point: [0x04] + ([UInt8](base64URL: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4") ?? [])
                    + ([UInt8](base64URL: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM") ?? [])))
        #expect(known.jwkThumbprint == "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s")
    }

    @Test(
        "a telephone is shortened to what its holder knows it by",
        arguments: [
            ("+233201234567", "+233…567"), ("+4915112345678", "+491…678"), ("+1234567", "…"), ("", "…"),
        ])
    func phones(_ phone: String, _ shown: String) { #expect(EvidenceRecord.shortened(phone) == shown) }
}
