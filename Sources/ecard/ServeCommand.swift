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

            Bank and issuer may run apart, each with its own state folder, and know each other by certificates of 'ecard pki':

              ecard serve --roles issuer --host 10.0.0.2 --port 8443
              ecard serve --roles bank,ussd --issuer https://10.0.0.2:8443

            With --simulator it also serves /phone, a telephone as a web page for trying payments out, which shows prompts, \
            messages and webhooks as they arrive; 'ecard handset' is the same telephone in a terminal. Whoever opens it is any telephone, so it is served on this machine's loopback alone.

            Every option is also a setting. The command line wins over the environment (ECARD_SERVER_PORT), which wins over \
            the section 'server:' of ecard.yaml; docs/operations.md lists all.
            """)

    @OptionGroup var folder: HomeOptions
    @OptionGroup var output: OutputOptions
    @Option(
        help: """
            The parties that this process is: bank,issuer,ussd; bank,issuer; bank,ussd; bank; or issuer. Default: all.
            """)
    var roles: String?
    @Option(help: ArgumentHelp("Where the issuer runs, if not in this process: https://HOST:PORT.", valueName: "url"))
    var issuer: String?
    @Option(
        help: ArgumentHelp(
            "The folder of the certificates by which bank and issuer know each other. Default: 'pki' in the state folder.",
            valueName: "folder"))
    var pki: String?
    @Option(help: "The address to listen on. Default: 127.0.0.1; any other needs a certificate.") var host: String?
    @Option(help: "The port; 0 lets the system choose. Default: 8080.") var port: String?
    @Option(help: ArgumentHelp("The certificate chain, PEM, leaf first.", valueName: "file")) var certificate: String?
    @Option(help: ArgumentHelp("The certificate's key, PEM.", valueName: "file")) var key: String?
    @Option(help: "trace, debug, info, notice, warning, error or critical. Default: info.") var logLevel: String?
    @Option(help: "How log lines are written: text (logfmt), or json. Default: text.") var logForm: String?
    @Flag(help: "Send webhooks also by http and to addresses that are not public, for tests.")
    var allowPrivateWebhooks = false
    @Flag(help: "Serve a telephone as a web page at /phone, for trying payments out; on loopback alone.")
    var simulator = false
    @Option(
        help: ArgumentHelp(
            """
            With --simulator: an outbox besides the own whose messages it shows, that of an issuer that runs apart. May be \
            given several times.
            """, valueName: "folder"))
    var simulatorOutbox: [String] = []

    struct Listening: Encodable {
        let url: String
        let roles: [String]
        /// Only with a simulator.
        @OrNull var phone: String?
    }

    private var flags: [String: String] {
        let outboxes = simulatorOutbox.map(Self.absolute).joined(separator: ",")
        let given = [
            "roles": roles, "issuer": issuer, "pki": pki.map(Self.absolute), "host": host, "port": port,
            "certificate": certificate.map(Self.absolute),
            "key": key.map(Self.absolute), "log-level": logLevel, "log-form": logForm,
            "allow-private-webhooks": allowPrivateWebhooks ? "yes" : nil, "simulator": simulator ? "yes" : nil,
            "simulator-outbox": outboxes.isEmpty ? nil : outboxes,
        ]
        return given.compactMapValues { $0 }
    }

    /// As the caller's folder has it; settings are read in the state folder.
    private static func absolute(_ path: String) -> String { URL(fileURLWithPath: path).path }

    func run() async throws {
        BatchThreads.begin()
        let metrics = PrometheusMetrics(help: ServerMetrics.help)
        // Before anything is made that counts.
        MetricsSystem.bootstrap(metrics)
        let settings = try ServerSettings.load(folder.home, flags: flags)
        LoggingSystem.bootstrap { [form = settings.logForm, level = settings.logLevel] _ in
            StructuredLog(form, level: level)
        }
        let logger = Logger(label: "ecard")
        let server = try await PaymentServer(folder.home, settings, metrics: metrics, logger: logger)
        let isJSON = output.json
        let services = try server.services { port in
            let url = settings.place.url(port: port)
            let facts = Listening(
                url: url, roles: settings.roles.map(\.rawValue).sorted(),
                phone: settings.hasSimulator ? url + "/phone" : nil)
            let guide = settings.hasSimulator ? "\n" + SimulatorGuide.text(url) : ""
            print((isJSON ? try? JSONText.of(facts) : nil) ?? "Listening on \(url)" + guide)
            // A pipe's reader waits for this line.
            fflush(nil)
            ServiceManager.tell(.ready, logger)
        }
        // A file that may not grow (LimitFSIZE) fails the write that it came to, and does not end the process (setrlimit(2)).
        signal(SIGXFSZ, SIG_IGN)
        let group = ServiceGroup(configuration: .init(services: services, logger: logger))
        let signals = EndingSignals.handle { _ in
            ServiceManager.tell(.stopping, logger)
            Task { await group.triggerGracefulShutdown() }
        }
        defer { signals.cancel() }
        do {
            try await group.run()
        } catch {
            await server.close()
            throw error
        }
        await server.close()
    }
}
