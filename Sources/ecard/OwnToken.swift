import ByteCoding
import Foundation
import KeyCustody
import Ledger
import PKCS11

/// A SoftHSM token in the state folder, for a party that names no HSM of its own.
struct OwnToken {
    let home: StateFolder
    /// Where its PIN is kept.
    let pinFile: String
    /// What is sealed under its keys: where that is in use the token is not made anew.
    let books: String
    /// For a new token.
    let label: String

    private static let prefix = "ecard-"
    static let bankLabel = prefix + "bank"

    /// A label nobody else has.
    static func issuerLabel() -> String { prefix + randomDigits(8) }

    static func isIssuers(_ label: String) -> Bool { label.hasPrefix(prefix) && label != bankLabel }

    /// - Parameter isOurs: whether a token's label is this party's. A token that an `init` made before it was killed is used.
    /// - Returns: the token's label.
    func make(module path: String, isOurs: (String) -> Bool) throws -> String {
        try StateFolder.makePrivate(home.tokens)
        // While nobody else logs in: a token's file is written anew then, and looks unfinished.
        return try home.oneAtATime {
            try SoftHSM.useFolder(home.tokens)
            let isInUse = try LedgerDatabase.isThere(books)
            if !isInUse { try SoftHSM.removeUnfinishedTokens(home.tokens) }
            let loaded = try PKCS11Module.load(path)
            // The folder above rules over SoftHSM alone: with another module this would be somebody's token.
            guard loaded.info.manufacturer == "SoftHSM" else {
                throw UsageFailure(
                    "\(path) is a module of \(loaded.info.manufacturer): name its token with --token and --pin-file; it is not initialized"
                )
            }
            if let made = try loaded.tokens().first(where: {
                isOurs($0.label) && $0.flags.contains(.userPINInitialized)
            }) {
                return made.label
            }
            guard !isInUse else { throw Self.keysLost(books, ["every key"], home.tokens) }
            // Nobody needs the security officer's PIN of a development token: to start over is to make a new one.
            let officer = SecretBytes(Array(Self.randomDigits(16).utf8))
            _ = try loaded.initializeToken(label: label, soPIN: officer, userPIN: ownPIN())
            return label
        }
    }

    /// The PIN, written down before the token has it.
    private func ownPIN() throws -> SecretBytes {
        if FileManager.default.fileExists(atPath: pinFile) { return try PINSource.file(pinFile).read() }
        let pin = SecretBytes(Array(Self.randomDigits(16).utf8))
        try StateFolder.writePrivate(pin.exposedCopy() + [UInt8(ascii: "\n")], to: pinFile)
        return pin
    }

    static func keysLost(_ books: String, _ labels: [String], _ token: String) -> EnvironmentFailure {
        EnvironmentFailure(
            "\(books) is in use, but token '\(token)' lacks \(labels.joined(separator: ", "))",
            advice: "Is this the right token? New keys would not fit what is there: restore the token from its copy")
    }

    private static func randomDigits(_ count: Int) -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<count).map { _ in Character(String(Int.random(in: 0...9, using: &generator))) })
    }
}
