import ArgumentParser
import PaymentPorts
import ByteCoding
import Foundation
import Issuing
import KeyCustody
import Ledger
import PKCS11

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Make an issuer: a token with its keys, a ledger, and the default card profile.",
        discussion: """
            Without options everything lives in the state folder: a SoftHSM token with a random PIN (token.pin, mode \
            0600), the ledger, and profiles/classic.yaml. A second 'init' changes nothing.

            To use another HSM, name its module and an existing token. Only keys whose labels begin with 'ecard.' are \
            made there; the token itself is never initialized. Before the first key everything the toolkit needs is \
            executed in it: a token that lacks something is refused, with the reason, and gets no key.
            """)

    @OptionGroup var folder: HomeOptions
    @OptionGroup var output: OutputOptions
    @Option(help: ArgumentHelp("The PKCS#11 module. Default: SoftHSM, where Debian puts it.", valueName: "path"))
    var module: String?
    @Option(help: ArgumentHelp("An existing token: label, serial or pkcs11: URI.", valueName: "token"))
    var token: String?
    @Option(help: ArgumentHelp("The file with the existing token's PIN, mode 0600.", valueName: "file"))
    var pinFile: String?

    /// As later commands find it, whatever folder they run in.
    private var modulePath: String { module.map { URL(fileURLWithPath: $0).path } ?? PKCS11Module.softHSMPath }

    struct Report: Encodable {
        let home: String
        let token: String
        let keysMade: [String]
        let alreadyThere: Bool
    }

    func run() async throws {
        let home = folder.home
        let wasThere = FileManager.default.fileExists(atPath: home.path)
        try home.take()
        // Nothing stays of an issuer that could not be made; a folder with anything in it does.
        defer { if !wasThere { rmdir(home.path) } }
        try await home.exclusively {
            // Written last: where it is, all was made.
            var known = Settings()
            if FileManager.default.fileExists(atPath: home.configuration) { known = try Settings.load(home) }
            guard let settings = known.issuer else {
                let settings = try token == nil ? ownToken(home) : givenToken()
                let made = try await make(home, settings)
                try Settings(issuer: settings).add(to: home)
                return try report(home, settings, made)
            }
            try refuseOtherChoice(home, settings)
            let hadLedger = FileManager.default.fileExists(atPath: home.resolve(settings.ledger))
            let made = try await make(home, settings)
            try report(home, settings, hadLedger && made.keys.isEmpty ? nil : made)
        }
    }

    private func refuseOtherChoice(_ home: StateFolder, _ settings: Settings.IssuerSettings) throws {
        if let token, token != settings.token {
            throw UsageFailure(
                "the issuer in \(home.path) uses \(settings.token), not \(token). Choose another folder with --home")
        }
        if module != nil, modulePath != settings.module {
            throw UsageFailure(
                "the issuer in \(home.path) uses \(settings.module), not \(modulePath). Change it in \(home.configuration)"
            )
        }
    }

    /// A token of our own in the state folder, under a label nobody else has. One that an `init` made before it was
    /// killed is used.
    private func ownToken(_ home: StateFolder) throws -> Settings.IssuerSettings {
        guard pinFile == nil else { throw UsageFailure("--pin-file goes with --token") }
        let own = OwnToken(home: home, pinFile: home.pinFile, books: home.ledger, label: OwnToken.issuerLabel())
        let label = try own.make(module: modulePath) { OwnToken.isIssuers($0) }
        return Settings.IssuerSettings(
            module: modulePath, token: "pkcs11:token=\(label)", pinFile: "token.pin", ledger: "ledger.sqlite")
    }

    private func givenToken() throws -> Settings.IssuerSettings {
        guard let token, let pinFile else {
            throw UsageFailure("an existing token needs --pin-file with its PIN")
        }
        _ = try TokenSelector(token)
        return Settings.IssuerSettings(
            module: modulePath, token: token, pinFile: URL(fileURLWithPath: pinFile).path,
            ledger: "ledger.sqlite")
    }

    /// Everything that may be missing, made; what is there, left alone. So a killed `init` is finished by the next.
    private func make(_ home: StateFolder, _ settings: Settings.IssuerSettings) async throws -> (
        keys: [String], token: String
    ) {
        let keys = try Parts.openKeys(home, settings)
        let ledgerPath = home.resolve(settings.ledger)
        var versions = KeyVersions()
        if try LedgerDatabase.isThere(ledgerPath) {
            let ledger = try LedgerDatabase(path: ledgerPath, sealer: AuditKeySealer(keys), create: false)
            versions = ledger.keyVersionsAtOpening
            try ledger.close()
            let missing = try await keys.withSession { [versions] in try IssuerKey.missing(versions, in: $0) }
                .filter { !$0.key.mayBeLacking($0.version) }.map { $0.key.label($0.version) }
            guard missing.isEmpty else { throw OwnToken.keysLost(ledgerPath, missing, settings.token) }
        }
        // Before the first key: a token that lacks anything gets none.
        try await TokenFitness(preflight: keys.preflight(), token: keys.name).requireIssuing()
        let made = try await keys.withSession { [versions] in try IssuerKey.createMissing(versions, in: $0) }
        let ledger = try LedgerDatabase(path: ledgerPath, sealer: AuditKeySealer(keys), create: true)
        // Keys that ceremonies brought before there was a ledger.
        for transcript in try await keys.withSession({ home.transcripts(in: $0) }) {
            try await transcript.record(in: ledger)
        }
        try ledger.close()
        return try prepareFolders(home, made, keys)
    }

    private func prepareFolders(
        _ home: StateFolder, _ made: [String], _ keys: PKCS11KeyStore
    ) throws -> (keys: [String], token: String) {
        for folder in [home.profiles, home.chips, home.outbox] { try StateFolder.makePrivate(folder) }
        let profile = home.profiles + "/classic.yaml"
        if !FileManager.default.fileExists(atPath: profile) {
            try StateFolder.writePrivate(PackageResources.classic_yaml, to: profile)
        }
        return (made, keys.name)
    }

    private func report(
        _ home: StateFolder, _ settings: Settings.IssuerSettings, _ made: (keys: [String], token: String)?
    ) throws {
        try output.print(
            Report(home: home.path, token: settings.token, keysMade: made?.keys ?? [], alreadyThere: made == nil)
        ) {
            guard let made else { return "Issuer in \(home.path) is complete; nothing changed." }
            return made.keys.isEmpty
                ? "Issuer ready in \(home.path): the keys were inside \(made.token) already."
                : "Issuer ready in \(home.path): \(made.keys.count) keys made inside \(made.token)."
        }
    }
}
