import ByteCoding
import KeyCustody
import PaymentPorts
import SmartCard
import Synchronization

/// A key store that writes down what was called and can fail: how much the HSM works, and what a failing one does.
final class ProbedKeyStore: KeyStore {
    let inner: any KeyStore
    private let seen = Mutex<[String]>([])
    private let failing = Mutex<Set<String>>([])

    init(_ inner: any KeyStore) { self.inner = inner }

    var name: String { inner.name }
    /// The calls since the last ``forget()``, in order.
    var calls: [String] { seen.withLock { $0 } }
    func forget() { seen.withLock { $0 = [] } }
    /// Takes the place of the store's generator.
    let generator = Mutex<(@Sendable (_ count: Int) -> [UInt8])?>(nil)
    /// Makes these calls throw.
    func fail(_ calls: Set<String>) { failing.withLock { $0 = calls } }

    func withSession<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) async throws -> Result {
        note("session")
        return try await inner.withSession { try body(ProbedSession(inner: $0, probe: self)) }
    }

    func withSessionBlocking<Result>(_ body: (any KeySession) throws -> Result) throws -> Result {
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

/// A ledger between whose two commits a test stands: it can look, change something, or crash there.
final class ProbedStores: CardStore, CodeStore, PaymentStore {
    let ledger: any IssuerStores
    private let seen = Mutex<[String]>([])
    private let hook = Mutex<(@Sendable (PaymentDecision) async throws -> Void)?>(nil)

    init(_ ledger: any IssuerStores) { self.ledger = ledger }

    /// The writes since the last ``forget()``: each is one durable commit.
    var commits: [String] { seen.withLock { $0 } }
    func forget() { seen.withLock { $0 = [] } }
    /// Runs `body` before every second commit; what it throws keeps the commit from happening.
    func beforeDecision(_ body: (@Sendable (PaymentDecision) async throws -> Void)?) { hook.withLock { $0 = body } }

    private func note(_ commit: String) { seen.withLock { $0.append(commit) } }

    func begin(_ attempt: PaymentAttempt) async throws -> AttemptOutcome {
        note("begin")
        return try await ledger.begin(attempt)
    }
    func decide(_ decision: PaymentDecision) async throws -> DecisionOutcome {
        try await hook.withLock { $0 }?(decision)
        note("decide")
        return try await ledger.decide(decision)
    }
    func confirm(
        _ id: PaymentID, capture: PaymentDecision.Capture, at time: Timestamp
    ) async throws -> Payment {
        note("confirm")
        return try await ledger.confirm(id, capture: capture, at: time)
    }
    func capture(_ id: PaymentID, minorUnits: Int64?, at time: Timestamp) async throws -> Payment {
        note("capture")
        return try await ledger.capture(id, minorUnits: minorUnits, at: time)
    }
    func release(_ id: PaymentID, to state: Payment.State, reason: String, at time: Timestamp) async throws -> Payment {
        note("release")
        return try await ledger.release(id, to: state, reason: reason, at: time)
    }
    func refund(_ id: PaymentID, minorUnits: Int64?, idempotencyKey: String, at time: Timestamp) async throws -> Payment
    {
        note("refund")
        return try await ledger.refund(id, minorUnits: minorUnits, idempotencyKey: idempotencyKey, at: time)
    }
    func payment(_ id: PaymentID) async throws -> Payment? { try await ledger.payment(id) }
    func payments(of card: CardID?, limit: Int) async throws -> [Payment] {
        try await ledger.payments(of: card, limit: limit)
    }
    func expireHolds(at time: Timestamp) async throws -> Int {
        note("expire")
        return try await ledger.expireHolds(at: time)
    }

    func add(_ card: Card) async throws {
        note("card")
        try await ledger.add(card)
    }
    func card(_ id: CardID) async throws -> Card? { try await ledger.card(id) }
    func keyVersions() async throws -> KeyVersions { try await ledger.keyVersions() }
    func card(panIndices: [[UInt8]]) async throws -> Card? { try await ledger.card(panIndices: panIndices) }
    func cards(limit: Int?) async throws -> [Card] { try await ledger.cards(limit: limit) }
    func setState(
        _ new: Card.State, of card: CardID, from states: Set<Card.State>, isExposed: Bool, at time: Timestamp
    ) async throws {
        note("card \(new.rawValue)")
        try await ledger.setState(new, of: card, from: states, isExposed: isExposed, at: time)
    }

    func beginPersonalizing(_ card: CardID, under keys: ChipKeys, at time: Timestamp) async throws {
        note("card personalizing")
        try await ledger.beginPersonalizing(card, under: keys, at: time)
    }
    func kmcVersion(of card: CardID) async throws -> Int? { try await ledger.kmcVersion(of: card) }
    func bind(chip: [UInt8], to card: CardID, kmc: Int, at time: Timestamp) async throws -> Int {
        note("chip")
        return try await ledger.bind(chip: chip, to: card, kmc: kmc, at: time)
    }

    func code(of card: CardID) async throws -> CodeRecord? { try await ledger.code(of: card) }
    func add(_ code: CodeRecord, mailer: Mailer?) async throws {
        note("code")
        try await ledger.add(code, mailer: mailer)
    }
    func setState(
        _ new: CodeRecord.State, of card: CardID, from states: Set<CodeRecord.State>, at time: Timestamp
    ) async throws {
        note("code \(new.rawValue)")
        try await ledger.setState(new, of: card, from: states, at: time)
    }
}

/// A card that is pulled out of its reader at one command.
final class BreakingChannel: CardChannel {
    enum Moment: Sendable, CaseIterable {
        /// The chip never sees the command.
        case before
        /// The chip does what it was asked, and nobody hears its answer.
        case after
    }

    private let inner: any CardChannel
    private let number: Int
    private let moment: Moment
    private let seen = Mutex(0)

    /// - Parameter number: which command, counted from 0; one beyond the dialogue breaks nothing.
    init(_ inner: any CardChannel, at number: Int, _ moment: Moment) {
        self.inner = inner
        self.number = number
        self.moment = moment
    }

    /// How many commands were sent.
    var count: Int { seen.withLock { $0 } }
    var answerToReset: ATR { inner.answerToReset }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let index = seen.withLock { seen in
            defer { seen += 1 }
            return seen
        }
        guard index >= number else { return try await inner.transmit(command) }
        if index == number, moment == .after { _ = try await inner.transmit(command) }
        throw CardError(.cardRemoved, "test reader, command \(index)", advice: "Insert it again")
    }
}

/// A reader that changes what the card says.
final class RewritingChannel: CardChannel {
    private let inner: any CardChannel
    private let rewrite: @Sendable (_ command: [UInt8], _ answer: [UInt8]) -> [UInt8]

    init(_ inner: any CardChannel, _ rewrite: @escaping @Sendable (_ command: [UInt8], _ answer: [UInt8]) -> [UInt8]) {
        self.inner = inner
        self.rewrite = rewrite
    }

    var answerToReset: ATR { inner.answerToReset }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        rewrite(command, try await inner.transmit(command))
    }
}

/// Lets nobody on before all have come.
actor Gathering {
    private var missing: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(of count: Int) { missing = count }

    func arrive() async {
        missing -= 1
        guard missing > 0 else {
            for continuation in waiting { continuation.resume() }
            waiting = []
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }
}
