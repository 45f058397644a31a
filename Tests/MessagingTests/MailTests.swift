import ByteCoding
import ECardTesting
import Foundation
import PaymentPorts
import Testing

@testable import Messaging

private func receipt(
    _ body: String = "Receipt: Kofi Books\nAmount: GHS 12.50\nPayment: pay_1", to recipient: String = "ama@example.com"
) -> OutgoingMessage {
    OutgoingMessage(kind: .receipt, recipient: recipient, body: body, reference: "pay_1-receipt")
}

@Suite struct MailTests {
    private func mail(_ message: OutgoingMessage, name: String = "Bank") -> Mail {
        Mail(
            message, sender: "bank@example.com", senderName: name, at: Timestamp(milliseconds: 1_700_000_000_123))
    }

    @Test(
        "RFC 5322 dates",
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"), (1_700_000_000_123, "Tue, 14 Nov 2023 22:13:20 +0000"),
            (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 +0000"),
        ] as [(Int64, String)])
    func dates(milliseconds: Int64, text: String) {
        #expect(Mail.date(Timestamp(milliseconds: milliseconds)) == text)
    }

    @Test("No text begins a new header", arguments: ["\r\nBcc: x@example.com", "\nBcc: x@example.com", "a\r b\u{0}c"])
    func injection(text: String) {
        let mail = mail(receipt("Subject \(text)"), name: "Bank\(text)")
        for header in mail.headers {
            // The end of a line is there for a continuation alone.
            let lines = header.split(separator: "\r\n", omittingEmptySubsequences: false)
            #expect(lines.dropFirst().allSatisfy { $0.hasPrefix(" ") })
            #expect(!header.replacing("\r\n", with: "").contains { $0.isNewline || $0 == "\0" })
        }
        #expect(mail.headers.count == 6)
    }

    @Test("Encoded words are short and hold whole characters")
    func encodedWords() {
        let text = String(repeating: "Ɛyɛ ɔkwan pa 🙂 ", count: 20)
        let words = Mail.encodedWords(text, after: "Subject").components(separatedBy: "\r\n ")
        #expect(words.count > 5)
        for word in words {
            #expect(word.count <= 75 && word.hasPrefix("=?UTF-8?B?") && word.hasSuffix("?="))
        }
        #expect(Mail.encodedWords("Receipt", after: "Subject") == "Receipt")
        #expect(Mail.encodedWords("=?x", after: "Subject") != "=?x")
    }

    @Test(
        "A line with an encoded word has at most 76 characters, the field's name among them (RFC 2047, 2)",
        arguments: [
            ("Ɛ", true), (String(repeating: "ɔ", count: 60), true), (String(repeating: "🙂", count: 40), true),
            ("Receipt: Kofi Books & Söhne, Makola Market, Accra", true), (String(repeating: "x", count: 200), true),
            (String(repeating: "x", count: 60), false), ("Bank of Kumasi", false),
        ])
    func headerLines(text: String, isEncoded: Bool) throws {
        let mail = mail(receipt(text), name: text)
        let lines = mail.headers.flatMap { $0.components(separatedBy: "\r\n") }.filter { $0.contains("=?") }
        #expect(lines.isEmpty == !isEncoded)
        #expect(lines.allSatisfy { $0.count <= 76 }, "\(lines)")
        let from = try #require(mail.headers.first { $0.hasPrefix("From: ") })
        #expect(from.hasSuffix(" <bank@example.com>"))
    }

    @Test("HTML shows what the text says, and nothing of it is markup")
    func html() {
        let mail = mail(receipt("<script>\nShop: A&B \"x\" <b>\nThank you <3"))
        #expect(mail.html.contains("<h1>&lt;script&gt;</h1>"))
        #expect(mail.html.contains("<td>Shop</td><td><b>A&amp;B &quot;x&quot; &lt;b&gt;</b></td>"))
        #expect(mail.html.contains("<p>Thank you &lt;3</p>"))
        #expect(!mail.html.contains("<script>"))
    }
}

@Suite(.ownThread, .serialized, .enabled(if: MailServer.whyNot == nil, "no aiosmtpd: tools/test installs it"))
struct SMTPTests {
    private let clock = TurnedClock()

    private func gateway(
        _ server: MailServer, _ security: SMTP.Security, password: String = MailServer.password, trustsIt: Bool = true
    ) throws -> SMTP {
        try SMTP(
            server: SMTP.Server(
                host: "127.0.0.1", port: server.port, security: security,
                username: security == .none ? nil : MailServer.username,
                password: security == .none ? nil : SecretBytes(Array(password.utf8)),
                trustFile: trustsIt ? server.trustFile : nil),
            sender: "bank@example.com", senderName: "Bank of Kumasi", clock: clock, timeLimit: .seconds(240))
    }

    @Test(
        "A mail arrives as it was written, as text and as HTML",
        arguments: [(.startTLS, .startTLS), (.tls, .tls), (.none, .none)]
            as [(MailServer.Security, SMTP.Security)],
        [
            "Receipt: Kofi Books\nAmount: GHS 12.50\nPayment: pay_1",
            "Ɛyɛ ɔkwan pa – reçu de \"Chez Ama\" <b>\nMontant: 12,50 €\n.\n..\nFrom here on\n"
                + String(repeating: "x", count: 2000),
        ])
    func arrives(security: (MailServer.Security, SMTP.Security), body: String) async throws {
        let server = try MailServer(security.0)
        try await gateway(server, security.1).deliver(receipt(body))
        let mail = try server.next()
        let subject = body.split(separator: "\n")[0]
        #expect(mail.sender == "bank@example.com")
        #expect(mail.recipients == ["ama@example.com"])
        #expect(mail.values("Subject") == [String(subject)])
        #expect(mail.values("From") == ["Bank of Kumasi <bank@example.com>"])
        #expect(mail.values("To") == ["ama@example.com"] || mail.values("To") == ["<ama@example.com>"])
        #expect(mail.values("Date") == [Mail.date(clock.now())])
        #expect(mail.values("Message-ID") == ["<pay_1-receipt@example.com>"])
        #expect(mail.parts.map { $0[0] } == ["text/plain", "text/html"])
        #expect(mail.parts[0][1].replacing("\r\n", with: "\n") == body + "\n")
        #expect(mail.parts[1][1].contains("<!DOCTYPE html>"))
        #expect(mail.defects == [])
        // RFC 5322, 2.1.1.
        #expect(mail.longestLine <= 998)
    }

    @Test("A server that will not do TLS gets nothing in clear")
    func noTLS() async throws {
        let server = try MailServer(.none)
        let error = await #expect(throws: DeliveryError.self) {
            try await gateway(server, .startTLS).deliver(receipt())
        }
        #expect(error?.kind == .unreachable)
    }

    @Test("A certificate that nobody vouches for is refused", arguments: [MailServer.Security.startTLS, .tls])
    func stranger(security: MailServer.Security) async throws {
        let server = try MailServer(security)
        let gateway = try gateway(server, security == .tls ? .tls : .startTLS, trustsIt: false)
        let error = await #expect(throws: DeliveryError.self) { try await gateway.deliver(receipt()) }
        #expect(error?.kind == .unreachable)
        #expect(error?.mayHaveArrived == false)
    }

    @Test("A wrong password is told, not what it was")
    func wrongPassword() async throws {
        let server = try MailServer(.tls)
        let gateway = try gateway(server, .tls, password: "WRONG-SECRET")
        let error = try #require(await #expect(throws: DeliveryError.self) { try await gateway.deliver(receipt()) })
        #expect(error.kind == .unauthorized)
        #expect(!"\(error)".contains("SECRET"))
    }

    @Test("A check goes as far as the login, and sends nothing", arguments: [MailServer.Security.startTLS, .tls])
    func check(security: MailServer.Security) async throws {
        let server = try MailServer(security)
        let ours: SMTP.Security = security == .tls ? .tls : .startTLS
        try await gateway(server, ours).check()
        let error = await #expect(throws: DeliveryError.self) {
            try await gateway(server, ours, password: "WRONG-SECRET").check()
        }
        #expect(error?.kind == .unauthorized)
        let stranger = await #expect(throws: DeliveryError.self) {
            try await gateway(server, ours, trustsIt: false).check()
        }
        #expect(stranger?.kind == .unreachable)
        try await gateway(server, ours).deliver(receipt())
        #expect(try server.next().values("Subject") == ["Receipt: Kofi Books"])
    }

    @Test(
        "What the server says of a recipient decides whether it is tried again",
        arguments: [("nobody@example.com", .refused), ("full@example.com", .unavailable)]
            as [(String, DeliveryError.Kind)])
    func recipients(recipient: String, kind: DeliveryError.Kind) async throws {
        let server = try MailServer(.none)
        let error = await #expect(throws: DeliveryError.self) {
            try await gateway(server, .none).deliver(receipt(to: recipient))
        }
        #expect(error?.kind == kind)
    }
}

@Suite(.ownThread) struct SMTPFaultTests {
    private func failure(port: Int) async throws -> DeliveryError? {
        let gateway = try SMTP(
            server: SMTP.Server(host: "127.0.0.1", port: UInt16(port), security: .none), sender: "bank@example.com",
            senderName: "Bank", clock: TurnedClock(), timeLimit: .seconds(2))
        return await #expect(throws: DeliveryError.self) { try await gateway.deliver(receipt()) }
    }

    @Test("Mail goes in clear to loopback alone", arguments: ["mail.example.com", "127.0.0.1.example.com", "0.0.0.0"])
    func clear(host: String) {
        #expect(throws: DeliveryError.self) { try SMTP.Server(host: host, port: 25, security: .none) }
        #expect(throws: Never.self) { try SMTP.Server(host: host, port: 587, security: .startTLS) }
    }

    @Test("A host cannot change the address", arguments: ["", "a/b", "a@b", "a b", "a?b", "a#b", "é"])
    func host(host: String) {
        #expect(throws: DeliveryError.self) { try SMTP.Server(host: host, port: 587, security: .tls) }
    }

    @Test("A server that is down, silent or gone before it greets has nothing of the mail")
    func down() async throws {
        let closed = try await ScriptedServer()
        try await closed.close()
        let silent = try await ScriptedServer()
        let gone = try await ScriptedServer(greeting: .end([]))
        let codeless = try await ScriptedServer(greeting: .end(Array("hello\r\n".utf8)))
        for server in [closed, silent, gone, codeless] {
            let error = try #require(try await failure(port: server.port))
            #expect(error.kind == .unreachable, "\(error)")
        }
    }

    @Test(
        "A server that cuts the connection after the mail, with a word that has no code or without one, may have it",
        arguments: ["", "thanks\r\n", "2\r\n", "250"])
    func cut(answer: String) async throws {
        let server = try await ScriptedServer(greeting: .send(Array("220 x\r\n".utf8))) { said in
            let text = String(decoding: said, as: UTF8.self)
            if text.hasSuffix("\r\n.\r\n") { return .end(Array(answer.utf8)) }
            guard text.hasSuffix("\r\n") else { return .wait }
            if text.hasPrefix("DATA") { return .send(Array("354 go\r\n".utf8)) }
            let verbs = ["EHLO", "MAIL", "RCPT", "QUIT"]
            return verbs.contains { text.hasPrefix($0) } ? .send(Array("250 ok\r\n".utf8)) : .wait
        }
        let error = try #require(try await failure(port: server.port))
        #expect(error.kind == .noAnswer, "\(error)")
        #expect(error.mayHaveArrived)
        let said = server.received.map { String(decoding: $0, as: UTF8.self) }.joined()
        #expect(said.hasPrefix("EHLO \(SMTP.ownName)\r\n"))
    }

    @Test(
        "EHLO says the whole name of the machine, or localhost (RFC 5321, 4.1.1.1 and 4.1.2)",
        arguments: [
            ("mail.example.com", true), ("a.b", true), ("1-2.3.Example", true), ("vm", false), ("", false),
            ("10.0.0.1", false), ("a..b", false), (".a.b", false), ("a.b.", false), ("-a.example.com", false),
            ("a-.example.com", false), ("a_b.example.com", false), ("a b.example.com", false),
            ("a.example.com/x", false), ("a.example.com\r\nDATA", false), ("bücher.example", false),
            (String(repeating: "a", count: 64) + ".com", false), (String(repeating: "a.", count: 127) + "com", false),
        ])
    func clientName(machine: String, isSaid: Bool) {
        #expect(SMTP.clientName(machine: machine) == (isSaid ? machine : "localhost"))
    }

    @Test("A greeting that is none is an error, with nothing of the mail sent")
    func garbage() async throws {
        let server = try await ScriptedServer(greeting: .send(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)))
        let error = try #require(try await failure(port: server.port))
        #expect(error.kind == .garbled || error.kind == .unreachable, "\(error)")
        let said = server.received.map { String(decoding: $0, as: UTF8.self) }.joined()
        #expect(!said.contains("MAIL FROM"))
    }
}
