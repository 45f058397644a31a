import ByteCoding
public import KeyCustody
public import Synchronization

/// A key store that writes down what was called and can fail: how much the HSM works, and what a failing one does.
public final class ProbedKeyStore: KeyStore {
    let inner: any KeyStore
    private let seen = Mutex<[String]>([])
    private let failing = Mutex<Set<String>>([])

    public init(_ inner: any KeyStore) { self.inner = inner }

    public var name: String { inner.name }
    /// The calls since the last ``forget()``, in order.
    public var calls: [String] { seen.withLock { $0 } }
    public func forget() { seen.withLock { $0 = [] } }
    /// Takes the place of the store's generator.
    public let generator = Mutex<(@Sendable (_ count: Int) -> [UInt8])?>(nil)
    /// Makes these calls throw.
    public func fail(_ calls: Set<String>) { failing.withLock { $0 = calls } }

    public func withSession<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) async throws -> Result {
        note("session")
        return try await inner.withSession { try body(ProbedSession(inner: $0, probe: self)) }
    }

    public func withSessionBlocking<Result>(_ body: (any KeySession) throws -> Result) throws -> Result {
        note("session")
        return try inner.withSessionBlocking { try body(ProbedSession(inner: $0, probe: self)) }
    }

    private func note(_ call: String) { seen.withLock { $0.append(call) } }

    fileprivate func enter(_ call: String) throws(KeyStoreError) {
        note(call)
        if failing.withLock({ $0.contains(call) }) {
            throw KeyStoreError(.deviceRemoved, call: call, code: "CKR_DEVICE_REMOVED (0x32)", advice: "A test did it")
        }
    }
}

private struct ProbedSession: KeySession {
    let inner: any KeySession
    let probe: ProbedKeyStore

    func key(_ label: String) throws(KeyStoreError) -> KeyHandle {
        try probe.enter("key \(label)")
        return try inner.key(label)
    }
    func keys(prefix: String) throws(KeyStoreError) -> [KeyAttributes] {
        try probe.enter("keys")
        return try inner.keys(prefix: prefix)
    }
    func attributes(of key: KeyHandle) throws(KeyStoreError) -> KeyAttributes {
        try probe.enter("attributes")
        return try inner.attributes(of: key)
    }
    func generate(_ template: KeyTemplate) throws(KeyStoreError) -> KeyHandle {
        try probe.enter("generate")
        return try inner.generate(template)
    }
    func derive(
        _ template: KeyTemplate, from base: KeyHandle, by derivation: Derivation
    ) throws(KeyStoreError) -> KeyHandle {
        try probe.enter("derive")
        return try inner.derive(template, from: base, by: derivation)
    }
    func importSecret(_ template: KeyTemplate, value: SecretBytes) throws(KeyStoreError) -> KeyHandle {
        try probe.enter("import")
        return try inner.importSecret(template, value: value)
    }
    func importRSAPublicKey(_ key: RSAPublicKey, usage: KeyUsage) throws(KeyStoreError) -> KeyHandle {
        try probe.enter("import")
        return try inner.importRSAPublicKey(key, usage: usage)
    }
    func destroy(_ key: KeyHandle) throws(KeyStoreError) {
        try probe.enter("destroy")
        try inner.destroy(key)
    }
    func destroyKey(labelled label: String) throws(KeyStoreError) {
        try probe.enter("destroy")
        try inner.destroyKey(labelled: label)
    }
    func encrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8] {
        try probe.enter("encrypt")
        return try inner.encrypt(data, with: key, cipher)
    }
    func decrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8] {
        try probe.enter("decrypt")
        return try inner.decrypt(data, with: key, cipher)
    }
    func sign(_ data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm) throws(KeyStoreError) -> [UInt8] {
        try probe.enter("sign")
        return try inner.sign(data, with: key, algorithm)
    }
    func verify(
        _ tag: [UInt8], of data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm
    ) throws(KeyStoreError) -> Bool {
        try probe.enter("verify")
        return try inner.verify(tag, of: data, with: key, algorithm)
    }
    func publicKey(of key: KeyHandle) throws(KeyStoreError) -> P256PublicKey {
        try probe.enter("public key")
        return try inner.publicKey(of: key)
    }
    func sharedSecret(of key: KeyHandle, with peer: P256PublicKey) throws(KeyStoreError) -> SecretBytes {
        try probe.enter("agree")
        return try inner.sharedSecret(of: key, with: peer)
    }
    func signature(ofDigest digest: [UInt8], with key: KeyHandle) throws(KeyStoreError) -> [UInt8] {
        try probe.enter("signature")
        return try inner.signature(ofDigest: digest, with: key)
    }
    func wrap(_ key: KeyHandle, under wrappingKey: KeyHandle, _ method: WrapMethod) throws(KeyStoreError) -> [UInt8] {
        try probe.enter("wrap")
        return try inner.wrap(key, under: wrappingKey, method)
    }
    func unwrap(
        _ blob: [UInt8], under unwrappingKey: KeyHandle, _ method: WrapMethod, as template: KeyTemplate
    ) throws(KeyStoreError) -> KeyHandle {
        try probe.enter("unwrap")
        return try inner.unwrap(blob, under: unwrappingKey, method, as: template)
    }
    func checkValue(of key: KeyHandle, _ kind: KeyCheckValueKind) throws(KeyStoreError) -> [UInt8] {
        try probe.enter("check value")
        return try inner.checkValue(of: key, kind)
    }
    func random(_ count: Int) throws(KeyStoreError) -> [UInt8] {
        try probe.enter("random")
        if let bytes = probe.generator.withLock({ $0 })?(count) { return bytes }
        return try inner.random(count)
    }
}
