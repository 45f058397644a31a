import AsyncHTTPClient
public import ByteCoding
import Foundation
import NIOCore
import NIOHTTP1

/// The gateway's half of Africa's Talking's callbacks: what stands between a telephone and `/ussd/africastalking`. For
/// telephones that are no telephones: the handset in the terminal, and tests.
public struct GatewayLine: Sendable {
    public struct Screen: Hashable, Sendable {
        public let text: String
        /// Whether the telephone waits for input.
        public let continues: Bool
    }

    /// Longest answer taken, in bytes.
    private static let answerLimit = 4096
    /// Africa's Talking gives up after ten seconds.
    private static let patience: Int64 = 10

    private let url: String
    private let secret: SecretBytes?

    /// - Parameters:
    ///   - url: of the callback, `http://127.0.0.1:8080/ussd/africastalking`.
    ///   - secret: what the server knows the gateway by.
    /// - Throws: ``GatewayLineError`` for a URL that is no http or https.
    public init(url: String, secret: SecretBytes?) throws {
        guard let parts = URLComponents(string: url), ["http", "https"].contains(parts.scheme), parts.host != nil else {
            throw GatewayLineError("'\(url)' is no http or https address")
        }
        self.url = url
        self.secret = secret
    }

    /// One callback, and what it is answered.
    /// - Parameters:
    ///   - phone: E.164.
    ///   - inputs: everything typed since dialling. An input cannot hold a star: it separates inputs.
    public func send(session: String, phone: String, serviceCode: String, inputs: [SecretBytes]) async throws -> Screen
    {
        var body = Array("sessionId=\(session)&networkCode=99999&phoneNumber=".utf8)
        body += Self.encoded(phone.utf8) + Array("&serviceCode=".utf8) + Self.encoded(serviceCode.utf8)
        body += Array("&text=".utf8)
        for (place, input) in inputs.enumerated() {
            if place > 0 { body.append(UInt8(ascii: "*")) }
            body += input.withBytes { Self.encoded($0) }
        }
        defer { SecretBytes.wipe(&body) }
        return try await post(body)
    }

    private func post(_ body: [UInt8]) async throws -> Screen {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout = .init(connect: .seconds(Self.patience), read: .seconds(Self.patience))
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let result: Result<Screen, any Error>
        do {
            result = .success(try await ask(client, body))
        } catch {
            result = .failure(error)
        }
        try await client.shutdown()
        return try result.get()
    }

    private func ask(_ client: HTTPClient, _ body: [UInt8]) async throws -> Screen {
        var request = HTTPClientRequest(url: url)
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/x-www-form-urlencoded")
        if let secret {
            let text = secret.withBytes { String(decoding: $0, as: UTF8.self) }
            request.headers.add(name: "Authorization", value: "Bearer " + text)
        }
        request.body = .bytes(ByteBuffer(bytes: body))
        let response: HTTPClientResponse
        do {
            response = try await client.execute(request, deadline: .now() + .seconds(Self.patience))
        } catch {
            throw GatewayLineError("nobody answers at \(url): \(error)", advice: "Is 'ecard serve' running there?")
        }
        guard response.status == .ok else {
            throw GatewayLineError(
                "\(url) answered \(response.status.code)",
                advice: response.status.code == 401
                    ? "The secret is missing or another" : "404: the server has no such gateway configured")
        }
        let answer = try await response.body.collect(upTo: Self.answerLimit)
        let text = String(buffer: answer)
        for (mark, continues) in [("CON ", true), ("END ", false)] where text.hasPrefix(mark) {
            return Screen(text: String(text.dropFirst(mark.count)), continues: continues)
        }
        throw GatewayLineError("\(url) answered with neither CON nor END", advice: "Is it a USSD callback?")
    }

    /// Percent-encoded but for letters and digits.
    private static func encoded(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        let hex = Array("0123456789ABCDEF".utf8)
        return bytes.flatMap { byte -> [UInt8] in
            let isPlain =
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte & 0xDF) && byte < 0x80
            return isPlain ? [byte] : [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
        }
    }
}

/// Why a telephone got no screen. It holds nothing that was typed.
public struct GatewayLineError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    init(_ what: String, advice: String = "") { description = what + (advice.isEmpty ? "" : ". \(advice)") }
}
