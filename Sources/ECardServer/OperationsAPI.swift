import Hummingbird
public import Logging
import Synchronization

/// What those who run the server look at: is it alive, is it ready, what does it count.
public struct OperationsAPI: Sendable {
    /// A part of the service.
    public struct Part: Sendable {
        public let name: String
        /// Whether the service can do nothing without it. Without a gateway it can: what is to leave waits.
        let isNeeded: Bool
        /// Throws when the part does not answer. The error is for the log; outside its name is told.
        let check: @Sendable () async throws -> Void

        public init(_ name: String, isNeeded: Bool = true, check: @escaping @Sendable () async throws -> Void) {
            self.name = name
            self.isNeeded = isNeeded
            self.check = check
        }
    }

    private let parts: [Part]
    private let metrics: PrometheusMetrics
    private let failures: Failures

    public init(parts: [Part], metrics: PrometheusMetrics, logger: Logger) {
        self.parts = parts
        self.metrics = metrics
        failures = Failures(logger: logger)
    }

    /// What did not answer when it was asked last. The log has each part once when it fails, and once when it is back.
    private final class Failures: Sendable {
        private let failed = Mutex<Set<String>>([])
        private let logger: Logger

        init(logger: Logger) { self.logger = logger }

        func note(_ part: String, _ error: (any Error)?) {
            let isNew = failed.withLock { error == nil ? $0.remove(part) != nil : $0.insert(part).inserted }
            guard isNew else { return }
            if let error {
                logger.error("part failed", metadata: ["part": "\(part)", "error": "\(error)"])
            } else {
                logger.notice("part is back", metadata: ["part": "\(part)"])
            }
        }
    }

    private struct Health: Encodable {
        var status: String
        var parts: [String: String] = [:]
    }

    public var routes: [Route] {
        [
            Route(.get, "/healthz") { _, _ in try Response(.ok, json: Health(status: "ok")) },
            Route(.get, "/readyz") { _, _ in try await readiness() },
            Route(.get, "/metrics") { _, context in
                // What is counted tells how much business there is: it is for whoever is on this machine.
                guard let peer = context.peer, NetworkAddress(peer).isLoopback else {
                    throw APIError.notFound("There is nothing here.")
                }
                return Response(.ok, PrometheusMetrics.contentType, metrics.text().utf8)
            },
        ]
    }

    private func readiness() async throws -> Response {
        var health = Health(status: "ok")
        for part in parts {
            do {
                try await part.check()
                health.parts[part.name] = "ok"
                failures.note(part.name, nil)
            } catch {
                failures.note(part.name, error)
                health.parts[part.name] = "failed"
                if part.isNeeded {
                    health.status = "failed"
                } else if health.status == "ok" {
                    health.status = "degraded"
                }
            }
        }
        return try Response(health.status == "failed" ? .serviceUnavailable : .ok, json: health)
    }
}
