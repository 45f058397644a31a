import ArgumentParser
import ECardServer
import Foundation
import Logging
import Metrics
import ServiceLifecycle

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve merchants and telephones over HTTP until SIGTERM or SIGINT: the payment without a CVV.",
        discussion: """
            Opens the issuer and the bank of the state folder ('ecard init', 'ecard bank init') and answers the merchants' \
            API under /v1 (described at /openapi.yaml), the telephone gateways that are configured under /ussd, and \
            /healthz, /readyz and /metrics. Messages and webhooks leave from here, too. A signal ends it when the requests \
            that have begun are answered.

            Every option is also a setting. The command line wins over the environment (ECARD_SERVER_PORT), which wins over \
            the section 'server:' of ecard.yaml; docs/operations.md lists all.
            """)

    @OptionGroup var folder: HomeOptions
    @OptionGroup var output: OutputOptions
    @Option(help: "The parties that this process is, some of bank, issuer, ussd. Default: all.") var roles: String?
    @Option(help: "The address to listen on. Default: 127.0.0.1; any other needs a certificate.") var host: String?
    @Option(help: "The port; 0 lets the system choose. Default: 8080.") var port: String?
    @Option(help: ArgumentHelp("The certificate chain, PEM, leaf first.", valueName: "file")) var certificate: String?
    @Option(help: ArgumentHelp("The certificate's key, PEM.", valueName: "file")) var key: String?
    @Option(help: "trace, debug, info, notice, warning, error or critical. Default: info.") var logLevel: String?
    @Flag(help: "Send webhooks also by http and to addresses that are not public, for tests.")
    var allowPrivateWebhooks = false

    struct Listening: Encodable {
        let url: String
        let roles: [String]
    }

    private var flags: [String: String] {
        let given = [
            "roles": roles, "host": host, "port": port, "certificate": certificate.map(Self.absolute),
            "key": key.map(Self.absolute), "log-level": logLevel,
            "allow-private-webhooks": allowPrivateWebhooks ? "yes" : nil,
        ]
        return given.compactMapValues { $0 }
    }

    /// As the caller's folder has it; settings are read in the state folder.
    private static func absolute(_ path: String) -> String { URL(fileURLWithPath: path).path }

    func run() async throws {
        let settings = try ServerSettings.load(folder.home, flags: flags)
        let level = settings.logLevel
        LoggingSystem.bootstrap { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = level
            return handler
        }
        let metrics = PrometheusMetrics()
        MetricsSystem.bootstrap(metrics)
        let logger = Logger(label: "ecard")
        let server = try await PaymentServer(folder.home, settings, metrics: metrics, logger: logger)
        let isJSON = output.json
        let services = try server.services { port in
            let url = settings.place.url(port: port)
            let facts = Listening(url: url, roles: settings.roles.map(\.rawValue).sorted())
            print((isJSON ? try? JSONText.of(facts) : nil) ?? "Listening on \(url)")
            // A pipe's reader waits for this line.
            fflush(nil)
        }
        // A file that may not grow (LimitFSIZE) fails the write that it came to, and does not end the process (setrlimit(2)).
        signal(SIGXFSZ, SIG_IGN)
        let group = ServiceGroup(configuration: .init(services: services, logger: logger))
        let signals = EndingSignals.handle { _ in Task { await group.triggerGracefulShutdown() } }
        defer { signals.cancel() }
        try await group.run()
    }
}
