import ByteCoding
import ECardTesting
import PaymentPorts
import Synchronization
import Testing

@testable import Messaging

@Suite(.ownThread) struct GatewayWatchTests {
    /// Does what it is told with the next message and the next check.
    private final class Gateway: MessageDelivery {
        let delivers = Mutex<DeliveryError?>(nil)
        let answers = Mutex<DeliveryError?>(nil)

        func deliver(_ message: OutgoingMessage) async throws {
            if let error = delivers.withLock({ $0 }) { throw error }
        }
        func check() async throws { if let error = answers.withLock({ $0 }) { throw error } }
    }

    private let gateway = Gateway()
    private let watch: GatewayWatch

    init() {
        watch = GatewayWatch(gateway, channel: .sms, gateway: "kannel") { [gateway] in try await gateway.check() }
    }

    private func send() async {
        try? await watch.deliver(
            OutgoingMessage(kind: .receipt, recipient: "+233201234567", body: "SECRET-BODY", reference: "r"))
    }

    @Test("What a message found stands until a message finds another; what a check found, until a check does")
    func standing() async throws {
        #expect(watch.standing == .up)
        let unreachable = DeliveryError(.unreachable, place: "kannel", reason: "down")
        gateway.answers.withLock { $0 = unreachable }
        await watch.look()
        #expect(watch.standing == .down("\(unreachable)"))
        gateway.answers.withLock { $0 = nil }
        await watch.look()
        #expect(watch.standing == .up)
        // It is there, and lets nobody in.
        let unauthorized = DeliveryError(.unauthorized, place: "kannel", reason: "HTTP status 403")
        gateway.delivers.withLock { $0 = unauthorized }
        await send()
        await watch.look()
        #expect(watch.standing == .down("\(unauthorized)"))
        gateway.delivers.withLock { $0 = nil }
        await send()
        #expect(watch.standing == .up)
        // A message that did not get there, and a check that does.
        gateway.delivers.withLock { $0 = unreachable }
        await send()
        #expect(watch.standing == .down("\(unreachable)"))
        await watch.look()
        #expect(watch.standing == .up)
    }

    @Test("A recipient that does not exist says nothing against the gateway")
    func refused() async throws {
        gateway.delivers.withLock { $0 = DeliveryError(.refused, place: "kannel", reason: "no such number") }
        await send()
        #expect(watch.standing == .up)
    }

    @Test(
        "Host and port of an address",
        arguments: [
            ("http://127.0.0.1:13013/cgi-bin/sendsms", "127.0.0.1", 13013),
            ("https://sms.example.com/x?y", "sms.example.com", 443),
            ("http://[::1]:8080", "::1", 8080), ("http://[::1]/a:1", "::1", 80),
            ("https://a.example:8443", "a.example", 8443),
        ])
    func places(url: String, host: String, port: Int) {
        let place = GatewayHTTP.place(of: url)
        #expect(place.host == host && place.port == port)
    }

    @Test("An SMS gateway that listens is found, and one that does not")
    func connects() async throws {
        let server = try await ScriptedServer()
        let kannel = try KannelSMS(
            username: "u", password: SecretBytes([1]), sender: "ECARD", url: "http://127.0.0.1:\(server.port)/")
        try await kannel.check()
        try await server.close()
        let error = await #expect(throws: DeliveryError.self) { try await kannel.check() }
        #expect(error?.kind == .unreachable)
        #expect(server.received.joined().isEmpty)
    }
}
