import ByteCoding
import CardData
import ECardTesting
import Foundation
import OOPA
import PaymentPorts
import Synchronization
import Testing

@Suite("Bank and issuer apart") struct IssuerWireTests {
    private static func remote(_ desk: IssuerDesk) -> RemoteIssuer {
        let end = IssuerWireDesk(desk)
        return RemoteIssuer { await end.answer($0, $1) }
    }

    @Test("Every call means the same over the wire")
    func same() async throws {
        let bench = try await IssuerBench()
        let issuer = Self.remote(bench.desk)
        #expect(try await issuer.sealingKeys() == bench.desk.sealingKeys())
        let inquiry = try bench.inquiry(later: true)
        #expect(try await issuer.checkFunds(inquiry) == bench.desk.checkFunds(inquiry))
        let attempt = try await bench.attempt(of: inquiry)
        #expect(try await issuer.authorize(attempt).outcome == .approved)
        #expect(try await issuer.authorize(attempt) == bench.desk.authorize(attempt))
        #expect(try await issuer.capture(inquiry.payment, minorUnits: nil).state == .captured)
        #expect(try await issuer.refund(inquiry.payment, minorUnits: 1_00, key: "r").refundedMinorUnits == 1_00)
        #expect(try await issuer.inquire(inquiry.payment) == bench.desk.inquire(inquiry.payment))
        #expect(try await issuer.reverse(inquiry.payment, reason: "a test").state == .reversed)
        #expect(try await issuer.cards(ofPhone: IssuerBench.phone) == bench.desk.cards(ofPhone: IssuerBench.phone))
        try await issuer.setLanguage("fr", ofPhone: IssuerBench.phone)
        try await issuer.block(bench.card.id, fromPhone: IssuerBench.phone)
        #expect(try await bench.desk.cards(ofPhone: IssuerBench.phone).map(\.isActive) == [false])
        await expectRefused { try await issuer.refund(.random(), minorUnits: 1, key: "r") }
        await expectRefused { try await issuer.block(bench.card.id, fromPhone: "+233209999999") }
        try await bench.expectVerified()
    }

    static let garbage: [[UInt8]] = [
        [], Array("{}".utf8), Array("[]".utf8), Array("null".utf8), [0xFF, 0xFE], Array(#"{"payment":"#.utf8),
        Array(#"{"payment":1,"attempt":"x"}"#.utf8), Array(repeating: UInt8(ascii: "["), count: 70_000),
        Array(repeating: UInt8(ascii: "["), count: 60_000),
        Array(
            #"""
            {"payment":"pay_1","pan":"4111111111111112","expiry":"3001","minorUnits":1,"currency":"GHS","merchant":"mer_1","merchantName":"M","capturesLater":false,"expiresAt":{"milliseconds":1}}
            """#.utf8),
    ]

    @Test("A message that is none is refused, and not repeated in the answer", arguments: garbage)
    func refuses(_ body: [UInt8]) async throws {
        let bench = try await IssuerBench()
        let end = IssuerWireDesk(bench.desk)
        for call in IssuerWire.Call.allCases where call != .sealingKeys {
            let reply = await end.answer(call, body)
            #expect(reply.status == 409, "\(call)")
            #expect(!String(decoding: reply.body, as: UTF8.self).contains("4111"))
        }
        try await bench.expectVerified()
    }

    @Test("A message with a member that its call does not know is refused before anybody is asked")
    func strict() async throws {
        let bench = try await IssuerBench()
        let end = IssuerWireDesk(bench.desk)
        let payment = PaymentID.random()
        for (call, body) in [
            (IssuerWire.Call.inquire, #"{"payment":"\#(payment)","minorUnits":1}"#), (.sealingKeys, #"{"id":1}"#),
            (.capture, #"{"payment":"\#(payment)","amount":5}"#), (.cards, #"{"phone":"+233201234567","cvv":"123"}"#),
        ] {
            let reply = await end.answer(call, Array(body.utf8))
            #expect(reply.status == 409 && String(decoding: reply.body, as: UTF8.self).contains("member"), "\(call)")
        }
        #expect(await end.answer(.inquire, Array(#"{"payment":"\#(payment)"}"#.utf8)).status == 200)
    }

    @Test("Byte strings travel as base64, times as milliseconds")
    func form() async throws {
        let bench = try await IssuerBench()
        let attempt = try await bench.attempt(of: bench.inquiry())
        let sent = Mutex("")
        let issuer = RemoteIssuer { _, body in
            sent.withLock { $0 = String(decoding: body, as: UTF8.self) }
            return IssuerWire.Reply(status: 500, body: [])
        }
        _ = try? await issuer.authorize(attempt)
        let text = sent.withLock { $0 }
        #expect(text.contains(#""sealedCode":"\#(Data(attempt.sealedCode).base64EncodedString())""#), "\(text)")
        #expect(text.contains(#""expiresAt":\#(attempt.expiresAt.milliseconds)"#), "\(text)")
    }

    @Test("No answer, and what is none, leave the outcome in doubt")
    func doubt() async throws {
        struct Broken: Error {}
        for reply in [
            nil, IssuerWire.Reply(status: 200, body: []), IssuerWire.Reply(status: 200, body: Array("{".utf8)),
            IssuerWire.Reply(status: 404, body: Array("{}".utf8)), IssuerWire.Reply(status: 503, body: []),
        ] {
            let issuer = RemoteIssuer { _, _ in
                guard let reply else { throw Broken() }
                return reply
            }
            await #expect {
                _ = try await issuer.inquire(.random())
            } throws: {
                ($0 as? IssuerServiceError)?.kind == .noAnswer
            }
        }
    }

    @Test("An answer that got lost is asked for again, and nothing moves twice")
    func lost() async throws {
        struct Lost: Error {}
        let bench = try await IssuerBench()
        let end = IssuerWireDesk(bench.desk)
        let losing = Mutex(true)
        let issuer = RemoteIssuer { call, body in
            let reply = await end.answer(call, body)
            if losing.withLock({ lost in
                defer { lost.toggle() }; return lost
            }) {
                throw Lost()
            }
            return reply
        }
        let inquiry = try bench.inquiry()
        await #expect(throws: IssuerServiceError.self) { try await issuer.checkFunds(inquiry) }
        _ = try await issuer.checkFunds(inquiry)
        let attempt = try await bench.attempt(of: inquiry)
        await #expect(throws: IssuerServiceError.self) { try await issuer.authorize(attempt) }
        #expect(try await issuer.authorize(attempt).outcome == .approved)
        #expect(try await bench.funds() == [75_00, 0])
        try await bench.expectVerified()
    }
}
