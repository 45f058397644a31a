@testable import ECardServer
import ECardTesting
import Foundation
import Hummingbird
import Synchronization
import Testing

/// What the server does with what comes over a socket, whatever is asked.
@Suite(.ownThread) struct HTTPServiceTests {
    /// Answers with the number of bytes that it was sent.
    static let echo = [
        Route(.post, "/echo/{name}") { request, _ in
            Response(.ok, "text/plain", "\(try await request.bytes().count)".utf8)
        },
        Route(.get, "/fails") { _, _ -> Response in throw ServerError("the secret reason") },
    ]

    @Test("Pipelined requests are answered in their order")
    func pipelining() async throws {
        try await RunningServer.with(Self.echo) { server in
            let connection = try RawConnection(port: server.port)
            for length in 1...20 {
                connection.write(
                    "POST /echo/a HTTP/1.1\r\nhost: x\r\ncontent-length: \(length)\r\n\r\n"
                        + String(repeating: "x", count: length))
            }
            connection.write("POST /echo/a HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            let text = try #require(await connection.readToEnd())
            let bodies = text.components(separatedBy: "\r\n\r\n").dropFirst().map {
                $0.prefix { $0.isNumber }
            }
            #expect(bodies.map { Int($0) } == (1...20).map { $0 } + [0])
        }
    }

    @Test(
        "What is no HTTP is refused, and the connection ends",
        arguments: [
            ("hello\r\n\r\n", 400), ("GET / HTTP/9.9\r\n\r\n", 505), ("\u{16}\u{03}\u{01}\u{02}\u{00}\u{01}", 400),
            ("POST /echo/a HTTP/1.1\r\nhost: x\r\ncontent-length: ten\r\n\r\n", 400),
            ("POST /echo/a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nxyz", 400),
            ("POST /echo/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
            (
                "POST /echo/a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                400
            ),
            ("GET / HTTP/1.1\r\nhost: x\r\nbroken header\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: x\r\nlong: \(String(repeating: "x", count: 20_000))\r\n\r\n", 431),
            ("GET / HTTP/1.1\r\nhost: x\r\n\(String(repeating: "a: b\r\n", count: 200))\r\n", 431),
            ("GET /\(String(repeating: "x", count: 100_000)) HTTP/1.1\r\nhost: x\r\n\r\n", 431),
        ])
    func malformed(_ text: String, _ status: Int) async throws {
        try await RunningServer.with(Self.echo) { server in
            let connection = try RawConnection(port: server.port)
            connection.write(text)
            let answer = try #require(await connection.readToEnd(), "the connection stays open")
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer.prefix(200))")
            #expect(answer.contains(#"{"error":{"code":"h"#), "\(answer.prefix(300))")
            // Nobody else notices.
            #expect(try await server.send("POST", "/echo/a", "xy").text == "2")
        }
    }

    @Test("Whoever sends a byte at a time loses the connection when the time is over")
    func slow() async throws {
        var limits = HTTPService.Limits()
        limits.requestSeconds = 1
        limits.idleSeconds = 2
        try await RunningServer.with(Self.echo, limits: limits) { server in
            let begun = ContinuousClock.now
            let body = try RawConnection(port: server.port)
            body.write("POST /echo/a HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
            let head = try RawConnection(port: server.port)
            head.write("POST /echo/a HTTP/1.1\r\n")
            let drip = Task {
                while !Task.isCancelled, body.write("x"), head.write("x") {
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
            #expect(await body.readToEnd() == "", "an unfinished request was answered")
            #expect(await head.readToEnd() != nil, "an unfinished head keeps its connection")
            drip.cancel()
            #expect(ContinuousClock.now - begun < .seconds(240))
        }
    }

    @Test("A body that is too long is refused before it is there", arguments: [true, false])
    func tooLong(declared: Bool) async throws {
        try await RunningServer.with(Self.echo) { server in
            let connection = try RawConnection(port: server.port)
            let chunk = String(repeating: "x", count: 4096)
            if declared {
                connection.write("POST /echo/a HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
                for _ in 0..<5 { connection.write(chunk) }
            } else {
                connection.write("POST /echo/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
                for _ in 0..<5 { connection.write("1000\r\n\(chunk)\r\n") }
            }
            let answer = try #require(await connection.readToEnd(), "the connection stays open")
            #expect(answer.hasPrefix("HTTP/1.1 413") && answer.lowercased().contains("connection: close"))
        }
    }

    @Test("A client that asks before it sends its body is told to, or at once that the body is too long")
    func expectations() async throws {
        try await RunningServer.with(Self.echo) { server in
            func begin(_ version: String, length: Int, _ body: String = "") throws -> RawConnection {
                let connection = try RawConnection(port: server.port)
                connection.write(
                    "POST /echo/a HTTP/\(version)\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\n"
                        + "content-length: \(length)\r\n\r\n\(body)")
                return connection
            }
            let polite = try begin("1.1", length: 2)
            #expect(await polite.read(answers: 1) == "HTTP/1.1 100 Continue\r\n\r\n")
            polite.write("xy")
            let answer = try #require(await polite.readToEnd())
            #expect(answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix("\r\n\r\n2"), "\(answer)")
            let rude = try begin("1.1", length: 1_000_000)
            let tooLong = try #require(await rude.readToEnd())
            #expect(tooLong.hasPrefix("HTTP/1.1 413"), "\(tooLong)")
            let old = try begin("1.0", length: 2, "xy")
            let plain = try #require(await old.readToEnd())
            #expect(plain.hasPrefix("HTTP/1.1 200"), "\(plain)")
        }
    }

    /// How often it was asked.
    private final class Asked: Sendable {
        private let count = Mutex(0)
        var times: Int { count.withLock { $0 } }

        var routes: [Route] {
            [
                Route(.post, "/count") { _, _ in
                    self.count.withLock { $0 += 1 }
                    return Response(.ok, "text/plain", "".utf8)
                }
            ]
        }
    }

    @Test(
        "Behind an answer that says that it is the last one nothing is answered, and nothing done",
        arguments: [
            ("POST /count HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 400),
            ("POST /count HTTP/1.1\r\nhost: x\r\nhost: y\r\ncontent-length: 0\r\n\r\n", 400),
            (
                "POST /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501
            ),
            ("POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nConnection: Close\r\n\r\n", 200),
            ("POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: x, CLOSE\r\n\r\n", 200),
            ("POST /count HTTP/1.0\r\ncontent-length: 0\r\n\r\n", 200),
            ("POST /count HTTP/1.0\r\nhost: x\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n", 200),
            ("POST /count HTTP/1.1\r\nhost: x\r\nx: \(String(repeating: "y", count: 8193))\r\n\r\n", 431),
            ("POST /count HTTP/3.1\r\nhost: x\r\n\r\n", 505), ("POST /co\u{1}nt HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        ])
    func lastAnswer(_ request: String, _ status: Int) async throws {
        let asked = Asked()
        try await RunningServer.with(asked.routes) { server in
            let good = "POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
            let connection = try RawConnection(port: server.port)
            connection.write(good + request + String(repeating: good, count: 5))
            let text = try #require(await connection.readToEnd(), "the connection stays open")
            let statuses = text.components(separatedBy: "HTTP/1.1 ").dropFirst().map { $0.prefix(3) }
            #expect(statuses == ["200", "\(status)"], "\(text)")
            #expect(text.lowercased().components(separatedBy: "connection: close").count == 2, "\(text)")
            #expect(asked.times == (status == 200 ? 2 : 1))
            // Nobody else notices.
            #expect(try await server.send("POST", "/count", "").status == 200)
        }
    }

    @Test(
        "A body in a coding that is not undone here is refused",
        arguments: [("gzip", 415), ("br, gzip", 415), ("identity", 200), ("Identity", 200)])
    func contentEncodings(_ coding: String, _ status: Int) async throws {
        try await RunningServer.with(Self.echo) { server in
            let answer = try await server.send("POST", "/echo/a", "xy", headers: ["content-encoding": coding])
            #expect(answer.status == status, "\(answer.text)")
            if status != 200 {
                #expect(answer.code == "content_encoding_unsupported")
                #expect(answer.headers["accept-encoding"] == "identity")
            }
        }
    }

    @Test("Another method is told which are answered; nothing is there elsewhere")
    func methods() async throws {
        try await RunningServer.with(Self.echo) { server in
            let wrong = try await server.send("DELETE", "/echo/a")
            #expect(wrong.status == 405 && wrong.headers["allow"] == "POST" && wrong.code == "method_not_allowed")
            let page = try await server.send("POST", "/fails", "")
            #expect(page.status == 405 && page.headers["allow"] == "GET, HEAD" && page.code == "method_not_allowed")
            let none = try await server.send("GET", "/nothing")
            #expect(none.status == 404 && none.code == "resource_missing")
            #expect(try await server.send("HEAD", "/fails").body.isEmpty)
        }
    }

    @Test("A failure of ours says nothing but a request's name, which the log has with the reason")
    func failure() async throws {
        let log = LogLines()
        try await RunningServer.with(Self.echo, logger: log.logger) { server in
            let answer = try await server.send("GET", "/fails?number=4111111111111111")
            #expect(answer.status == 500 && answer.code == "internal_error" && !answer.text.contains("secret reason"))
        }
        let lines = log.all
        #expect(lines.contains { $0.contains("the secret reason") })
        #expect(lines.contains { $0.contains("/fails") })
        #expect(!lines.joined().contains("4111"))
    }

    @Test(
        "Off this machine there must be TLS",
        arguments: [
            ("0.0.0.0", false), ("::", false), ("192.168.1.4", false), ("example.org", false), ("127.0.0.1", true),
            ("127.8.8.8", true), ("::1", true), ("localhost", true), ("::ffff:127.0.0.1", true),
        ])
    func loopback(_ host: String, _ isAllowed: Bool) {
        #expect(((try? ListeningPlace(host: host, port: 0, certificate: nil)) != nil) == isAllowed)
        #expect((try? ListeningPlace(host: host, port: 0, certificate: ("chain", "key"))) != nil)
        #expect((try? ListeningPlace(host: host, port: 65_536, certificate: ("chain", "key"))) == nil)
    }
}
