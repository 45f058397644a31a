import ByteCoding
import Configuration
import ECardServer
import Foundation
import Logging
import OOPA

/// What `ecard serve` is told, in the order of who wins: the command line, the environment (`ECARD_SERVER_PORT`), the section
/// `server:` of `ecard.yaml`, and what stands here.
struct ServerSettings: Sendable {
    /// The parties of the payment that one process may be.
    enum Role: String, CaseIterable, Sendable {
        case bank, issuer, ussd
    }

    let roles: Set<Role>
    let place: ListeningPlace
    /// Where the issuer runs, if not in this process: `https://HOST:PORT`.
    let issuer: String?
    /// By which parties that run apart know each other.
    let pki: PKIFiles
    let allowsPrivateWebhooks: Bool
    /// A telephone as a web page, on loopback.
    let hasSimulator: Bool
    /// Folders besides the own outbox whose messages it shows: of an issuer that runs apart.
    let simulatorOutboxes: [String]
    let logLevel: Logger.Level
    let logForm: StructuredLog.Form
    let gateways: [USSDAPI.Gateway]
    let messages: GatewaySettings

    /// Every key there is, with its default. Those of a gateway begin with `ussd.` and its name.
    static let defaults = [
        "roles": "bank,issuer,ussd", "host": "127.0.0.1", "port": "8080", "certificate": "", "key": "",
        "issuer": "", "pki": "pki", "allow-private-webhooks": "no", "log-level": "info", "log-form": "text",
        "simulator": "no",
        "simulator-outbox": "",
    ]
    static let gatewayKeys = ["secret-file", "peers"]

    /// - Parameter flags: those of the keys that the command line gives.
    static func load(_ home: StateFolder, flags: [String: String]) throws -> ServerSettings {
        try ServerSettings(home, reader(home, flags: flags), given: Set(flags.keys))
    }

    private static func reader(_ home: StateFolder, flags: [String: String]) throws -> ConfigReader {
        let file = try section(home)
        let configuration = ConfigReader(providers: [
            InMemoryProvider(name: "command line", values: values(flags)), EnvironmentVariablesProvider(),
            InMemoryProvider(name: home.configuration, values: values(file)),
            InMemoryProvider(name: "defaults", values: values(defaults)),
        ])
        return configuration.scoped(to: ConfigKey(["ecard", "server"]))
    }

    /// Where the issuer of this folder's bank runs, if not beside it: as environment and file say.
    static func issuer(_ home: StateFolder) throws -> (issuer: String, pki: PKIFiles)? {
        let configuration = try reader(home, flags: [:])
        guard let url = configuration.string(forKey: "issuer"), !url.isEmpty else { return nil }
        return (url, PKIFiles(folder: home.resolve(configuration.string(forKey: "pki") ?? "pki")))
    }

    private static func values(_ texts: [String: String]) -> [AbsoluteConfigKey: ConfigValue] {
        Dictionary(
            uniqueKeysWithValues: texts.map { key, text in
                let path = ["ecard", "server"] + key.split(separator: ".").map(String.init)
                return (AbsoluteConfigKey(path), ConfigValue(.string(text), isSecret: false))
            })
    }

    /// The section `server:` as `ussd.arkesel.peers` and so on. A key that means nothing is an error: a typing mistake must
    /// not open what somebody meant to close.
    private static func section(_ home: StateFolder) throws -> [String: String] {
        var found: [String: String] = [:]
        func walk(_ section: [String: Settings.Setting], _ path: String) {
            for (key, value) in section {
                switch value {
                case .text(let text): found[path + key] = text
                case .list(let list): found[path + key] = list.joined(separator: ",")
                case .section(let section): walk(section, path + key + ".")
                }
            }
        }
        walk(try Settings.load(home).server ?? [:], "")
        let gateways =
            USSDAPI.known.flatMap { gateway in gatewayKeys.map { "ussd.\(gateway).\($0)" } } + GatewaySettings.keys
        if let key = found.keys.sorted().first(where: { defaults[$0] == nil && !gateways.contains($0) }) {
            throw EnvironmentFailure(
                "\(home.configuration): 'server: \(key)' means nothing",
                advice: "There are: \((defaults.keys.sorted() + gateways).joined(separator: ", "))")
        }
        try refuseUnknownVariables(among: defaults.keys.sorted() + gateways)
        return found
    }

    /// The same of the environment.
    private static func refuseUnknownVariables(among keys: [String]) throws {
        let known = Set(
            keys.map { key in
                "ECARD_SERVER_" + key.uppercased().replacing(".", with: "_").replacing("-", with: "_")
            })
        let names = ProcessInfo.processInfo.environment.keys.filter { $0.hasPrefix("ECARD_SERVER_") }
        if let name = names.sorted().first(where: { !known.contains($0) }) {
            throw EnvironmentFailure(
                "the environment variable \(name) means nothing",
                advice: "There are: \(known.sorted().joined(separator: ", "))")
        }
    }

    /// - Parameter given: the keys that the command line gives: a mistake there is the caller's.
    private init(_ home: StateFolder, _ configuration: ConfigReader, given: Set<String>) throws {
        func text(_ path: [String]) -> String? {
            configuration.string(forKey: ConfigKey(path)).flatMap { $0.isEmpty ? nil : $0 }
        }
        func wrong(_ key: String, _ wanted: String) -> any Error {
            given.contains(key)
                ? UsageFailure("--\(key): \(wanted) wanted")
                : EnvironmentFailure("server setting '\(key)': \(wanted) wanted")
        }
        func yes(_ key: String) throws -> Bool {
            switch text([key])?.lowercased() {
            case "yes", "true", "1": true
            case "no", "false", "0", nil: false
            default: throw wrong(key, "yes or no")
            }
        }
        roles = Set(
            try list(text(["roles"])).map { name in
                guard let role = Role(rawValue: name) else { throw wrong("roles", "some of bank, issuer, ussd") }
                return role
            })
        issuer = text(["issuer"])
        do {
            try Self.check(roles, issuer)
        } catch let failure as EnvironmentFailure where given.contains("roles") || given.contains("issuer") {
            throw UsageFailure(failure.description)
        }
        pki = PKIFiles(folder: home.resolve(text(["pki"]) ?? "pki"))
        guard let port = text(["port"]).flatMap({ Int($0) }), (0...65_535).contains(port) else {
            throw wrong("port", "a number from 0 to 65535")
        }
        let certificate: (chain: String, key: String)?
        switch (text(["certificate"]), text(["key"])) {
        case (let chain?, let key?): certificate = (home.resolve(chain), home.resolve(key))
        case (nil, nil): certificate = nil
        default: throw wrong("certificate", "a certificate and a key, both PEM files,")
        }
        let host = text(["host"]) ?? "127.0.0.1"
        hasSimulator = try yes("simulator")
        simulatorOutboxes = list(text(["simulator-outbox"])).map { home.resolve($0) }
        if !hasSimulator, !simulatorOutboxes.isEmpty {
            throw wrong("simulator-outbox", "the setting 'simulator', too,")
        }
        if hasSimulator {
            // Before the certificate is asked for: with one it would be no better.
            try PhoneSimulator.require(host: host)
            guard roles.contains(.ussd) else { throw wrong("simulator", "the role ussd, too,") }
        }
        if roles == [.issuer] {
            guard certificate == nil else {
                throw wrong("certificate", "none: an issuer that runs apart has the one of 'ecard pki issue issuer';")
            }
            place = try ListeningPlace(host: host, port: port, parties: pki.parties(.issuer))
        } else {
            place = try ListeningPlace(host: host, port: port, certificate: certificate)
        }
        allowsPrivateWebhooks = try yes("allow-private-webhooks")
        guard let level = text(["log-level"]).flatMap({ Logger.Level(rawValue: $0) }) else {
            throw wrong("log-level", "one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        logLevel = level
        guard let form = text(["log-form"]).flatMap({ StructuredLog.Form(rawValue: $0) }) else {
            throw wrong("log-form", "text or json")
        }
        logForm = form
        // Their secrets are for whoever answers them.
        let known = roles.contains(.ussd) ? USSDAPI.known : []
        gateways = try known.compactMap { name in
            let file = text(["ussd", name, "secret-file"])
            let peers = list(text(["ussd", name, "peers"]))
            guard file != nil || !peers.isEmpty else { return nil }
            return try USSDAPI.Gateway(
                name,
                secret: file.map {
                    try SecretInput.file(home.resolve($0), what: "secret", option: "ussd.\(name).secret-file")
                }, peers: peers)
        }
        messages = try GatewaySettings(home, clock: SystemTime(), hasSimulator: hasSimulator) { key in
            text(key.split(separator: ".").map { String($0) })
        }
    }
}

extension ServerSettings {
    /// Which roles go together, and where the issuer is. The dialogue of telephones has no books of its own: it goes with the
    /// bank.
    private static func check(_ roles: Set<Role>, _ issuer: String?) throws {
        switch (roles.contains(.bank), roles.contains(.issuer)) {
        case (true, false) where issuer == nil:
            throw EnvironmentFailure(
                "server setting 'issuer': the bank is to run without the issuer, and is not told where that is",
                advice: "Give --issuer https://HOST:PORT, or have both in this process: --roles bank,issuer,ussd")
        case (_, true) where issuer != nil:
            throw EnvironmentFailure(
                "server setting 'issuer': the issuer is in this process, and is named elsewhere, too",
                advice: "Leave out the setting, or 'issuer' of the roles")
        case (false, _) where roles != [.issuer]:
            throw EnvironmentFailure(
                "server setting 'roles': \(roles.isEmpty ? "none is named" : "ussd goes with the bank, in whose books its dialogue stands")",
                advice: "There are: bank,issuer,ussd; bank,issuer; bank,ussd; bank; issuer")
        default: break
        }
    }
}

private func list(_ text: String?) -> [String] {
    (text ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
}
