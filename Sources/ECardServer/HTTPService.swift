import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
public import Logging
import Metrics
import NIOCore
import NIOSSL
public import ServiceLifecycle

/// Something about the server's surroundings is not as it should be: an address, a certificate, a file.
public struct ServerError: Error, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ what: String, advice: String = "") { description = what + (advice.isEmpty ? "" : ". \(advice)") }
}

/// Where a server listens.
public struct ListeningPlace: Sendable {
    /// An address, or `localhost`.
    public let host: String
    /// 0 lets the system choose one.
    public let port: Int
    /// PEM files: the chain, leaf first, and its key.
    public let certificate: (chain: String, key: String)?

    /// - Throws: ``ServerError`` for an address beyond this machine without a certificate.
    public init(host: String, port: Int, certificate: (chain: String, key: String)?) throws {
        guard (0...65_535).contains(port) else { throw ServerError("port \(port) is not 0 to 65535") }
        guard certificate != nil || ListeningPlace.isLoopback(host) else {
            throw ServerError(
                "listening on \(host) needs TLS: card numbers would cross the network in clear",
                advice: "Give --certificate and --key, or listen on 127.0.0.1 behind a proxy that has them")
        }
        self.host = host
        self.port = port
        self.certificate = certificate
    }

    /// Whether only this machine reaches `host`. A name is not looked up: its meaning may change.
    static func isLoopback(_ host: String) -> Bool {
        guard host != "localhost" else { return true }
        return (try? SocketAddress(ipAddress: host, port: 0)).map { NetworkAddress($0).isLoopback } ?? false
    }

    /// `https://0.0.0.0:8443`
    public func url(port: Int) -> String {
        "\(certificate == nil ? "http" : "https")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }

    fileprivate func transport(_ base: HTTPServerBuilder) throws -> HTTPServerBuilder {
        guard let certificate else { return base }
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(certificate.chain).map {
                NIOSSLCertificateSource.certificate($0)
            }
            let key = try NIOSSLPrivateKey(file: certificate.key, format: .pem)
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain, privateKey: .privateKey(key))
            configuration.minimumTLSVersion = .tlsv12
            return try .tls(base, tlsConfiguration: configuration)
        } catch {
            throw ServerError(
                "certificate \(certificate.chain) or its key \(certificate.key) cannot be used",
                advice: "Both must be PEM files that this user may read, the key without a passphrase")
        }
    }
}

/// The HTTP server: routes, and what holds for all of them. Ends gracefully: requests that have begun are answered.
public struct HTTPService: Service, CustomStringConvertible {
    /// What one client may take of it.
    public struct Limits: Sendable {
        /// Seconds a connection may say nothing, and a request's head may take.
        public var idleSeconds: Int64 = 30
        /// Seconds from a request's head to its end.
        public var requestSeconds: Int64 = 10
        public var connections = 4096
        /// Bytes of a body.
        public var body = 16 * 1024

        public init() {}
    }

    public var description: String { "http" }

    private let application: Application<RouterResponder<ServerContext>>

    /// - Parameter onListening: called with the port once connections are taken.
    public init(
        _ place: ListeningPlace, routes: [Route], limits: Limits = Limits(), logger: Logger,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) throws {
        let server = HTTPServerBuilder.http1(
            configuration: .init(
                idleTimeout: .seconds(limits.idleSeconds),
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: 8 * 1024, maxHeaderListSize: 16 * 1024, maxHeaderFieldCount: 64)))
        // The framework's own lines name what it meets on the wire; ours say what was asked and answered.
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        application = Application(
            router: Self.router(routes, limits, logger), server: try place.transport(server),
            configuration: .init(
                address: .hostname(place.host, port: place.port), backlog: 1024,
                availableConnectionsDelegate: MaximumAvailableConnections(limits.connections, logger: quiet)),
            onServerRunning: { channel in await onListening(channel.localAddress?.port ?? place.port) }, logger: quiet)
    }

    public func run() async throws { try await application.run() }

    private static func router(
        _ routes: [Route], _ limits: Limits, _ logger: Logger
    ) -> Router<ServerContext> {
        let router = Router(context: ServerContext.self, options: .autoGenerateHeadEndpoints)
        router.addMiddleware {
            MetricsMiddleware<ServerContext>()
            AccessLog(routine: Set(routes.filter(\.isRoutine).map(\.path)), logger: logger)
            WholeBody(limits: limits)
            Refusals(routes: routes, logger: logger)
        }
        for route in routes { router.on(RouterPath(route.path), method: route.method, use: route.answer) }
        return router
    }
}
