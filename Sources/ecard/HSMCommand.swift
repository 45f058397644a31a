import ArgumentParser
import ByteCoding
import Foundation
import Issuing
import KeyCustody
import PKCS11

struct HSMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hsm", abstract: "The token: what it is, what it can, what it holds, how fast it is.",
        subcommands: [
            Info.self, PreflightCheck.self, Keys.self, Import.self, Transcript.self, Speed.self,
        ])

    /// A module and a token, if not the state folder's.
    struct TokenOptions: ParsableArguments {
        @Option(help: ArgumentHelp("Another PKCS#11 module than the issuer's.", valueName: "path")) var module: String?
        @Option(help: ArgumentHelp("Another token: label or pkcs11: URI.", valueName: "token")) var token: String?
        @Option(help: ArgumentHelp("The file with that token's PIN, mode 0600.", valueName: "file")) var pinFile:
            String?

        func validate() throws {
            if (token == nil) != (pinFile == nil) { throw ValidationError("--token and --pin-file go together") }
        }

        /// The module alone: no login.
        func loadModule(_ home: StateFolder) throws -> PKCS11Module {
            if let module { return try PKCS11Module.load(module) }
            try home.useOwnSoftHSM()
            return try PKCS11Module.load((try? Settings.load(home).module) ?? PKCS11Module.softHSMPath)
        }

        func open(_ home: StateFolder) throws -> PKCS11KeyStore {
            guard let token, let pinFile else {
                if module != nil { throw UsageFailure("--module needs --token and --pin-file") }
                return try Parts.openKeys(home, try Settings.load(home))
            }
            return try home.oneAtATime {
                try PKCS11KeyStore(module: loadModule(home), token: TokenSelector(token), pin: .file(pinFile))
            }
        }
    }

    struct Info: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The module and its tokens. Needs no PIN.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var options: TokenOptions

        struct Report: Encodable {
            struct Token: Encodable {
                let label: String
                let manufacturer: String
                let model: String
                let serial: String
                let firmware: String
                let flags: String
            }
            let module: String
            let manufacturer: String
            let description: String
            let version: String
            let cryptoki: String
            let tokens: [Token]
        }

        func run() async throws {
            let (module, tokens) = try folder.home.oneAtATime {
                let module = try options.loadModule(folder.home)
                return (module, try module.tokens())
            }
            let report = Report(
                module: module.path, manufacturer: module.info.manufacturer, description: module.info.description,
                version: module.info.version, cryptoki: module.info.cryptokiVersion,
                tokens: tokens.map {
                    .init(
                        label: $0.label, manufacturer: $0.manufacturer, model: $0.model, serial: $0.serial,
                        firmware: $0.firmwareVersion, flags: $0.flags.description)
                })
            try output.print(report) {
                var table = Table("TOKEN", "MODEL", "SERIAL", "FLAGS")
                for token in report.tokens { table.add(token.label, token.model, token.serial, token.flags) }
                return """
                    module    \(report.module)
                    made by   \(report.manufacturer), \(report.description) \(report.version)
                    Cryptoki  \(report.cryptoki)

                    \(table.text)
                    """
            }
        }
    }

    struct Keys: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The issuer's keys: type, use, check value. Never a key.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var options: TokenOptions

        struct Row: Encodable {
            let label: String
            let type: String
            let usage: String
            @OrNull var checkValue: String?
            let purpose: String
            let origin: String
        }

        func run() async throws {
            let store = try options.open(folder.home)
            // The issuer's own token has all of them; what another one has of them, it has.
            let isOther = options.token != nil
            let rows = try await store.withSession { session in
                let present = Set(try session.keys(prefix: IssuerKey.labelPrefix).map(\.label))
                let own = try IssuerKey.allCases.filter { !isOther || present.contains($0.label) }.map { key in
                    try Self.row(key.label, key.purpose, key.checkValueKind, in: session)
                }
                let others = present.subtracting(IssuerKey.allCases.map(\.label)).sorted()
                return own
                    + (try others.compactMap { label in
                        try ImportableKey(label: label).map { key in
                            try Self.row(label, key.purpose, key.isDES ? .desZeros : .aesZeros, in: session)
                        }
                    })
            }
            try output.print(rows) {
                var table = Table("KEY", "TYPE", "MAY", "KCV", "FOR", "FROM")
                for row in rows {
                    table.add(row.label, row.type, row.usage, row.checkValue ?? "-", row.purpose, row.origin)
                }
                return table.text
            }
        }

        private static func row(
            _ label: String, _ purpose: String, _ kind: KeyCheckValueKind?, in session: any KeySession
        ) throws(KeyStoreError) -> Row {
            let handle = try session.key(label)
            let attributes = try session.attributes(of: handle)
            return Row(
                label: label, type: attributes.type.description, usage: attributes.usage.description,
                checkValue: try checkValue(of: handle, kind, in: session), purpose: purpose,
                origin: attributes.local ? "this token" : "elsewhere")
        }

        /// A token that keeps no check value of a key which may only derive has none to show.
        private static func checkValue(
            of handle: KeyHandle, _ kind: KeyCheckValueKind?, in session: any KeySession
        ) throws(KeyStoreError) -> String? {
            guard let kind else { return nil }
            do {
                return try session.checkValue(of: handle, kind).hex
            } catch {
                guard error.kind == .notPermitted else { throw error }
                return nil
            }
        }
    }
}
