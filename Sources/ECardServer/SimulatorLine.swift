import AsyncHTTPClient
public import ByteCoding
import Foundation
import NIOCore
import NIOHTTP1
public import PaymentPorts
import Synchronization

/// A telephone's side of `/phone`, without the page: what `ecard handset` speaks to a server with a simulator, by the same
/// secret and the same requests as the page. Both may be the same telephone at once, and see the same payments.
public final class SimulatorLine: Sendable {
    public struct Screen: Hashable, Sendable {
        public let text: String
        /// Whether the telephone waits for input.
        public let continues: Bool
    }

    public struct Message: Decodable, Hashable, Sendable {
        /// `notice`, `receipt` or `code`.
        public let kind: String
        public let reference: String
        public let body: String
    }

    /// What there is for a telephone.
    public struct News: Decodable, Sendable {
        struct Prompt: Decodable {
            let session: String
        }

        /// The newest, the oldest of them first.
        public let messages: [Message]
        let prompts: [Prompt]

        /// Dialogues that the network begins: the identifier to begin each with.
        public var prompted: [String] { prompts.map(\.session) }
    }

    private struct Secret: Decodable {
        let secret: String
    }

    private struct Key: Decodable {
        let key: Int
        let publicKey: String
    }

    private struct Shown: Decodable {
        let `Type`: String
        let Message: String
    }

    private struct Refusal: Decodable {
        struct Reason: Decodable {
            let message: String
        }
        let error: Reason
    }

    /// Longest answer taken, in bytes: fifty messages and fifty webhooks.
    private static let answerLimit = 1 << 20
    /// How long an answer may take, in seconds; gateways give up after ten.
    private static let patience: Int64 = 10

    private let url: String
    private let client: HTTPClient
    /// What the server knows this process by; good for as long as the server runs.
    private let secret = Mutex<String?>(nil)

    /// - Parameter url: of the server, `http://127.0.0.1:8080`. Nothing is asked of it yet.
    /// - Throws: ``SimulatorLineError`` for a URL that is not this machine's loopback: there is no simulator elsewhere.
    public init(url: String) throws {
        guard let parts = URLComponents(string: url), ["http", "https"].contains(parts.scheme), let host = parts.host,
            ["", "/"].contains(parts.path), parts.query == nil
        else { throw SimulatorLineError("'\(url)' is no address of a server, such as http://127.0.0.1:8080") }
        guard ListeningPlace.isLoopback(NetworkAddress.text(ofURLHost: host)) else {
            throw SimulatorLineError(
                "\(url) is not this machine", advice: "A simulator is served on loopback alone: http://127.0.0.1:PORT")
        }
        self.url = parts.path == "/" ? String(url.dropLast()) : url
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout = .init(connect: .seconds(Self.patience), read: .seconds(Self.patience))
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// What is on its way is cut off.
    deinit { client.shutdown { _ in } }

    /// - Parameter phone: E.164. While its news are asked for, the telephone is switched on.
    public func news(of phone: String) async throws -> News {
        try await ask(News.self, "GET", "/phone/news?phone=%2B\(phone.dropFirst())")
    }

    /// The issuer's public keys, the newest first.
    public func keys() async throws -> [CodeSealingKey] {
        try await ask([Key].self, "GET", "/phone/keys").map { key in
            guard let id = UInt8(exactly: key.key), let point = [UInt8](hex: key.publicKey) else {
                throw SimulatorLineError("\(url): the issuer's key \(key.key) is none")
            }
            return CodeSealingKey(id: id, publicKey: point)
        }
    }

    /// One request of a dialogue, and the screen that it is answered.
    /// - Parameters:
    ///   - count: of the requests of this dialogue, this one included. The same count again is the same request.
    ///   - text: what is dialled at the first, typed at the others.
    public func send(session: String, phone: String, count: Int, text: SecretBytes) async throws -> Screen {
        var body = Array(#"{"SessionId":""#.utf8) + Self.escaped(session.utf8)
        body += Array(#"","Mobile":""#.utf8) + Self.escaped(phone.utf8)
        body += Array(#"","Type":"\#(count == 1 ? "initiation" : "response")","Sequence":\#(count),"Message":""#.utf8)
        body += text.withBytes { Self.escaped($0) } + Array(#""}"#.utf8)
        defer { SecretBytes.wipe(&body) }
        let shown = try await ask(Shown.self, "POST", "/phone/ussd", body)
        return Screen(text: shown.Message, continues: shown.Type == "response")
    }

    /// As a JSON string holds it (RFC 8259, 7).
    private static func escaped(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        bytes.flatMap { byte -> [UInt8] in
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): [UInt8(ascii: "\\"), byte]
            case 0..<0x20: Array("\\u00".utf8) + Array([byte].hex.utf8)
            default: [byte]
            }
        }
    }

    private func ask<Answer: Decodable>(
        _ type: Answer.Type, _ method: String, _ path: String, _ body: [UInt8]? = nil
    ) async throws -> Answer {
        let token: String
        if let known = secret.withLock({ $0 }) {
            token = known
        } else {
            token = try await request(Secret.self, "GET", "/phone/secret", nil, nil).secret
            secret.withLock { $0 = token }
        }
        return try await request(type, method, path, body, token)
    }

    private func request<Answer: Decodable>(
        _ type: Answer.Type, _ method: String, _ path: String, _ body: [UInt8]?, _ token: String?
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: url + path)
        request.method = .init(rawValue: method)
        if let token { request.headers.add(name: "Authorization", value: "Bearer " + token) }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        let (status, answer): (HTTPResponseStatus, ByteBuffer)
        do {
            let response = try await client.execute(request, deadline: .now() + .seconds(Self.patience))
            (status, answer) = (response.status, try await response.body.collect(upTo: Self.answerLimit))
        } catch let error as CancellationError {
            throw error
        } catch {
            throw SimulatorLineError(
                "nobody answers at \(url): \(error)", advice: "Is 'ecard serve --simulator' running there?")
        }
        switch status {
        case .ok: break
        case .notFound:
            throw SimulatorLineError("\(url) has no telephones", advice: "Start the server with --simulator")
        case .unauthorized:
            secret.withLock { $0 = nil }
            throw SimulatorLineError("\(url) was started anew", advice: "Try again")
        default:
            let reason = try? JSONDecoder().decode(Refusal.self, from: Data(answer.readableBytesView)).error.message
            throw SimulatorLineError("\(url) answered \(status.code)", advice: reason ?? "")
        }
        guard let value = try? JSONDecoder().decode(type, from: Data(answer.readableBytesView)) else {
            throw SimulatorLineError("\(url) does not answer \(path.prefix { $0 != "?" }) as a simulator")
        }
        return value
    }
}

/// Why a telephone is not served. It holds nothing that was typed.
public struct SimulatorLineError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    init(_ what: String, advice: String = "") { description = what + (advice.isEmpty ? "" : ". \(advice)") }
}
