import CardData
import Foundation
import Issuing
import KeyCustody
import Ledger
import OOPA
import PaymentPorts
import PKCS11

/// The system's clock.
struct SystemTime: TimeSource {
    func now() -> Timestamp {
        var value = timespec()
        clock_gettime(CLOCK_REALTIME, &value)
        return Timestamp(milliseconds: Int64(value.tv_sec) * 1000 + Int64(value.tv_nsec) / 1_000_000)
    }
}

/// The real parts behind the ports: the only place, with `Init`, that chooses them.
struct Parts: Sendable {
    let home: StateFolder
    let settings: Settings.IssuerSettings
    let keys: any KeyStore
    let ledger: any IssuerStores
    let time = SystemTime()

    /// Opens token and ledger as `ecard.yaml` says.
    static func open(_ home: StateFolder) throws -> Parts {
        let settings = try Settings.loadIssuer(home)
        let keys = try openKeys(home, settings)
        let ledger = try LedgerDatabase(
            path: home.resolve(settings.ledger), sealer: AuditKeySealer(keys), create: false)
        let versions = ledger.keyVersionsAtOpening
        // Copies for the session are made now, not inside the first payment; a key that is missing is told now too.
        try keys.withSessionBlocking { session in
            for key in IssuerKey.allCases {
                for version in versions.live(key) {
                    do {
                        _ = try session.key(key, version)
                    } catch let error as KeyStoreError where error.kind == .keyNotFound {
                        if key.mayBeLacking(version) { continue }
                        throw EnvironmentFailure(
                            "\(error)",
                            advice: "An issuer needs all its keys: 'ecard doctor' says which are missing and why")
                    }
                }
            }
        }
        return Parts(home: home, settings: settings, keys: keys, ledger: ledger)
    }

    /// Opens the token alone.
    static func openKeys(_ home: StateFolder, _ settings: Settings.IssuerSettings) throws -> PKCS11KeyStore {
        try openKeys(home, module: settings.module, token: settings.token, pinFile: settings.pinFile)
    }

    /// Opens the bank's token.
    static func openKeys(_ home: StateFolder, _ bank: Settings.BankSettings) throws -> PKCS11KeyStore {
        try openKeys(home, module: bank.module, token: bank.token, pinFile: bank.pinFile)
    }

    private static func openKeys(
        _ home: StateFolder, module: String, token: String, pinFile: String
    ) throws -> PKCS11KeyStore {
        try home.oneAtATime {
            try home.useOwnSoftHSM()
            return try PKCS11KeyStore(
                module: PKCS11Module.load(module), token: TokenSelector(token), pin: .file(home.resolve(pinFile)))
        }
    }

    /// After what time alone has ended: holds past their end, payments that a crash left undecided; and what a crash left
    /// unsent. Before anybody looks.
    /// - Parameter tell: told what keeps receipts from their holders.
    func upToDate(tell: @Sendable (ReceiptTrouble) -> Void = { note("\($0)") }) async throws -> Parts {
        _ = try await ledger.expireHolds(at: time.now())
        await HolderMessages(parts: self).sendReceipts(tell: tell)
        return self
    }

    /// The issuer as banks see it.
    var desk: IssuerDesk { IssuerDesk(keys: keys, stores: ledger, time: time) }
    var cards: CardOffice { CardOffice(keys: keys, cards: ledger, time: time) }
    var codes: CodeOffice { CodeOffice(keys: keys, cards: ledger, codes: ledger, time: time) }
    var rotation: KeyRotation { KeyRotation(keys: keys, stores: ledger, time: time) }
    var telephones: TelephoneOffice { TelephoneOffice(keys: keys, stores: ledger, time: time) }
    var authorizer: Authorizer { Authorizer(keys: keys, stores: ledger, time: time) }

    /// The card with this identifier.
    func card(_ id: String) async throws -> Card {
        guard let card = try await ledger.card(CardID(rawValue: id)) else {
            throw NotFoundFailure("no card '\(id)'. 'ecard card list' shows the cards")
        }
        return card
    }

    /// A profile by name from the state folder, or by path.
    func profile(_ name: String) throws -> CardProfile { try home.profile(name) }
}

extension StateFolder {
    /// A path of the settings: absolute, or inside this folder.
    func resolve(_ file: String) -> String { file.hasPrefix("/") ? file : "\(path)/\(file)" }

    /// Points SoftHSM to the token folder in here, where `init` made one.
    func useOwnSoftHSM() throws {
        guard FileManager.default.fileExists(atPath: tokens) else { return }
        try SoftHSM.useFolder(tokens)
    }

    func profile(_ name: String) throws -> CardProfile {
        let file = name.contains("/") ? name : "\(profiles)/\(name).yaml"
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
            let known = (try? FileManager.default.contentsOfDirectory(atPath: profiles)) ?? []
            let names = known.filter { $0.hasSuffix(".yaml") }.map { $0.dropLast(5) }.sorted().joined(separator: ", ")
            throw NotFoundFailure("no card profile \(file). There are: \(names)")
        }
        return try CardProfile(yaml: text, file: file)
    }
}
