import Foundation
import Issuing
import KeyCustody
import Ledger
import OOPA
import PaymentPorts
import PKCS11

/// The bank's real parts behind its ports, as ``Parts`` has the issuer's. Neither opens the other's.
struct BankParts: Sendable {
    let home: StateFolder
    let settings: Settings.BankSettings
    let keys: any KeyStore
    let stores: BankDatabase
    let time = SystemTime()

    /// Opens token and store as `ecard.yaml` says.
    static func open(_ home: StateFolder) throws -> BankParts {
        let settings = try Settings.loadBank(home)
        let keys = try Parts.openKeys(home, settings)
        return BankParts(
            home: home, settings: settings, keys: keys, stores: try database(home, settings, keys, create: false))
    }

    /// The store, its chain sealed by the bank's own audit key.
    static func database(
        _ home: StateFolder, _ settings: Settings.BankSettings, _ keys: any KeyStore, create: Bool
    ) throws -> BankDatabase {
        try BankDatabase(
            path: home.resolve(settings.database), sealer: AuditKeySealer(keys) { BankKey.audit.label($0) },
            create: create)
    }
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
