import ByteCoding
import ECardTesting
import Logging
import PaymentPorts
import Testing

@testable import Messaging

/// From our gateway through Debian's Kannel and SMPP to a telephone's message center.
@Suite(
    .ownThread, .serialized,
    .enabled(if: KannelService.whyNot == nil, "Debian's kannel is not installed; tools/test installs it"))
struct KannelTests {
    private func gateway(_ service: KannelService, password: String = KannelService.password) throws -> KannelSMS {
        try KannelSMS(
            username: KannelService.username, password: SecretBytes(Array(password.utf8)), sender: "ECARD",
            url: service.url, timeLimit: .seconds(240))
    }

    private func message(_ body: String, to recipient: String = "+233201234567") -> OutgoingMessage {
        OutgoingMessage(kind: .notice, recipient: recipient, body: body, reference: "r")
    }

    @Test("A text arrives character by character, in the alphabet it needs, in as many parts as it needs")
    func texts() async throws {
        let service = try await KannelService()
        let gateway = try gateway(service)
        let wholeAlphabet = "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ!\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà^{}\\[~]|€"
        let cases: [(text: String, coding: UInt8, parts: Int)] = [
            ("Kofi Books asks GHS 12.50. To pay dial *713*42#", 0, 1),
            (wholeAlphabet, 0, 1),
            (String(repeating: "x", count: 160), 0, 1),
            (String(repeating: "0123456789", count: 17), 0, 2),
            ("Ama, yɛsrɛ wo, tua GHS 12.50. Ɔkwan: *713#", 8, 1),
            ("Reçu : 12,50 € – merci d'être venu 🙂", 8, 1),
            (String(repeating: "ɛ", count: 150), 8, 3),
        ]
        for (text, coding, parts) in cases {
            try await gateway.deliver(message(text))
            let arrived = try await service.center.next()
            #expect(arrived.text == text)
            #expect(arrived.dataCoding == coding, "\(text)")
            #expect(arrived.parts == parts, "\(text)")
            #expect(arrived.destination.hasSuffix("233201234567"))
            #expect(arrived.source == "ECARD")
        }
    }

    @Test("A wrong password is told, not what it was")
    func wrongPassword() async throws {
        let service = try await KannelService()
        let gateway = try gateway(service, password: "WRONG-SECRET")
        let error = try #require(await #expect(throws: DeliveryError.self) { try await gateway.deliver(message("x")) })
        #expect(error.kind == .unauthorized)
        #expect(!"\(error)".contains("SECRET"))
        #expect(service.center.messages.isEmpty)
    }

    @Test("A Kannel that has gone has nothing of the message; when it is back, the sender's next try arrives")
    func gone() async throws {
        let queue = MemoryQueue()
        let clock = TurnedClock()
        await queue.add(message("Receipt"))
        let service = try await KannelService()
        let dead = try gateway(service)
        service.stop()
        let error = try #require(await #expect(throws: DeliveryError.self) { try await dead.deliver(message("x")) })
        #expect(error.kind == .unreachable)

        let first = MessageSender(queue: queue, delivery: dead, clock: clock, logger: .init(label: "test"))
        #expect(try await first.sendDue() == 1)
        #expect(await queue.sent == [])
        let again = try await KannelService()
        clock.turn(by: .seconds(5))
        let second = MessageSender(
            queue: queue, delivery: try gateway(again), clock: clock, logger: .init(label: "test"))
        #expect(try await second.sendDue() == 1)
        #expect(await queue.sent == ["r"])
        #expect(try await again.center.next().text == "Receipt")
    }
}
