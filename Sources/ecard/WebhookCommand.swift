import KeyCustody
import ArgumentParser
import ByteCoding
import ECardServer
import KeyCustody
import OOPA
import PaymentPorts

struct WebhookCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "webhook", abstract: "Where merchants are told what became of payments (Standard Webhooks).",
        subcommands: [Add.self, List.self, Remove.self, Events.self, Resend.self])

    struct View: Encodable {
        let id: String
        let merchant: String
        let live: Bool
        let url: String
        let createdAt: String
        /// Only where it was just made, and asked to be shown.
        @OrNull var secret: String? = nil

        init(_ endpoint: WebhookEndpoint) {
            id = endpoint.id.rawValue
            merchant = endpoint.merchant.rawValue
            live = endpoint.isLive
            url = endpoint.url
            createdAt = TimeText.iso(endpoint.createdAt.milliseconds)
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tell a merchant at a URL. The secret that its signatures are checked with is shown once.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var mode: ModeOptions
        @Argument(help: "The merchant's identifier.") var merchant: String
        @Option(help: "https://host/path, at most 2048 characters.") var url: String
        @Flag(help: "Take http and addresses that are not public, too: for a shop on one's own network.")
        var allowPrivate = false
        @Option(help: ArgumentHelp("Write the secret to this open descriptor instead of showing it.", valueName: "fd"))
        var secretFd: Int32?

        func run() async throws {
            let descriptor = try secretFd.map { try SecretOutput(descriptor: $0, option: "--secret-fd") }
            do { _ = try WebhookTarget(url, allowsPrivate: allowPrivate) } catch {
                throw UsageFailure("--url: \(error)")
            }
            let bank = try BankParts.open(folder.home)
            let id = WebhookEndpointID.random()
            let secret = WebhookSecret.random()
            let endpoint = WebhookEndpoint(
                id: id, merchant: try await bank.merchant(merchant).id, isLive: mode.live, url: url,
                sealedSecret: try await bank.keys.withSession { try WebhookVault.seal(secret, for: id, in: $0) },
                createdAt: bank.time.now())
            try await bank.stores.add(endpoint)
            var view = View(endpoint)
            let text = WebhookSecret.text(secret)
            if let descriptor {
                try descriptor.write(
                    Array(text.utf8), advice: "Nobody has the secret: run 'ecard webhook remove \(merchant) \(id)'")
            } else {
                view.secret = text
            }
            try output.print(view) { view.secret.map { "\(id)\n\($0)" } ?? id.rawValue }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List a merchant's webhook endpoints.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var merchant: String

        func run() async throws {
            let bank = try BankParts.open(folder.home)
            let endpoints = try await bank.stores.endpoints(of: bank.merchant(merchant).id).map(View.init)
            try output.print(endpoints) {
                var table = Table("ENDPOINT", "MODE", "URL", "SINCE")
                for endpoint in endpoints {
                    table.add(endpoint.id, endpoint.live ? "live" : "test", endpoint.url, endpoint.createdAt)
                }
                return table.text
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tell a merchant no more at an endpoint. What waits to be told there is dropped.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var merchant: String
        @Argument(help: "The endpoint's identifier.") var id: String

        func run() async throws {
            let bank = try BankParts.open(folder.home)
            try await bank.stores.remove(
                WebhookEndpointID(rawValue: id), of: bank.merchant(merchant).id, at: bank.time.now())
            try output.print(Done(id: id, state: "removed")) { "Endpoint \(id) is removed." }
        }
    }

    struct EventView: Encodable {
        let id: String
        let endpoint: String
        let type: String
        let payment: String
        let at: String
        let attempts: Int
        /// None when it was given up.
        @OrNull var nextTryAt: String?
        let reason: String

        init(_ undelivered: UndeliveredEvent) {
            let event = undelivered.event
            id = event.id.rawValue
            endpoint = event.endpoint.id.rawValue
            type = event.type
            payment = event.payment.rawValue
            at = TimeText.iso(event.at.milliseconds)
            attempts = event.attempts
            nextTryAt = undelivered.dueAt.map { TimeText.iso($0.milliseconds) }
            reason = undelivered.reason
        }
    }

    struct Events: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List what a merchant's endpoints have not taken: what waits, and what was given up.",
            discussion: "The oldest come first. What has arrived is kept no longer.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var merchant: String
        @Option(help: "At most this many.") var limit = 50

        func validate() throws {
            guard limit > 0 else { throw ValidationError("--limit must be positive") }
        }

        func run() async throws {
            let bank = try BankParts.open(folder.home)
            let events = try await bank.stores.undelivered(of: bank.merchant(merchant).id, limit: limit)
                .map(EventView.init)
            try output.print(events) {
                var table = Table("TYPE", "PAYMENT", "AT", "TRIES", "NEXT", "REASON", "EVENT")
                for event in events {
                    table.add(
                        event.type, event.payment, event.at, "\(event.attempts)", event.nextTryAt ?? "given up",
                        event.reason, event.id)
                }
                return table.text
            }
        }
    }

    struct Resend: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have events leave again at once, with all tries before them.",
            discussion: """
                'ecard serve' sends them. An event keeps its identifier, by which the merchant's server knows one that it has \
                taken after all.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var merchant: String
        @Argument(help: "The events' identifiers, as 'ecard webhook events' lists them.") var events: [String] = []
        @Flag(help: "All that were given up.") var all = false

        func validate() throws {
            guard events.isEmpty == all else { throw ValidationError("Name events, or say --all") }
        }

        func run() async throws {
            let bank = try BankParts.open(folder.home)
            let sent = try await bank.stores.resend(
                all ? nil : events.map(WebhookEventID.init(rawValue:)), of: bank.merchant(merchant).id,
                at: bank.time.now())
            try output.print(sent.map { Done(id: $0.rawValue, state: "due") }) {
                sent.isEmpty
                    ? "No event was given up."
                    : "\(sent.count) \(sent.count == 1 ? "event leaves" : "events leave") with 'ecard serve'."
            }
        }
    }
}
