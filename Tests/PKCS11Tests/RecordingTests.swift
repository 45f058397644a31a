import ByteCoding
import ECardTesting
import Foundation
import KeyCustody
import PKCS11
import Testing

/// The module that writes down what crosses the boundary writes down all of it, but for PINs.
extension FaultTests {
    @Test("Every buffer of every kind of call is recorded, what parameters point to as well")
    func recorded() throws {
        let path = NSTemporaryDirectory() + "/ecard-recording-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try FaultyModule.record(to: path)
        let random = try token.open().withSessionBlocking { session in
            try useEveryKind(of: session)
            return try session.random(24)
        }
        try FaultyModule.record(to: nil)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)

        let recording = try ModuleRecording(contentsOfFile: path)
        func has(_ function: String, _ name: String, _ bytes: [UInt8]) -> Bool {
            recording.calls.contains { $0.function == function && $0.buffers.contains { $0 == (name, bytes) } }
        }
        #expect(has("C_CreateObject", "<template.11", Self.key))
        #expect(has("C_DeriveKey", "<parameter.data", Self.data))
        #expect(has("C_EncryptInit", "<parameter.iv", Self.iv) && has("C_EncryptInit", "<parameter.aad", Self.data))
        #expect(has("C_Encrypt", "<in", Self.data) && has("C_Sign", "<in", Self.data))
        #expect(has("C_DeriveKey", "<parameter.public", try Self.peer().point))
        #expect(
            recording.calls.contains { $0.function == "C_GenerateKeyPair" && $0.buffer("<private.103") == [1] })
        #expect(has("C_GenerateRandom", ">out", random))
        #expect(recording.calls.contains { $0.function == "C_WrapKey" && $0.buffer(">out")?.count == 24 })
        #expect(recording.calls.contains { $0.function == "C_GetAttributeValue" && $0.buffer(">attribute.162") == [1] })
        #expect(recording.calls.allSatisfy { $0.number("unread") == nil })

        let login = try #require(recording.calls.first { $0.function == "C_Login" })
        #expect(login.number("pin") == 8 && login.buffers.isEmpty)
        var scan = LeakScan()
        scan.add(key: token.pin.exposedCopy(), as: "PIN")
        let text = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        #expect(scan.findings(in: text, place: "recording") == [])
    }

    /// A key that the token will not show does not come out in the recording either.
    @Test("An attribute that the token refuses is not there, and one that fails half is")
    func refusedAttribute() throws {
        let path = NSTemporaryDirectory() + "/ecard-recording-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try FaultyModule.record(to: path)
        _ = try token.open().withSessionBlocking { session in
            try session.attributes(of: try session.generate(KeyTemplate(.aes(bytes: 16), .sign)))
        }
        try FaultyModule.record(to: nil)
        let recording = try ModuleRecording(contentsOfFile: path)
        #expect(recording.calls.allSatisfy { $0.buffer(">attribute.11") == nil })
        #expect(recording.calls.contains { $0.buffer(">attribute.103") == [1] })
    }

    private static let key = [UInt8](0xA0..<0xB0)
    private static let data = [UInt8](0x10..<0x20)
    private static let iv = [UInt8](0xC0..<0xCC)

    private static func peer() throws -> P256PublicKey {
        try #require(P256PublicKey(privateKey: SecretBytes(key + key)))
    }

    private func useEveryKind(of session: any KeySession) throws {
        let base = try session.importSecret(KeyTemplate(.aes(bytes: 16), .derive), value: SecretBytes(Self.key))
        let cipher = try session.derive(
            KeyTemplate(.aes(bytes: 16), [.encrypt]), from: base, by: .aesECBEncrypt(Self.data))
        _ = try session.encrypt(Self.data, with: cipher, .aesGCM(iv: Self.iv, additionalData: Self.data))
        let mac = try session.generate(KeyTemplate(.generic(bytes: 32), .sign))
        _ = try session.sign(Self.data, with: mac, .hmacSHA256)
        let wrapping = try session.generate(KeyTemplate(.aes(bytes: 16), .wrap))
        let pair = try session.generate(KeyTemplate(.p256, .derive))
        _ = try session.sharedSecret(of: pair, with: try Self.peer())
        let parcel = try session.generate(KeyTemplate(.aes(bytes: 16), .sign, extractable: true))
        _ = try session.wrap(parcel, under: wrapping, .aesKeyWrap)
        _ = try session.attributes(of: parcel)
    }
}
