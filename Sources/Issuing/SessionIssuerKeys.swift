public import ByteCoding
public import KeyCustody
import PaymentPorts

/// A session in which the issuer's keys are session objects, gone with it: so that a token which has none of our keys
/// can be measured without writing to it.
public struct SessionIssuerKeys: KeySession {
    private let session: any KeySession
    private let made = Made()

    /// A session is one thread's.
    private final class Made {
        var handles: [String: KeyHandle] = [:]
    }

    public init(in session: any KeySession) { self.session = session }

    /// The first version of an issuer key, made when it is first asked for with the template of the persistent one: a token that cannot make
    /// it is refused for what needs it, and for nothing else.
    public func key(_ label: String) throws(KeyStoreError) -> KeyHandle {
        if let handle = made.handles[label] { return handle }
        guard let key = IssuerKey.allCases.first(where: { $0.label(1) == label }) else { return try session.key(label) }
        let template = key.template(1)
        let handle = try session.generate(KeyTemplate(template.type, template.usage))
        made.handles[label] = handle
        return handle
    }

    public func keys(prefix: String) throws(KeyStoreError) -> [KeyAttributes] { try session.keys(prefix: prefix) }
    public func attributes(of key: KeyHandle) throws(KeyStoreError) -> KeyAttributes { try session.attributes(of: key) }
    public func generate(_ template: KeyTemplate) throws(KeyStoreError) -> KeyHandle { try session.generate(template) }
    public func derive(
        _ template: KeyTemplate, from base: KeyHandle, by derivation: Derivation
    ) throws(KeyStoreError) -> KeyHandle { try session.derive(template, from: base, by: derivation) }
    public func importSecret(_ template: KeyTemplate, value: SecretBytes) throws(KeyStoreError) -> KeyHandle {
        try session.importSecret(template, value: value)
    }
    public func importRSAPublicKey(_ key: RSAPublicKey, usage: KeyUsage) throws(KeyStoreError) -> KeyHandle {
        try session.importRSAPublicKey(key, usage: usage)
    }
    public func destroy(_ key: KeyHandle) throws(KeyStoreError) { try session.destroy(key) }
    public func destroyKey(labelled label: String) throws(KeyStoreError) { try session.destroyKey(labelled: label) }
    public func encrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8] {
        try session.encrypt(data, with: key, cipher)
    }
    public func decrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8] {
        try session.decrypt(data, with: key, cipher)
    }
    public func sign(_ data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm) throws(KeyStoreError) -> [UInt8] {
        try session.sign(data, with: key, algorithm)
    }
    public func verify(
        _ tag: [UInt8], of data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm
    ) throws(KeyStoreError) -> Bool { try session.verify(tag, of: data, with: key, algorithm) }
    public func publicKey(of key: KeyHandle) throws(KeyStoreError) -> P256PublicKey { try session.publicKey(of: key) }
    public func sharedSecret(of key: KeyHandle, with peer: P256PublicKey) throws(KeyStoreError) -> SecretBytes {
        try session.sharedSecret(of: key, with: peer)
    }
    public func signature(ofDigest digest: [UInt8], with key: KeyHandle) throws(KeyStoreError) -> [UInt8] {
        try session.signature(ofDigest: digest, with: key)
    }
    public func wrap(
        _ key: KeyHandle, under wrappingKey: KeyHandle, _ method: WrapMethod
    ) throws(KeyStoreError) -> [UInt8] { try session.wrap(key, under: wrappingKey, method) }
    public func unwrap(
        _ blob: [UInt8], under unwrappingKey: KeyHandle, _ method: WrapMethod, as template: KeyTemplate
    ) throws(KeyStoreError) -> KeyHandle { try session.unwrap(blob, under: unwrappingKey, method, as: template) }
    public func checkValue(of key: KeyHandle, _ kind: KeyCheckValueKind) throws(KeyStoreError) -> [UInt8] {
        try session.checkValue(of: key, kind)
    }
    public func random(_ count: Int) throws(KeyStoreError) -> [UInt8] { try session.random(count) }
}
