import ArgumentParser
import ECardServer
import Foundation
import Issuing
import KeyCustody
import Ledger
import Logging
import OOPA
import PaymentPorts
import PKCS11

/// The bank's real parts behind its ports, as ``Parts`` has the issuer's. Neither opens the other's.
struct BankParts: Sendable {
    let home: StateFolder
    let settings: Settings.BankSettings
    let keys: any KeyStore
    let stores: any BankStores
    let policy: BankPolicy
    let time = SystemTime()

    /// Opens token and store as `ecard.yaml` says.
    /// - Parameter onStep: told of each step of a payment that this process makes durable.
    static func open(
        _ home: StateFolder,
        onStep: @escaping @Sendable (PaymentID, OnlinePayment.State, PaymentRole) -> Void = { _, _, _ in }
    ) throws -> BankParts {
        let settings = try Settings.loadBank(home)
        let keys = try Parts.openKeys(home, settings)
        return BankParts(
            home: home, settings: settings, keys: keys,
            stores: try database(home, settings, keys, create: false, onStep: onStep), policy: try home.bankPolicy())
    }

    /// The store, its chain sealed by the bank's own audit key.
    static func database(
        _ home: StateFolder, _ settings: Settings.BankSettings, _ keys: any KeyStore, create: Bool,
        onStep: @escaping @Sendable (PaymentID, OnlinePayment.State, PaymentRole) -> Void = { _, _, _ in }
    ) throws -> BankDatabase {
        try BankDatabase(
            path: home.resolve(settings.database), sealer: AuditKeySealer(keys) { BankKey.audit.label($0) },
            create: create, onStep: onStep)
    }
}

extension BankParts {
    /// The desks' office, before this issuer.
    /// - Parameter gateways: what holders dial, and whether prompts come to them by themselves.
    func office(_ issuer: any IssuerService, _ gateways: GatewaySettings) -> BankOffice {
        var policy = policy
        policy.promptSeconds = gateways.prompts == .no ? nil : GatewaySettings.promptSeconds
        return BankOffice(
            stores: stores, issuer: issuer, keys: keys, time: time, policy: policy,
            messages: BankMessages(serviceCode: gateways.dial))
    }

    /// Runs `body` with the desks' office, before the issuer that the server's settings name, or else the one of the same
    /// state folder.
    func withOffice<Value>(_ body: (BankOffice) async throws -> Value) async throws -> Value {
        let gateways = try ServerSettings.load(home, flags: [:]).messages
        guard let url = try ServerSettings.issuer(home) else {
            return try await body(office(Parts.open(home).desk, gateways))
        }
        let line = try IssuerLine(
            url: url.issuer, parties: url.pki.parties(.bank),
            logger: Logger(label: "ecard") { _ in SwiftLogNoOpLogHandler() })
        do {
            let value = try await body(office(line.issuer, gateways))
            await line.close()
            return value
        } catch {
            await line.close()
            throw error
        }
    }

    func merchant(_ id: String) async throws -> Merchant {
        guard let merchant = try await stores.merchant(MerchantID(rawValue: id)) else {
            throw NotFoundFailure("no merchant '\(id)'. 'ecard merchant list' shows the merchants")
        }
        return merchant
    }
}

extension StateFolder {
    /// What the bank lets through and what it finds unusual.
    var patterns: String { path + "/patterns.yaml" }

    func bankPolicy() throws -> BankPolicy {
        guard let text = try? String(contentsOfFile: patterns, encoding: .utf8) else {
            throw EnvironmentFailure("cannot read \(patterns)", advice: "Run 'ecard bank init', which writes it")
        }
        return try BankPolicy(yaml: text, file: patterns)
    }

    /// Written where it is missing; a bank's own is left alone.
    func writePatterns() throws {
        if FileManager.default.fileExists(atPath: patterns) { return }
        try StateFolder.writePrivate(Array(BankPolicy.standardFile.utf8), to: patterns)
    }
}

/// Live or test: keys, payments and webhooks of the one are not there for the other.
struct ModeOptions: ParsableArguments {
    @Flag(help: "For payments of real money. Default: for test payments.") var live = false
}

extension Settings {
    /// The bank's part.
    static func loadBank(_ home: StateFolder) throws -> BankSettings {
        guard let bank = try load(home).bank else {
            throw EnvironmentFailure("no bank in \(home.path)", advice: "Run 'ecard bank init' first")
        }
        return bank
    }
}
