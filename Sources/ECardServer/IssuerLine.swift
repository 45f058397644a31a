import AsyncHTTPClient
import Foundation
public import Logging
import Metrics
import NIOCore
import NIOHTTP1
public import OOPA

/// The bank's way to an issuer that runs apart: HTTP over mutual TLS, on connections that are kept.
///
/// Whatever goes wrong on it is no answer: nobody can tell what was done. The log has the call and the reason; neither has
/// anything of a message.
public struct IssuerLine: Sendable {
    public struct Settings: Sendable {
        /// Seconds of one call, from its connection to the last byte of its answer.
        public var seconds: Int64 = 10
        /// Calls at once; more wait for their turn in their time.
        public var connections = 64

        public init() {}
    }

    private let client: HTTPClient
    private let base: String
    private let settings: Settings
    private let logger: Logger
    private let unanswered = Counter(label: "ecard_issuer_unanswered")

    /// - Parameter url: `https://HOST:PORT`. The host is where it is; who it is says its certificate.
    /// - Throws: ``ServerError`` for a URL that is none.
    public init(url: String, parties: PartyTLS, settings: Settings = Settings(), logger: Logger) throws {
        guard let parts = URLComponents(string: url), parts.scheme == "https",
            let host = parts.percentEncodedHost, !host.isEmpty, ["", "/"].contains(parts.path), parts.query == nil,
            parts.user == nil, parts.password == nil, parts.fragment == nil
        else {
            throw ServerError("the issuer's URL is none: https://HOST:PORT wanted, without a path")
        }
        let name = Party.issuer.hostname
        base = "https://\(name):\(parts.port ?? 443)"
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: parties.client, redirectConfiguration: .disallow,
            timeout: .init(connect: .seconds(settings.seconds), read: .seconds(settings.seconds)))
        // Asked for, and verified, is the party's name; where it runs may change.
        configuration.dnsOverride[name] = NetworkAddress.text(ofURLHost: host)
        configuration.httpVersion = .http1Only
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = settings.connections
        // Sooner than the issuer, so that no call meets a connection that is being closed.
        configuration.connectionPool.idleTimeout = .seconds(20)
        // Whoever asks tries again: a timer, or the merchant.
        configuration.connectionPool.retryConnectionEstablishment = false
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        self.settings = settings
        self.logger = logger
    }

    /// The issuer at its other end.
    public var issuer: RemoteIssuer { RemoteIssuer { try await send($0, $1) } }

    /// Calls that have begun lose their answers.
    public func close() async { try? await client.shutdown() }

    private func send(_ call: IssuerWire.Call, _ body: [UInt8]) async throws -> IssuerWire.Reply {
        var request = HTTPClientRequest(url: base + call.path)
        request.method = .POST
        request.headers = ["content-type": "application/json", "user-agent": "ecard"]
        request.body = .bytes(body)
        do {
            return try await withDeadline(request)
        } catch {
            if !Task.isCancelled {
                unanswered.increment()
                logger.warning(
                    "the issuer gave no answer", metadata: ["call": "\(call.rawValue)", "reason": "\(error)"])
            }
            throw error
        }
    }

    /// The client's own deadline ends with the answer's head; an answer that drips is none.
    private func withDeadline(_ request: HTTPClientRequest) async throws -> IssuerWire.Reply {
        let (client, seconds) = (client, settings.seconds)
        return try await withThrowingTaskGroup(of: IssuerWire.Reply.self) { group in
            group.addTask {
                let response = try await client.execute(request, deadline: .now() + .seconds(seconds))
                let body = try await response.body.collect(upTo: IssuerWire.longestBody)
                return IssuerWire.Reply(status: Int(response.status.code), body: Array(body.readableBytesView))
            }
            group.addTask {
                try await Task.sleep(for: .seconds(seconds))
                throw ServerError("no answer within \(seconds) s")
            }
            defer { group.cancelAll() }
            guard let reply = try await group.next() else { throw CancellationError() }
            return reply
        }
    }
}
