import ArgumentParser
import Foundation
import KeyCustody
import Ledger
import OOPA
import PKCS11

struct BankCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bank", abstract: "The bank: the gateway between merchants, holders and the issuer.",
        subcommands: [Init.self, PaymentGroup.self, Verify.self, Checkpoint.self])

    struct Init: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a bank beside the issuer: a token of its own with its keys, and its books.",
            discussion: """
                The bank is another party than the issuer: it has its own token, under its own PIN, and none of the \
                issuer's keys. Without options that is a SoftHSM token 'ecard-bank' in the state folder with a random PIN \
                (bank.pin, mode 0600). A second 'bank init' changes nothing.

                With --apart the folder has a bank and no issuer: its issuer is another process, perhaps on another machine \
                (docs/operations.md).

                To use another HSM, name its module and an existing token. Only keys whose labels begin with 'ecard-bank.' \
                are made there. Before the first key what the bank needs is executed in it: a token that lacks something is \
                refused, with the reason, and gets no key.
                """)

        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Option(help: ArgumentHelp("The PKCS#11 module. Default: SoftHSM, where Debian puts it.", valueName: "path"))
        var module: String?
        @Option(help: ArgumentHelp("An existing token: label, serial or pkcs11: URI.", valueName: "token"))
        var token: String?
        @Option(help: ArgumentHelp("The file with the existing token's PIN, mode 0600.", valueName: "file"))
        var pinFile: String?
        @Flag(help: "Make a bank whose issuer runs elsewhere, in a folder without one.") var apart = false

        /// As later commands find it, whatever folder they run in.
        private var modulePath: String {
            module.map { URL(fileURLWithPath: $0).path } ?? PKCS11Module.softHSMPath
        }

        struct Report: Encodable {
            let home: String
            let token: String
            let keysMade: [String]
            let alreadyThere: Bool
        }

        func validate() throws {
            if (token == nil) != (pinFile == nil) { throw ValidationError("--token and --pin-file go together") }
        }

        func run() async throws {
            let home = folder.home
            if apart { try home.take() } else { _ = try Settings.load(home) }
            try await home.exclusively {
                let settings = try found(home)
                let known = settings.bank
                if let known { try refuseOtherChoice(known, home) }
                let bank = try known ?? (token == nil ? ownToken(home) : givenToken())
                let made = try await make(home, bank)
                // Written last: where it is, all was made.
                if known == nil { try Settings(bank: bank).add(to: home) }
                try report(home, bank, made, alreadyThere: known != nil && made.isEmpty)
            }
        }

        /// What is there; apart, nothing need be.
        private func found(_ home: StateFolder) throws -> Settings {
            if apart, !FileManager.default.fileExists(atPath: home.configuration) { return Settings() }
            let settings = try Settings.load(home)
            guard !apart || settings.issuer == nil else {
                throw UsageFailure(
                    "an issuer is in \(home.path) already, and a bank beside it needs no --apart. Name another folder with --home"
                )
            }
            return settings
        }

        private func refuseOtherChoice(_ known: Settings.BankSettings, _ home: StateFolder) throws {
            guard token == nil || token == known.token, module == nil || modulePath == known.module else {
                throw UsageFailure(
                    "the bank in \(home.path) uses \(known.token) of \(known.module). Change it in \(home.configuration)"
                )
            }
        }

        private func ownToken(_ home: StateFolder) throws -> Settings.BankSettings {
            let own = OwnToken(
                home: home, pinFile: home.bankPINFile, books: home.bankDatabase, label: OwnToken.bankLabel)
            let label = try own.make(module: modulePath) { $0 == OwnToken.bankLabel }
            return Settings.BankSettings(
                module: modulePath, token: "pkcs11:token=\(label)", pinFile: "bank.pin", database: "bank.sqlite")
        }

        private func givenToken() throws -> Settings.BankSettings {
            guard let token, let pinFile else {
                throw UsageFailure("an existing token needs --pin-file with its PIN")
            }
            _ = try TokenSelector(token)
            return Settings.BankSettings(
                module: modulePath, token: token, pinFile: URL(fileURLWithPath: pinFile).path, database: "bank.sqlite")
        }

        /// What is missing, made; what is there, left alone. So a killed `bank init` is finished by the next.
        private func make(_ home: StateFolder, _ bank: Settings.BankSettings) async throws -> [String] {
            let keys = try Parts.openKeys(home, bank)
            // Made last: where they are in use, no key may be missing.
            let path = home.resolve(bank.database)
            let hasBooks = try LedgerDatabase.isThere(path)
            let missing = try await keys.withSession { try BankKey.missing(in: $0) }
            var made: [String] = []
            if !missing.isEmpty {
                guard !hasBooks else { throw OwnToken.keysLost(path, missing.map { $0.label(1) }, bank.token) }
                try await TokenFitness(preflight: keys.preflight(), token: keys.name).requireBanking()
                made = try await keys.withSession { try BankKey.createMissing(in: $0) }
            }
            try home.writePatterns()
            try StateFolder.makePrivate(home.outbox)
            try BankParts.database(home, bank, keys, create: true).close()
            return made
        }

        private func report(
            _ home: StateFolder, _ bank: Settings.BankSettings, _ made: [String], alreadyThere: Bool
        ) throws {
            let report = Report(home: home.path, token: bank.token, keysMade: made, alreadyThere: alreadyThere)
            try output.print(report) {
                alreadyThere
                    ? "Bank in \(home.path) is complete; nothing changed."
                    : "Bank ready in \(home.path): \(made.count) keys made inside \(bank.token)."
            }
        }
    }
}
