import ArgumentParser
import ByteCoding
import CardData
import Issuing
import OOPA
import PaymentPorts

struct MerchantCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merchant", abstract: "The bank's merchants: their identity, their keys, what they are owed.",
        subcommands: [
            Add.self, List.self, Show.self, Verify.self, Suspend.self, Key.self, EndKey.self,
            MerchantSigningKeyCommand.self, MerchantRequireSignaturesCommand.self, Settle.self,
        ])

    struct View: Encodable {
        let id: String
        let name: String
        let registration: String
        @OrNull var country: String?
        let state: String
        @OrNull var verifiedBy: String?
        let signatures: String
        let createdAt: String

        init(_ merchant: Merchant) {
            id = merchant.id.rawValue
            name = merchant.name
            registration = merchant.registration
            country = merchant.country
            state = merchant.state.rawValue
            verifiedBy = merchant.verifiedBy
            signatures = merchant.requiresSignatures ? "required" : "optional"
            createdAt = TimeText.iso(merchant.createdAt.milliseconds)
        }

        var text: String {
            """
            merchant      \(id)
            name          \(name)
            registration  \(registration)\(country.map { " (\($0))" } ?? "")
            state         \(state)\(verifiedBy.map { " by \($0)" } ?? "")
            signatures    \(signatures)
            since         \(createdAt)
            """
        }
    }

    struct KeyView: Encodable {
        let hint: String
        let live: Bool
        let createdAt: String
        @OrNull var endedAt: String?
        /// Only where it was just made, and asked to be shown.
        @OrNull var key: String? = nil

        init(_ key: MerchantKey) {
            hint = key.hint
            live = key.isLive
            createdAt = TimeText.iso(key.createdAt.milliseconds)
            endedAt = key.endedAt.map { TimeText.iso($0.milliseconds) }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register a merchant. It takes test payments until it is verified.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "Its name as in the register of companies: what holders see. 1 to 40 characters.")
        var name: String
        @Option(help: "Its number in that register.") var registration: String
        @Option(
            help: ArgumentHelp(
                "The country of that register: two letters, such as GH (ISO 3166-1). Rules of patterns.yaml look at it.",
                valueName: "code"))
        var country: String?

        func run() async throws {
            for (text, limit, option) in [(name, 40, "--name"), (registration, 40, "--registration")] {
                guard (1...limit).contains(text.unicodeScalars.count), text.isPrintable else {
                    throw UsageFailure("\(option): 1 to \(limit) printable characters wanted, no space at an end")
                }
            }
            if let country, !(country.utf8.count == 2 && country.utf8.allSatisfy { (0x41...0x5A).contains($0) }) {
                throw UsageFailure("--country: two capital letters wanted, such as GH (ISO 3166-1)")
            }
            let bank = try BankParts.open(folder.home)
            let merchant = Merchant(
                id: .random(), name: name, registration: registration, country: country, state: .registered,
                verifiedBy: nil,
                createdAt: bank.time.now())
            try await bank.stores.add(merchant)
            try output.print(View(merchant)) { merchant.id.rawValue }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the merchants, newest last.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var newest: LimitOptions

        func run() async throws {
            let merchants = try await BankParts.open(folder.home).stores.merchants(limit: newest.limit).map(View.init)
            try output.print(merchants) {
                var table = Table("MERCHANT", "NAME", "REGISTRATION", "STATE")
                for merchant in merchants {
                    table.add(merchant.id, merchant.name, merchant.registration, merchant.state)
                }
                return table.text
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a merchant and its keys.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var id: String

        struct Report: Encodable {
            let merchant: View
            let keys: [KeyView]
        }

        func run() async throws {
            let bank = try BankParts.open(folder.home)
            let merchant = try await bank.merchant(id)
            let report = Report(
                merchant: View(merchant), keys: try await bank.stores.keys(of: merchant.id).map(KeyView.init))
            try output.print(report) {
                var table = Table("KEY", "MODE", "SINCE", "ENDED")
                for key in report.keys {
                    table.add(key.hint, key.live ? "live" : "test", key.createdAt, key.endedAt ?? "-")
                }
                return report.merchant.text + (report.keys.isEmpty ? "" : "\n\n" + table.text)
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Record that a merchant's identity was verified.",
            discussion: "From then on it may take real payments, and holders see its registered name.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var id: String
        @Option(help: "Who saw which papers.") var by: String

        func run() async throws {
            try await MerchantCommand.set(.verified, id, by, folder, output)
        }
    }

    struct Suspend: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take no more requests from a merchant. 'merchant verify' lets it back in.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var id: String
        @Option(help: "Who decided it.") var by: String

        func run() async throws {
            try await MerchantCommand.set(.suspended, id, by, folder, output)
        }
    }

    private static func set(
        _ state: Merchant.State, _ id: String, _ person: String, _ folder: HomeOptions, _ output: OutputOptions
    ) async throws {
        guard (1...80).contains(person.unicodeScalars.count), person.isPrintable else {
            throw UsageFailure("--by: 1 to 80 printable characters wanted")
        }
        let bank = try BankParts.open(folder.home)
        let merchant = try await bank.merchant(id)
        try await bank.stores.setState(state, of: merchant.id, by: person, at: bank.time.now())
        try output.print(Done(id: id, state: state.rawValue)) { "Merchant \(merchant.name) is \(state.rawValue)." }
    }

    struct Key: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an API key for a merchant. It is shown once, and only a digest of it is kept.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var mode: ModeOptions
        @Argument(help: "The merchant's identifier.") var id: String
        @Option(help: ArgumentHelp("Write the key to this open descriptor instead of showing it.", valueName: "fd"))
        var keyFd: Int32?

        func run() async throws {
            let descriptor = try keyFd.map { try SecretOutput(descriptor: $0, option: "--key-fd") }
            let bank = try BankParts.open(folder.home)
            let merchant = try await bank.merchant(id)
            let key = MerchantSecretKey(isLive: mode.live)
            let now = bank.time.now()
            try await bank.stores.addKey(
                key.digest, hint: key.hint, of: merchant.id, isLive: mode.live, at: now)
            var view = KeyView(MerchantKey(hint: key.hint, isLive: mode.live, createdAt: now, endedAt: nil))
            if let descriptor {
                try descriptor.write(
                    key.text.exposedCopy(), advice: "Nobody has the key: run 'ecard merchant end-key \(id) \(key.hint)'"
                )
            } else {
                view.key = key.text.exposedText
            }
            try output.print(view) { view.key ?? "Key \(view.hint) made." }
        }
    }

    struct EndKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End an API key. Requests with it are refused at once.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var id: String
        @Argument(help: "The key, as 'merchant show' lists it.") var hint: String

        func run() async throws {
            let bank = try BankParts.open(folder.home)
            let merchant = try await bank.merchant(id)
            try await bank.stores.endKey(hint: hint, of: merchant.id, at: bank.time.now())
            try output.print(Done(id: hint, state: "ended")) { "Key \(hint) has ended." }
        }
    }
}

extension String {
    /// Of characters that the issuer takes in a name (`Unicode.Scalar.isPlain`), without white space at either end.
    var isPrintable: Bool {
        unicodeScalars.allSatisfy(\.isPlain) && first?.isWhitespace == false && last?.isWhitespace == false
    }
}
