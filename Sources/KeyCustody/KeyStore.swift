public import ByteCoding

/// A key inside a store, by the number the store gave it. Worth nothing outside the session that lent it.
public struct KeyHandle: Hashable, Sendable, RawRepresentable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
}

/// An HSM as the rules see it: a place where keys are made and used and never read.
///
/// A session is borrowed for a batch of calls, because a hop to the store's executor costs several times what one
/// call costs. Handles that a batch creates live until the batch ends, unless it destroys them before.
public protocol KeyStore: Sendable {
    /// Who this is, for messages: `token 'ecard' (SoftHSM v2, serial 1a2b…)`.
    var name: String { get }

    /// Borrows a session on the store's own threads, never on the cooperative pool.
    ///
    /// When the session or the login was lost, it is re-established once. The batch runs again if nothing persistent
    /// was made or destroyed in it; otherwise the error says that the outcome is unknown.
    ///
    /// A store whose calls may hang has a time limit for the whole batch, waiting included, and throws `.timedOut` then:
    /// the batch is given up where it stands, its outcome unknown, and the store goes on without it.
    func withSession<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) async throws -> Result

    /// The same on the calling thread, for callers that are allowed to block. Without a time limit: a call that hangs
    /// hangs the caller.
    func withSessionBlocking<Result>(_ body: (any KeySession) throws -> Result) throws -> Result

    /// The same for callers that are allowed to block but not without end, while they hold a lock for instance: the
    /// batch runs on the store's own threads with the time limit of ``withSession(_:)``, and the calling thread waits.
    func withSessionWaiting<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) throws -> Result
}

extension KeyStore {
    /// For stores whose calls never hang.
    public func withSessionWaiting<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) throws -> Result {
        try withSessionBlocking(body)
    }
}

/// The calls one borrowed session answers. Not `Sendable`: it stays where it was lent.
///
/// Every function throws ``KeyStoreError`` with the call that failed and the key it was about.
public protocol KeySession {
    // MARK: Keys that stay

    /// The working copy of the persistent key with `label`, cached by the store.
    /// - Throws: `.keyNotFound` with the label.
    func key(_ label: String) throws(KeyStoreError) -> KeyHandle

    /// What the store says of the persistent keys whose label begins with `prefix`, sorted by label.
    func keys(prefix: String) throws(KeyStoreError) -> [KeyAttributes]

    /// What the store says of one key.
    func attributes(of key: KeyHandle) throws(KeyStoreError) -> KeyAttributes

    // MARK: Making and ending

    /// A new secret key, made inside the store; for ``KeyType/p256`` a new key pair, of which this is the private half.
    func generate(_ template: KeyTemplate) throws(KeyStoreError) -> KeyHandle

    /// A secret key from `base`, without either leaving the store.
    func derive(
        _ template: KeyTemplate, from base: KeyHandle, by derivation: Derivation
    ) throws(KeyStoreError) -> KeyHandle

    /// A session copy of a key that came from outside, for published vectors and key ceremonies only; for
    /// ``KeyType/p256`` the private scalar.
    func importSecret(_ template: KeyTemplate, value: SecretBytes) throws(KeyStoreError) -> KeyHandle

    /// A public RSA key of somebody else, to wrap keys to. A session object.
    func importRSAPublicKey(_ key: RSAPublicKey, usage: KeyUsage) throws(KeyStoreError) -> KeyHandle

    /// Ends a session object, or a persistent key if this session made it; a key pair as a whole.
    func destroy(_ key: KeyHandle) throws(KeyStoreError)

    /// Ends a persistent key for good, whoever made it. Whatever is encrypted or sealed under it is lost.
    /// - Throws: `.keyNotFound` with the label.
    func destroyKey(labelled label: String) throws(KeyStoreError)

    // MARK: Using

    func encrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8]
    func decrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8]
    func sign(_ data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm) throws(KeyStoreError) -> [UInt8]

    /// Whether `tag` is right for `data`. The compare happens inside the store. A tag that is wrong or of the wrong
    /// length is `false`, not an error.
    func verify(
        _ tag: [UInt8], of data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm
    ) throws(KeyStoreError) -> Bool

    /// The public half of a key pair, as the store says. ``provenPublicKey(of:)`` does not only take its word.
    func publicKey(of key: KeyHandle) throws(KeyStoreError) -> P256PublicKey

    /// ECDH with cofactor 1 (NIST SP 800-56A revision 3, 5.7.1.2): the x-coordinate of the shared point, 32 bytes.
    ///
    /// The one value that a store computes and gives out, because no store of PKCS #11 v2.40 can go on with it as HPKE
    /// does (RFC 9180, 4.1). It serves one message; the private key stays where it is (docs/custody.md).
    func sharedSecret(of key: KeyHandle, with peer: P256PublicKey) throws(KeyStoreError) -> SecretBytes

    /// ECDSA over a SHA-256 digest (FIPS 186-5, 6.4.1): r ‖ s, 64 bytes.
    /// - Parameter digest: 32 bytes.
    func signature(ofDigest digest: [UInt8], with key: KeyHandle) throws(KeyStoreError) -> [UInt8]

    /// `key`, encrypted under `wrappingKey` inside the store.
    func wrap(_ key: KeyHandle, under wrappingKey: KeyHandle, _ method: WrapMethod) throws(KeyStoreError) -> [UInt8]

    /// The key in `blob`, decrypted inside the store. A session object.
    func unwrap(
        _ blob: [UInt8], under unwrappingKey: KeyHandle, _ method: WrapMethod, as template: KeyTemplate
    ) throws(KeyStoreError) -> KeyHandle

    /// The first bytes of a value that identifies a key without giving it away.
    func checkValue(of key: KeyHandle, _ kind: KeyCheckValueKind) throws(KeyStoreError) -> [UInt8]

    /// Random bytes from the store's generator.
    func random(_ count: Int) throws(KeyStoreError) -> [UInt8]
}

extension KeySession {
    /// Runs `body` with a key and destroys it afterwards, whatever happens.
    @inlinable
    public func using<Result, Failure: Error>(
        _ key: KeyHandle, _ body: (KeyHandle) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // A session object that cannot be destroyed now goes with its session.
        defer { try? destroy(key) }
        return try body(key)
    }
}
