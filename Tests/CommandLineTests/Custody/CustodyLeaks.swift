import ByteCoding
import CardData
import ECardTesting
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import PKCS11
import SmartCard
import Synchronization

@testable import VirtualCard

/// A program that gives a key away, each in its own manner. None is a change of the product: they stand between it and
/// the token, or between it and the chip.
enum CustodyLeak: String, CaseIterable, Sendable {
    case none = "none: the same way without a leak"
    case readable = "a card key derived readable, and read with C_GetAttributeValue"
    case imported = "card keys computed in the host and imported with C_CreateObject"
    case encrypted = "a card key got with C_Encrypt under a master key"
    case plainInChannel = "a card key sent to the chip unwrapped, inside the secure channel"
    case plainCommand = "half a card key sent in a command, outside the secure channel"
    case log = "a card key without its parity bits, in hexadecimal, in a log"
    case error = "a card key in base64 in a message"
    case publicWrap = "card keys wrapped under the public keys 40..4F"
    case strangersKey = "card manager keys wrapped to a stranger's RSA key"

    /// What the test tells the leaking program: the keys that it has to give away.
    struct Values: Sendable {
        let masterKey: [UInt8]
        /// AC, SMI, SMC, in this order.
        let cardKeys: [[UInt8]]
    }
}

/// A key store whose sessions leak.
final class LeakingKeyStore: KeyStore {
    private let inner: any KeyStore
    private let leak: CustodyLeak
    private let values: CustodyLeak.Values
    private let log: @Sendable (String) -> Void

    /// - Parameter log: where this program logs.
    init(
        _ inner: any KeyStore, _ leak: CustodyLeak, _ values: CustodyLeak.Values,
        log: @escaping @Sendable (String) -> Void
    ) {
        self.inner = inner
        self.leak = leak
        self.values = values
        self.log = log
    }

    var name: String { inner.name }

    func withSession<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) async throws -> Result {
        try await inner.withSession { [leak, values, log] in
            try body(LeakingSession(inner: $0, leak: leak, values: values, log: log))
        }
    }

    func withSessionBlocking<Result>(_ body: (any KeySession) throws -> Result) throws -> Result {
        try inner.withSessionBlocking { try body(LeakingSession(inner: $0, leak: leak, values: values, log: log)) }
    }
}

/// All calls but the leaking ones go through.
private struct LeakingSession: KeySession {
    let inner: any KeySession
    let leak: CustodyLeak
    let values: CustodyLeak.Values
    let log: @Sendable (String) -> Void

    /// Card keys on their way into the chip are derived so.
    private static let inTransit = KeyTemplate(.des2, [], extractable: true)

    func derive(
        _ template: KeyTemplate, from base: KeyHandle, by derivation: Derivation
    ) throws(KeyStoreError) -> KeyHandle {
        guard template == Self.inTransit, case .des3ECBEncrypt(let data) = derivation else {
            return try inner.derive(template, from: base, by: derivation)
        }
        switch leak {
        case .imported: return try inner.importSecret(template, value: SecretBytes(values.cardKeys[0]))
        case .encrypted:
            let master = try inner.importSecret(KeyTemplate(.des2, .encrypt), value: SecretBytes(values.masterKey))
            let key = try inner.encrypt(data, with: master, .des3ECB)
            return try inner.importSecret(template, value: SecretBytes(key))
        default: return try inner.derive(template, from: base, by: derivation)
        }
    }

    func wrap(_ key: KeyHandle, under wrappingKey: KeyHandle, _ method: WrapMethod) throws(KeyStoreError) -> [UInt8] {
        guard case .aesCBC = method else { return try inner.wrap(key, under: wrappingKey, method) }
        switch leak {
        case .plainInChannel: return values.cardKeys[0]
        case .publicWrap:
            let known = try inner.importSecret(
                KeyTemplate(.aes(bytes: 16), .wrap), value: SecretBytes(CustodyExamination.publicKey))
            return try inner.wrap(key, under: known, method)
        case .log: log("wrapping \(values.cardKeys[0].map { $0 & 0xFE }.hex.lowercased()) for the chip")
        case .error: log("cannot wrap (\(Data(values.cardKeys[0]).base64EncodedString())): try again")
        default: break
        }
        return try inner.wrap(key, under: wrappingKey, method)
    }

    func importRSAPublicKey(_ key: RSAPublicKey, usage: KeyUsage) throws(KeyStoreError) -> KeyHandle {
        guard leak == .strangersKey, let stranger = try? RSAKeyPair().publicKey() else {
            return try inner.importRSAPublicKey(key, usage: usage)
        }
        return try inner.importRSAPublicKey(stranger, usage: usage)
    }

    func key(_ label: String) throws(KeyStoreError) -> KeyHandle { try inner.key(label) }
    func publicKey(of key: KeyHandle) throws(KeyStoreError) -> P256PublicKey { try inner.publicKey(of: key) }
    func sharedSecret(of key: KeyHandle, with peer: P256PublicKey) throws(KeyStoreError) -> SecretBytes {
        try inner.sharedSecret(of: key, with: peer)
    }
    func signature(ofDigest digest: [UInt8], with key: KeyHandle) throws(KeyStoreError) -> [UInt8] {
        try inner.signature(ofDigest: digest, with: key)
    }
    func keys(prefix: String) throws(KeyStoreError) -> [KeyAttributes] { try inner.keys(prefix: prefix) }
    func attributes(of key: KeyHandle) throws(KeyStoreError) -> KeyAttributes { try inner.attributes(of: key) }
    func generate(_ template: KeyTemplate) throws(KeyStoreError) -> KeyHandle { try inner.generate(template) }
    func importSecret(_ template: KeyTemplate, value: SecretBytes) throws(KeyStoreError) -> KeyHandle {
        try inner.importSecret(template, value: value)
    }
    func destroy(_ key: KeyHandle) throws(KeyStoreError) { try inner.destroy(key) }
    func destroyKey(labelled label: String) throws(KeyStoreError) { try inner.destroyKey(labelled: label) }
    func encrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8] {
        try inner.encrypt(data, with: key, cipher)
    }
    func decrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8] {
        try inner.decrypt(data, with: key, cipher)
    }
    func sign(_ data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm) throws(KeyStoreError) -> [UInt8] {
        try inner.sign(data, with: key, algorithm)
    }
    func verify(
        _ tag: [UInt8], of data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm
    ) throws(KeyStoreError) -> Bool { try inner.verify(tag, of: data, with: key, algorithm) }
    func unwrap(
        _ blob: [UInt8], under unwrappingKey: KeyHandle, _ method: WrapMethod, as template: KeyTemplate
    ) throws(KeyStoreError) -> KeyHandle { try inner.unwrap(blob, under: unwrappingKey, method, as: template) }
    func checkValue(of key: KeyHandle, _ kind: KeyCheckValueKind) throws(KeyStoreError) -> [UInt8] {
        try inner.checkValue(of: key, kind)
    }
    func random(_ count: Int) throws(KeyStoreError) -> [UInt8] { try inner.random(count) }
}

/// A way to the chip on which something careless sends a piece of a key along.
final class LeakingChannel: CardChannel {
    private let inner: any CardChannel
    private let piece: [UInt8]

    init(_ inner: any CardChannel, piece: [UInt8]) {
        self.inner = inner
        self.piece = piece
    }

    var answerToReset: ATR { inner.answerToReset }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        // PUT DATA, which the chip refuses, before its secure channel begins.
        if command.count > 1, command[1] == 0x50 {
            _ = try await inner.transmit([0x00, 0xDA, 0x01, 0x01, UInt8(piece.count)] + piece)
        }
        return try await inner.transmit(command)
    }
}
