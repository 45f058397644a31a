import Foundation
import OOPA
import Yams

/// `ecard.yaml` in the state folder: which parts are used. Written by `ecard init` and `ecard bank init`, meant to be edited.
struct Settings: Codable, Sendable {
    /// The issuer's parts, where `ecard init` made them. In the file they stand beside the sections.
    var issuer: IssuerSettings?
    /// The bank's parts, where `ecard bank init` made them.
    var bank: BankSettings?
    /// What `ecard serve` is told, by key; ``ServerSettings`` knows what they mean.
    var server: [String: Setting]?

    private enum Sections: String, CodingKey, CaseIterable {
        case bank, server
    }

    init(issuer: IssuerSettings? = nil, bank: BankSettings? = nil) {
        self.issuer = issuer
        self.bank = bank
    }

    init(from decoder: any Decoder) throws {
        try YAMLMistake.refuseOthers(
            than: IssuerSettings.CodingKeys.allCases.map(\.rawValue) + Sections.allCases.map(\.rawValue), in: decoder)
        let sections = try decoder.container(keyedBy: Sections.self)
        bank = try sections.decodeIfPresent(WithNoOtherKeys<BankSettings>.self, forKey: .bank)?.value
        server = try sections.decodeIfPresent([String: Setting].self, forKey: .server)
        // Only a bank's file may have nothing of an issuer's; one that has something lacks nothing.
        let isBanksAlone = try bank != nil && decoder.container(keyedBy: IssuerSettings.CodingKeys.self).allKeys.isEmpty
        issuer = isBanksAlone ? nil : try IssuerSettings(from: decoder)
    }

    func encode(to encoder: any Encoder) throws {
        try issuer?.encode(to: encoder)
        var sections = encoder.container(keyedBy: Sections.self)
        try sections.encodeIfPresent(bank, forKey: .bank)
        try sections.encodeIfPresent(server, forKey: .server)
    }

    /// The issuer's own token and ledger.
    struct IssuerSettings: Codable, Sendable {
        /// The PKCS#11 module's path.
        var module: String
        /// The token: `pkcs11:token=…` (RFC 7512), a label or a serial number.
        var token: String
        /// The file with the token's PIN, mode 0600; relative to the state folder.
        var pinFile: String
        /// The ledger's file; relative to the state folder.
        var ledger: String

        enum CodingKeys: String, CodingKey, CaseIterable {
            case module, token, pinFile = "pin-file", ledger
        }
    }

    /// A value of a section whose keys somebody else knows.
    enum Setting: Codable, Sendable {
        case text(String)
        case list([String])
        case section([String: Setting])

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let text = try? value.decode(String.self) {
                self = .text(text)
            } else if let list = try? value.decode([String].self) {
                self = .list(list)
            } else {
                self = .section(try value.decode([String: Setting].self))
            }
        }

        func encode(to encoder: any Encoder) throws {
            var value = encoder.singleValueContainer()
            switch self {
            case .text(let text): try value.encode(text)
            case .list(let list): try value.encode(list)
            case .section(let section): try value.encode(section)
            }
        }
    }

    /// The bank's own token and store. None of it is the issuer's.
    struct BankSettings: Codable, KnowsItsKeys, Sendable {
        var module: String
        var token: String
        var pinFile: String
        /// The bank's store; relative to the state folder.
        var database: String

        enum CodingKeys: String, CodingKey, CaseIterable {
            case module, token, pinFile = "pin-file", database
        }
    }

    static func load(_ home: StateFolder) throws -> Settings {
        guard access(home.configuration, F_OK) == 0 || errno != ENOENT else {
            throw EnvironmentFailure(
                "no issuer in \(home.path): \(home.configuration) is missing",
                advice: "Run 'ecard init' first, or name another folder with --home")
        }
        guard let text = try? String(contentsOfFile: home.configuration, encoding: .utf8) else {
            throw EnvironmentFailure(
                "\(home.configuration) cannot be read", advice: "It must be UTF-8 text that this user may read")
        }
        do {
            return try YAMLDecoder().decode(Settings.self, from: text)
        } catch {
            throw EnvironmentFailure("\(home.configuration): \(YAMLMistake.sentence(error))", advice: advice)
        }
    }

    /// The issuer's part.
    static func loadIssuer(_ home: StateFolder) throws -> IssuerSettings {
        guard let issuer = try load(home).issuer else {
            throw EnvironmentFailure(
                "no issuer in \(home.path): it is a bank's, whose issuer runs apart",
                advice: "Name the issuer's folder with --home")
        }
        return issuer
    }

    private static let advice =
        "It needs module, token, pin-file and ledger, a text each, and for a bank the same with database under 'bank'; docs/operations.md has an example"

    /// Adds these parts to the file, and makes one where there is none. What stands there stays as somebody wrote it.
    func add(to home: StateFolder) throws {
        var text = "# Which parts are used here. See docs/operations.md for other tokens and databases.\n"
        if FileManager.default.fileExists(atPath: home.configuration) {
            _ = try Settings.load(home)
            text = try String(contentsOfFile: home.configuration, encoding: .utf8)
        }
        text += (text.hasSuffix("\n") ? "" : "\n") + (try YAMLEncoder().encode(self))
        guard (try? YAMLDecoder().decode(Settings.self, from: text)) != nil else {
            throw EnvironmentFailure(
                "\(home.configuration) is written so that nothing can be added behind it", advice: "Write a key a line")
        }
        try StateFolder.writePrivate(Array(text.utf8), to: home.configuration)
    }
}
