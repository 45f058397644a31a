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
            Info.self, PreflightCheck.self, Keys.self, Rotate.self, Retire.self, Component.self, Import.self,
            Transcript.self, Speed.self,
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
            return try PKCS11Module.load((try? Settings.loadIssuer(home).module) ?? PKCS11Module.softHSMPath)
        }

        func open(_ home: StateFolder) throws -> PKCS11KeyStore {
            guard let token, let pinFile else {
                if module != nil { throw UsageFailure("--module needs --token and --pin-file") }
                return try Parts.openKeys(home, try Settings.loadIssuer(home))
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
}
