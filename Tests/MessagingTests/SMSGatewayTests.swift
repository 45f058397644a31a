import ByteCoding
import ECardTesting
import Logging
import PaymentPorts
import Testing

@testable import Messaging

private let key = SecretBytes(Array("atsk_SECRET-KEY".utf8))

private func message(_ body: String = "Pay GHS 12.50 to Kofi & Söhne?") -> OutgoingMessage {
    OutgoingMessage(kind: .notice, recipient: "+233201234567", body: body, reference: "pay_1-notice")
}

/// One recipient's entry as the service documents it.
private func taken(_ statusCode: Int, number: String = "+233201234567") -> String {
    """
    {"SMSMessageData":{"Message":"Sent to 1/1 Total Cost: GHS 0.0300","Recipients":[{"statusCode":\(statusCode),\
    "number":"\(number)","status":"Success","cost":"GHS 0.0300","messageId":"ATXid_1"}]}}
    """
}

@Suite(.ownThread) struct AfricasTalkingTests {
    private func failure(_ server: ScriptedServer, limit: Duration = .seconds(240)) async throws -> DeliveryError? {
        let gateway = try AfricasTalkingSMS(
            username: "shop", apiKey: key, url: "http://127.0.0.1:\(server.port)/version1/messaging", timeLimit: limit)
        do {
            try await gateway.deliver(message())
            return nil
        } catch let error as DeliveryError {
            #expect(!"\(error)".contains("SECRET"), "the error tells the key")
            #expect(!"\(error)".contains("12.50"), "the error tells the message")
            return error
        }
    }

    @Test("A message is a form with the key in a header")
    func request() async throws {
        let server = try await ScriptedServer(react: ScriptedServer.http(201, taken(101)))
        #expect(try await failure(server) == nil)
        let request = String(decoding: try #require(server.received.first), as: UTF8.self)
        #expect(request.hasPrefix("POST /version1/messaging HTTP/1.1\r\n"))
        #expect(request.lowercased().contains("\r\napikey: atsk_secret-key\r\n"))
        #expect(
            request.hasSuffix(
                "\r\n\r\nusername=shop&to=%2B233201234567&message=Pay+GHS+12.50+to+Kofi+%26+S%C3%B6hne%3F"))
    }

    @Test(
        "What the service says about a message decides whether it is tried again",
        arguments: [
            (201, taken(100), nil), (201, taken(101), nil), (200, taken(102), nil),
            (201, taken(401), .noAnswer), (201, taken(402), .unavailable), (201, taken(403), .refused),
            (201, taken(404), .refused), (201, taken(405), .unavailable), (201, taken(406), .refused),
            (201, taken(407), .unavailable), (201, taken(409), .refused), (201, taken(500), .noAnswer),
            (201, taken(501), .noAnswer), (201, taken(502), .noAnswer), (201, taken(999), .garbled),
            (201, taken(101, number: "+233000000000"), .garbled),
            (201, #"{"SMSMessageData":{"Message":"InvalidSenderId","Recipients":[]}}"#, .unavailable),
            (201, "The supplied authentication is invalid", .garbled), (201, "", .garbled), (201, "{}", .garbled),
            (401, "", .unauthorized), (403, "", .unauthorized), (400, "Must have required field 'to'", .unavailable),
            (404, "", .unavailable), (408, "", .unavailable), (429, "", .unavailable), (503, "", .unavailable),
            (500, "", .noAnswer), (502, "", .noAnswer), (504, "", .noAnswer), (599, "", .noAnswer), (302, "", .garbled),
        ] as [(Int, String, DeliveryError.Kind?)])
    func answers(status: Int, body: String, kind: DeliveryError.Kind?) async throws {
        let server = try await ScriptedServer(react: ScriptedServer.http(status, body))
        #expect(try await failure(server)?.kind == kind)
    }

    @Test(
        "A code leaves once where the gateway may have taken it, and again where it has not; a receipt leaves again",
        arguments: [(500, 1), (502, 1), (504, 1), (503, 3), (429, 3), (408, 3), (404, 3)] as [(Int, Int)],
        [OutgoingMessage.Kind.code, .receipt])
    func codeOnce(answer: (Int, Int), kind: OutgoingMessage.Kind) async throws {
        let (status, times) = answer
        let server = try await ScriptedServer(react: ScriptedServer.http(status, ""))
        let gateway = try AfricasTalkingSMS(
            username: "shop", apiKey: key, url: "http://127.0.0.1:\(server.port)/version1/messaging",
            timeLimit: .seconds(240))
        let queue = MemoryQueue()
        let clock = TurnedClock()
        await queue.add(OutgoingMessage(kind: kind, recipient: "+233201234567", body: "x", reference: "r"))
        let sender = MessageSender(queue: queue, delivery: gateway, clock: clock, logger: Logger(label: "test"))
        for _ in 1...3 {
            _ = try await sender.sendDue()
            clock.turn(by: .seconds(3600))
        }
        #expect(server.received.count == (kind == .code ? times : 3))
    }

    @Test(
        "What a status says to do (RFC 9110, 15.5 and 15.6)",
        arguments: [(401, "API key"), (404, "URL"), (429, "slower"), (400, "settings"), (504, "open")])
    func advice(status: Int, words: String) async throws {
        let server = try await ScriptedServer(react: ScriptedServer.http(status, ""))
        let error = try #require(try await failure(server))
        #expect("\(error)".contains(words), "\(error)")
        #expect(!error.isFinal)
    }

    @Test("A gateway that is down has nothing of the message")
    func down() async throws {
        let server = try await ScriptedServer()
        try await server.close()
        let error = try #require(try await failure(server))
        #expect(error.kind == .unreachable)
        #expect(!error.mayHaveArrived)
    }

    @Test(
        "A gateway that is slow, cuts the connection or talks nonsense may have the message",
        arguments: Fault.allCases)
    func faults(fault: Fault) async throws {
        let server = try await ScriptedServer { said in
            ScriptedServer.isWholeRequest(said) ? fault.reaction : .wait
        }
        let error = try #require(try await failure(server, limit: .seconds(1)))
        #expect(error.kind == (fault == .floods ? .garbled : .noAnswer), "\(error)")
        #expect(error.mayHaveArrived)
    }

    enum Fault: CaseIterable {
        case saysNothing, cutsAtOnce, cutsInTheHead, cutsInTheBody, drips, isNoHTTPServer, floods

        var reaction: ScriptedServer.Reaction {
            let head = "HTTP/1.1 201 Created\r\nContent-Length: "
            return switch self {
            case .saysNothing: .wait
            case .cutsAtOnce: .end([])
            case .cutsInTheHead: .end(Array("HTTP/1.1 20".utf8))
            case .cutsInTheBody: .end(Array((head + "200\r\n\r\n{\"SMS").utf8))
            case .drips: .send(Array((head + "200\r\n\r\n{").utf8))
            case .isNoHTTPServer: .end([UInt8](repeating: 0xFF, count: 200))
            case .floods:
                .end(Array((head + "1000000\r\n\r\n").utf8) + [UInt8](repeating: 0x20, count: 1_000_000))
            }
        }
    }

    @Test("A redirect is not followed: the key would go where it leads")
    func redirect() async throws {
        let elsewhere = try await ScriptedServer(react: ScriptedServer.http(201, taken(101)))
        let server = try await ScriptedServer { said in
            guard ScriptedServer.isWholeRequest(said) else { return .wait }
            return .end(
                Array(
                    "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:\(elsewhere.port)/\r\nContent-Length: 0\r\n\r\n".utf8)
            )
        }
        #expect(try await failure(server)?.kind == .garbled)
        #expect(elsewhere.received.isEmpty)
    }

    @Test(
        "A key goes in clear to loopback alone",
        arguments: [
            ("https://api.africastalking.com/version1/messaging", true), ("http://127.0.0.1:8080/x", true),
            ("http://[::1]:8080/x", true), ("http://localhost/x", true), ("http://127.0.0.1", true),
            ("http://api.africastalking.com/version1/messaging", false), ("http://127.0.0.1.example.com/", false),
            ("http://localhost@example.com/", false), ("http://localhost:x@example.com/", false),
            ("ftp://localhost/", false),
            ("", false),
        ])
    func protection(url: String, isAllowed: Bool) {
        let gateway = try? AfricasTalkingSMS(username: "shop", apiKey: key, url: url)
        #expect((gateway != nil) == isAllowed)
    }
}

@Suite(.ownThread) struct KannelAnswerTests {
    @Test(
        "Kannel's answers",
        arguments: [
            (202, "0: Accepted for delivery", nil), (202, "3: Queued for later delivery", nil), (202, "", .garbled),
            (202, "1: huh", .garbled), (200, "0: Accepted for delivery", .garbled),
            (403, "Authorization failed for sendsms", .unauthorized), (401, "", .unauthorized),
            (403, "Not routable. Do not try again.", .refused),
            (400, "Number(s) has/have been denied by white- and/or black-lists.", .refused),
            (400, "Sender missing and no global set, rejected", .unavailable),
            (400, "Coding field misformed, rejected", .unavailable), (404, "", .unavailable), (408, "", .unavailable),
            (429, "Not routable. Do not try again.", .unavailable),
            (503, "Temporal failure, try again later.", .unavailable), (500, "", .noAnswer), (502, "", .noAnswer),
            (504, "", .noAnswer), (302, "", .garbled),
        ] as [(Int, String, DeliveryError.Kind?)])
    func answers(status: Int, body: String, kind: DeliveryError.Kind?) {
        var found: DeliveryError.Kind?
        do throws(DeliveryError) {
            try KannelSMS.check(GatewayHTTP.Answer(status: status, body: Array(body.utf8)))
        } catch {
            found = error.kind
        }
        #expect(found == kind)
    }
}

@Suite(.ownThread) struct MessageRouterTests {
    private struct Named: MessageDelivery {
        let name: String
        func deliver(_ message: OutgoingMessage) async throws {
            throw DeliveryError(.unavailable, place: name, reason: "")
        }
    }

    @Test(
        "A recipient says which way its messages go",
        arguments: [
            ("+233201234567", "sms"), ("+1234567", "sms"), ("+123456789012345", "sms"), ("ama@example.com", "mail"),
            ("a.b+c@sub.example.co", "mail"), ("+233@example.com", "mail"),
            ("233201234567", nil), ("+123456", nil), ("+1234567890123456", nil), ("+23320123456x", nil), ("", nil),
            ("+٢٣٣٢٠١٢٣٤", nil), ("ama@example", nil), ("ama@@example.com", nil), ("@example.com", nil),
            ("ama@.com", nil),
            ("ama@example.com\r\nBcc: x@example.com", nil), ("\"a b\"@example.com", nil), ("a b@example.com", nil),
            ("ama@[127.0.0.1]", nil), ("ámá@example.com", nil), ("<ama@example.com>", nil),
            (String(repeating: "a", count: 65) + "@example.com", nil),
        ] as [(String, String?)])
    func routes(recipient: String, way: String?) async throws {
        let router = MessageRouter(sms: Named(name: "sms"), mail: Named(name: "mail"))
        let message = OutgoingMessage(kind: .receipt, recipient: recipient, body: "x", reference: "r")
        let error = await #expect(throws: DeliveryError.self) { try await router.deliver(message) }
        #expect(error?.kind == (way == nil ? .refused : .unavailable))
        if let way { #expect(error?.place == way) }
    }

    @Test("Without a gateway for it a message waits", arguments: ["+233201234567", "ama@example.com"])
    func noGateway(recipient: String) async throws {
        let message = OutgoingMessage(kind: .receipt, recipient: recipient, body: "x", reference: "r")
        let error = await #expect(throws: DeliveryError.self) {
            try await MessageRouter(sms: nil, mail: nil).deliver(message)
        }
        #expect(error?.kind == .noGateway)
        #expect(error?.isFinal == false)
    }
}
