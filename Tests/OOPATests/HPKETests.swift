import ByteCoding
import Crypto
import ECardTesting
import Foundation
import KeyCustody
import Issuing
import PKCS11
import PaymentPorts
import Testing

@testable import OOPA

/// Hybrid public key encryption with the private key in a token, against the standard's vectors and others' software.
@Suite("HPKE") struct HPKETests {
    struct Vector: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let kem: HybridEncryption.KEM
        let aead: HybridEncryption.AEAD
        let privateKey: String
        let ephemeralKey: String
        let encapsulated: String
        let sharedSecret: String
        let key: String
        let nonce: String
        /// Of the message below, under the first nonce; nothing where the AEAD is another.
        let ciphertext: String
    }

    /// `Ode on a Grecian Urn`, as in all of these vectors.
    static let info = Array("Ode on a Grecian Urn".utf8)
    static let message = Array("Beauty is truth, truth beauty".utf8)
    static let associatedData = Array("Count-0".utf8)

    static let vectors = [
        // RFC 9180, A.3.1.
        Vector(
            testDescription: "RFC 9180, DHKEM(P-256), AES-128-GCM", kem: .p256, aead: .aes128GCM,
            privateKey: "F3CE7FDAE57E1A310D87F1EBBDE6F328BE0A99CDBCADF4D6589CF29DE4B8FFD2",
            ephemeralKey: "4995788EF4B9D6132B249CE59A77281493EB39AF373D236A1FE415CB0C2D7BEB",
            encapsulated: "04A92719C6195D5085104F469A8B9814D5838FF72B60501E2C4466E5E67B325AC9"
                + "8536D7B61A1AF4B78E5B7F951C0900BE863C403CE65C9BFCB9382657222D18C4",
            sharedSecret: "C0D26AEAB536609A572B07695D933B589DCF363FF9D93C93ADEA537AEABB8CB8",
            key: "868C066EF58AAE6DC589B6CFDD18F97E", nonce: "4E0BC5018BEBA4BF004CCA59",
            ciphertext: "5AD590BB8BAA577F8619DB35A36311226A896E7342A6D836D8B7BCD2F20B6C7F9076AC232E3AB2523F39513434"),
        // draft-irtf-cfrg-dnhpke, as test/vectors-dnhpke.json of panva/hpke has it: AES-256-SIV, which takes no nonce.
        Vector(
            testDescription: "draft-irtf-cfrg-dnhpke, DHKEM(CP-256), AES-256-SIV", kem: .compactP256,
            aead: .init(id: 0x8000, keyLength: 32, nonceLength: 12),
            privateKey: "3A3632609FC7C311FCC5E7910885B51E01532C72083A8328FE17D830E16E1DAA",
            ephemeralKey: "EC322F61E5DE8720B001E400ADBFE5AF031B2FB8003631467F168670EE500994",
            encapsulated: "23CD4F6A91F37B513480FF249B4A08FD27A56651CB359476020737807D5CE831",
            sharedSecret: "97D46FDD749DB2531604B8B6763897EFBD75AEE0D0FC361E186E86E65511AC45",
            key: "801DD7A36F806DA8F37B46CD45D61CA961D448295863F78FDDD4CB6EA7246582", nonce: "", ciphertext: ""),
    ]

    @Test("the published secrets and keys, both ways, the agreement in the token", arguments: vectors)
    func published(_ vector: Vector) throws {
        let scalar = SecretBytes(try bytes(vector.privateKey))
        let recipient = try #require(P256PublicKey(privateKey: scalar))
        let ephemeral = try P256.KeyAgreement.PrivateKey(rawRepresentation: bytes(vector.ephemeralKey))
        let (sent, encapsulated) = try HybridEncryption.encapsulate(to: recipient, vector.kem, ephemeral: ephemeral)
        #expect(encapsulated.hex == vector.encapsulated)
        #expect(sent.hex == vector.sharedSecret)
        let received = try OOPAToken.keys().withSessionBlocking { session in
            let key = try session.importSecret(KeyTemplate(.p256, .derive), value: scalar)
            return try HybridEncryption.decapsulate(encapsulated, of: session.publicKey(of: key), vector.kem) {
                try session.sharedSecret(of: key, with: $0)
            }
        }
        #expect(received.hex == vector.sharedSecret)
        let (key, nonce) = HybridEncryption.schedule(received, vector.kem, vector.aead, info: Self.info)
        #expect(key.hex == vector.key)
        if !vector.nonce.isEmpty { #expect(nonce.hex == vector.nonce) }
        guard !vector.ciphertext.isEmpty else { return }
        let sealed = try HybridEncryption.seal(
            SecretBytes(Self.message), to: recipient, vector.kem, info: Self.info,
            associatedData: Self.associatedData, ephemeral: ephemeral)
        #expect(sealed.hex == vector.encapsulated + vector.ciphertext)
    }

    @Test("what this seals others open, and the other way round", arguments: HybridEncryption.KEM.allCases)
    func differential(_ kem: HybridEncryption.KEM) throws {
        guard PythonOracle.isConfigured else { return print(PythonOracle.howToEnable) }
        let oracle = try PythonOracle()
        var generator = SeededGenerator()
        let scalar = P256.KeyAgreement.PrivateKey().rawRepresentation
        let recipient = try #require(P256PublicKey(privateKey: SecretBytes(scalar)))
        let rows = (0..<100).map { index in
            (info: generator.bytes(index % 20), data: generator.bytes(index % 70), message: generator.bytes(index % 33))
        }
        let ours = try rows.map { row in
            try HybridEncryption.seal(
                SecretBytes(row.message), to: recipient, kem, info: row.info, associatedData: row.data)
        }
        let opened = try oracle.call(
            "hpke_open",
            zip(rows, ours).map {
                ["\(kem.rawValue)", Array(scalar).hex, $0.info.hex, $0.data.hex, $1.hex]
            })
        #expect(opened.map { $0.uppercased() } == rows.map(\.message.hex))
        let theirs = try oracle.call(
            "hpke_seal",
            rows.map { ["\(kem.rawValue)", recipient.point.hex, $0.info.hex, $0.data.hex, $0.message.hex] })
        try OOPAToken.keys().withSessionBlocking { session in
            let key = try session.importSecret(KeyTemplate(.p256, .derive), value: SecretBytes(scalar))
            for (row, sealed) in zip(rows, theirs) {
                let message = try HybridEncryption.open(
                    bytes(sealed), of: recipient, kem, info: row.info, associatedData: row.data
                ) { try session.sharedSecret(of: key, with: $0) }
                #expect(message.exposedCopy() == row.message)
            }
        }
        print("claim: sealed messages exchanged with others' HPKE, KEM \(kem.rawValue) | \(2 * rows.count) | | info")
    }

    @Test("what is no point of the curve is refused before the token sees it", arguments: HybridEncryption.KEM.allCases)
    func points(_ kem: HybridEncryption.KEM) throws {
        let recipient = try #require(P256PublicKey(privateKey: SecretBytes([UInt8](repeating: 7, count: 32))))
        let good = try HybridEncryption.seal(SecretBytes([1]), to: recipient, kem, info: [], associatedData: [])
        let prime = try bytes("FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF")
        let bad: [[UInt8]]
        switch kem {
        case .p256:
            bad = [
                // Off the curve, at infinity in its two forms, another form of the point, coordinates out of range.
                [0x04] + [UInt8](repeating: 1, count: 64), [0x04] + [UInt8](repeating: 0, count: 64),
                [UInt8](repeating: 0, count: 65), [0x06] + recipient.x + recipient.y,
                [0x04] + prime + recipient.y, [0x04] + recipient.x + prime,
            ]
        case .compactP256:
            // x = 4 is on no point; the second is the field's prime, which is zero.
            bad = [[UInt8](repeating: 0, count: 31) + [4], prime, [UInt8](repeating: 0xFF, count: 32)]
        }
        for point in bad {
            #expect(throws: HybridEncryption.Refusal.self) {
                _ = try HybridEncryption.open(
                    point + good.dropFirst(kem.length), of: recipient, kem, info: [], associatedData: []
                ) { _ in
                    Issue.record("the token was asked about \(point.hex)")
                    throw HybridEncryption.Refusal()
                }
            }
        }
        for length in 0..<(kem.length + 16) {
            #expect(throws: HybridEncryption.Refusal.self) {
                _ = try HybridEncryption.open(
                    Array(good.prefix(length)), of: recipient, kem, info: [], associatedData: []
                ) { _ in
                    throw HybridEncryption.Refusal()
                }
            }
        }
    }
}

func bytes(_ hex: String) throws -> [UInt8] { try #require([UInt8](hex: hex)) }

extension SymmetricKey {
    fileprivate var hex: String { withUnsafeBytes { Array($0).hex } }
}

/// A token with the issuer's and the bank's keys, shared by the tests of this process.
enum OOPAToken {
    static func keys() throws -> PKCS11KeyStore { try shared.get() }

    private static let shared = Result {
        let store = try TemporaryToken().open()
        try store.withSessionBlocking { session in
            _ = try IssuerKey.createMissing(in: session)
            _ = try BankKey.createMissing(in: session)
        }
        return store
    }
}
