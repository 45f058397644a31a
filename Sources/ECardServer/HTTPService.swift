import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
public import Logging
import Metrics
import NIOCore
public import ServiceLifecycle

/// Something about the server's surroundings is not as it should be: an address, a certificate, a file.
public struct ServerError: Error, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ what: String, advice: String = "") { description = what + (advice.isEmpty ? "" : ". \(advice)") }
}

/// The HTTP server: routes, and what holds for all of them. Ends gracefully: requests that have begun are answered.
public struct HTTPService: Service, CustomStringConvertible {
    /// What one client may take of it.
    public struct Limits: Sendable {
        /// Seconds a connection may say nothing, and a request's head may take.
        public var idleSeconds: Int64 = 30
        /// Seconds from a request's head to its end, and for which an answer may wait to be taken.
        public var requestSeconds: Int64 = 10
        public var connections = 4096
        /// Bytes of a body.
        public var body = 16 * 1024
        /// Bytes of a request's target or one field, and of the whole head; and how many fields there may be.
        static let (field, head, fields) = (8 * 1024, 16 * 1024, 64)

        public init() {}
    }

    public var description: String { "http" }

    private let place: ListeningPlace
    private let application: Application<RouterResponder<ServerContext>>

    /// - Parameter onListening: called with the port once connections are taken.
    public init(
        _ place: ListeningPlace, routes: [Route], limits: Limits = Limits(), logger: Logger,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) throws {
        self.place = place
        let server = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [ConnectionLimits(untakenSeconds: limits.requestSeconds)],
                idleTimeout: .seconds(limits.idleSeconds),
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: Limits.field, maxHeaderListSize: Limits.head,
                    maxHeaderFieldCount: Limits.fields)))
        // The framework's own lines name what it meets on the wire; ours say what was asked and answered.
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        application = Application(
            router: Self.router(routes, limits, scheme: place.scheme, logger), server: try place.transport(server),
            configuration: .init(
                address: .hostname(place.host, port: place.port), backlog: 1024,
                availableConnectionsDelegate: MaximumAvailableConnections(limits.connections, logger: quiet)),
            onServerRunning: { channel in await onListening(channel.localAddress?.port ?? place.port) }, logger: quiet)
    }

    /// - Throws: ``ServerError`` where the address cannot be had.
    public func run() async throws {
        do {
            try await application.run()
        } catch let error as IOError {
            let advice =
                switch error.errnoCode {
                case EADDRINUSE: "Something listens there already: end it, or choose another port"
                case EADDRNOTAVAIL: "This machine has no such address"
                case EACCES: "A port below 1024 needs CAP_NET_BIND_SERVICE: choose another, or put a proxy in front"
                default: ""
                }
            throw ServerError(
                "cannot listen on \(place.url(port: place.port)): \(String(cString: strerror(error.errnoCode)))",
                advice: advice)
        }
    }

    private static func router(
        _ routes: [Route], _ limits: Limits, scheme: String, _ logger: Logger
    ) -> Router<ServerContext> {
        let router = Router(context: ServerContext.self, options: .autoGenerateHeadEndpoints)
        router.addMiddleware {
            LastAnswer()
            MetricsMiddleware<ServerContext>()
            AccessLog(routine: Set(routes.filter(\.isRoutine).map(\.path)), logger: logger)
            WholeBody(limits: limits, scheme: scheme)
            Refusals(routes: routes, logger: logger)
        }
        for route in routes { router.on(RouterPath(route.path), method: route.method, use: route.answer) }
        return router
    }
}
