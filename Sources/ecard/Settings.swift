import Foundation
import Yams

/// `ecard.yaml` in the state folder: which parts are used. Written by `ecard init`, meant to be edited.
struct Settings: Codable, Sendable {
    /// The PKCS#11 module's path.
    var module: String
    /// The token: `pkcs11:token=…` (RFC 7512), a label or a serial number.
    var token: String
    /// The file with the token's PIN, mode 0600; relative to the state folder.
    var pinFile: String
    /// The ledger's file; relative to the state folder.
    var ledger: String

    enum CodingKeys: String, CodingKey {
        case module, token, pinFile = "pin-file", ledger
    }

    static func load(_ home: StateFolder) throws -> Settings {
        guard let text = try? String(contentsOfFile: home.configuration, encoding: .utf8) else {
            throw EnvironmentFailure(
                "no issuer in \(home.path): \(home.configuration) is missing", advice: "Run 'ecard init' first, or name another folder with --home")
        }
        do {
            return try YAMLDecoder().decode(Settings.self, from: text)
        } catch {
            throw EnvironmentFailure("\(home.configuration): \(error)", advice: "Mend the file")
        }
    }

    func save(_ home: StateFolder) throws {
        let text = """
            # Which parts this issuer uses. See docs/operations.md for other tokens and databases.
            module: \(module)
            token: "\(token)"
            pin-file: \(pinFile)
            ledger: \(ledger)

            """
        try StateFolder.writePrivate(Array(text.utf8), to: home.configuration)
    }
}
