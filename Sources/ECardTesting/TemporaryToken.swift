public import ByteCoding
import Foundation
public import PKCS11

/// A SoftHSM token of its own for a test, under a random label.
///
/// SoftHSM reads its configuration once a process, so all tokens of a test process share one temporary folder, which is
/// removed when the process ends. No token of the machine's user is ever seen.
public struct TemporaryToken: Sendable {
    public let module: PKCS11Module
    /// Random, `test-1F0A6C…`.
    public let label: String
    /// Eight random digits.
    public let pin: SecretBytes
    public let soPIN: SecretBytes

    /// Makes the token.
    ///
    /// - Parameter modulePath: the library to make it with; SoftHSM, or one that forwards to it.
    public init(modulePath: String = PKCS11Module.softHSMPath) throws {
        _ = try Self.folder.get()
        module = try PKCS11Module.load(modulePath)
        label = "test-" + Self.random(10, of: "0123456789ABCDEF")
        pin = SecretBytes(Array(Self.random(8, of: "0123456789").utf8))
        soPIN = SecretBytes(Array(Self.random(8, of: "0123456789").utf8))
        _ = try module.initializeToken(label: label, soPIN: soPIN, userPIN: pin)
    }

    /// Opens the token as a key store.
    public func open(poolSize: Int? = nil) throws -> PKCS11KeyStore {
        try PKCS11KeyStore(module: module, token: .label(label), pin: .given(pin), poolSize: poolSize)
    }

    /// The folder that holds the tokens of this process, with `softhsm2.conf` and `tokens`.
    public static func sharedFolder() throws -> String { try folder.get() }

    private static let folder = Result<String, any Error> {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-tokens-\(UUID().uuidString)")
            .path
        try SoftHSM.useFolder(path)
        atexit { TemporaryToken.removeFolder() }
        return path
    }

    /// What has to be done before any child is started.
    static func setEnvironment() throws { _ = try folder.get() }

    private static func removeFolder() {
        if let path = try? folder.get() { try? FileManager.default.removeItem(atPath: path) }
    }

    private static func random(_ count: Int, of alphabet: String) -> String {
        String((0..<count).compactMap { _ in alphabet.randomElement() })
    }
}
