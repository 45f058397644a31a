import ByteCoding
import Foundation
import Issuing
import KeyCustody
import PaymentPorts
import PKCS11

/// An issuer's token with all its keys, in a folder that is removed when the process ends.
struct TemporaryIssuer {
    /// Holds `tokens` and `softhsm2.conf`; measurements put their files beside them.
    let folder: String
    let module: PKCS11Module
    let label = "bench"
    let pin = SecretBytes(Array("20261121".utf8))

    /// SoftHSM reads its configuration once, so a process makes one.
    init() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-bench-\(UUID().uuidString)")
            .path
        self.folder = folder
        try SoftHSM.useFolder(folder)
        Self.remove(folder)
        module = try PKCS11Module.load()
        _ = try module.initializeToken(label: label, soPIN: pin, userPIN: pin)
        _ = try await open().withSession { try IssuerKey.createMissing(in: $0) }
    }

    func open(poolSize: Int? = nil) throws -> PKCS11KeyStore {
        try PKCS11KeyStore(module: module, token: .label(label), pin: .given(pin), poolSize: poolSize)
    }

    private nonisolated(unsafe) static var leftover: String?

    /// At exit, since the module keeps its files open until then.
    private static func remove(_ folder: String) {
        leftover = folder
        atexit { if let leftover = TemporaryIssuer.leftover { try? FileManager.default.removeItem(atPath: leftover) } }
    }
}
