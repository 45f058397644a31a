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
    let allowsPrivateWebhooks: Bool
    /// A telephone as a web page, on loopback.
    let hasSimulator: Bool
    let logLevel: Logger.Level
    let gateways: [USSDAPI.Gateway]
    let messages: GatewaySettings

    /// Every key there is, with its default. Those of a gateway begin with `ussd.` and its name.
    static let defaults = [
        "roles": "bank,issuer,ussd", "host": "127.0.0.1", "port": "8080", "certificate": "", "key": "",
        "allow-private-webhooks": "no", "log-level": "info", "simulator": "no",
    ]
    static let gatewayKeys = ["secret-file", "peers"]

    /// - Parameter flags: those of the keys that the command line gives.
    static func load(_ home: StateFolder, flags: [String: String]) throws -> ServerSettings {
        let file = try section(home)
        let configuration = ConfigReader(providers: [
            InMemoryProvider(name: "command line", values: values(flags)), EnvironmentVariablesProvider(),
            InMemoryProvider(name: home.configuration, values: values(file)),
            InMemoryProvider(name: "defaults", values: values(defaults)),
        ])
        return try ServerSettings(home, configuration.scoped(to: ConfigKey(["ecard", "server"])))
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
        return found
    }

    private init(_ home: StateFolder, _ configuration: ConfigReader) throws {
        func text(_ path: [String]) -> String? {
            configuration.string(forKey: ConfigKey(path)).flatMap { $0.isEmpty ? nil : $0 }
        }
        func wrong(_ key: String, _ wanted: String) -> EnvironmentFailure {
            EnvironmentFailure("server setting '\(key)': \(wanted) wanted")
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
        guard roles.isSuperset(of: [.bank, .issuer]) else {
            throw wrong("roles", "bank and issuer, and perhaps ussd: apart, the parties do not talk to each other yet;")
        }
        guard let port = text(["port"]).flatMap({ Int($0) }) else { throw wrong("port", "a number from 0 to 65535") }
        let certificate: (chain: String, key: String)?
        switch (text(["certificate"]), text(["key"])) {
        case (let chain?, let key?): certificate = (home.resolve(chain), home.resolve(key))
        case (nil, nil): certificate = nil
        default: throw wrong("certificate", "a certificate and a key, both PEM files,")
        }
        hasSimulator = try yes("simulator")
        if hasSimulator {
            // Before the certificate is asked for: with one it would be no better.
            try PhoneSimulator.require(host: text(["host"]) ?? "127.0.0.1")
            guard roles.contains(.ussd) else { throw wrong("simulator", "the role ussd, too,") }
        }
        place = try ListeningPlace(host: text(["host"]) ?? "127.0.0.1", port: port, certificate: certificate)
        allowsPrivateWebhooks = try yes("allow-private-webhooks")
        guard let level = text(["log-level"]).flatMap({ Logger.Level(rawValue: $0) }) else {
            throw wrong("log-level", "one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        logLevel = level
        gateways = try USSDAPI.known.compactMap { name in
            let file = text(["ussd", name, "secret-file"])
            let peers = list(text(["ussd", name, "peers"]))
            guard file != nil || !peers.isEmpty else { return nil }
            return try USSDAPI.Gateway(
                name,
                secret: file.map {
                    try SecretInput.file(home.resolve($0), what: "secret", option: "ussd.\(name).secret-file")
                }, peers: peers)
        }
        messages = try GatewaySettings(home, clock: SystemTime()) { key in
            text(key.split(separator: ".").map { String($0) })
        }
    }
}

private func list(_ text: String?) -> [String] {
    (text ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
}
