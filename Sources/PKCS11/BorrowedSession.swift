import ByteCoding
import CPKCS11
import KeyCustody

/// The session of one batch: knows which keys the batch may use, names them in errors, and notices when the session or
/// its login is gone.
final class BorrowedSession {
    /// In bytes; the longest that an HMAC test vector has is 131.
    private static let longestKey = 4096

    let connection: Connection
    let pooled: PooledSession
    /// A number is honoured only if this batch got it: modules may give a destroyed key's number to another key.
    ///
    /// Not watched by the runtime at each access, of which there are several a call: a session is one thread's while it is lent,
    /// and nothing that is called here comes back to it.
    @exclusivity(unchecked) var held = HeldKeys()
    private var isOver = false
    /// The error that showed that session, login or working copies are gone.
    private(set) var loss: KeyStoreError?
    /// The last error of any call.
    private var failure: KeyStoreError?
    /// Whether a call may have left an operation open in the session, which would refuse the next batch.
    private(set) var isInDoubt = false
    /// Whether the batch made or destroyed a persistent key, or may have.
    var changedPersistentKeys = false

    init(_ connection: Connection, _ session: PooledSession) {
        self.connection = connection
        pooled = session
    }

    /// Destroys what the batch made and left, or finds out that session, login or working copies are gone.
    func end() {
        isOver = true
        if loss == nil, let failure, connection.isLost(pooled) { loss = failure }
        // After a loss the session is not lent again: what is left dies with it.
        guard loss == nil else { return }
        // What cannot be destroyed dies with its session at the latest.
        for key in held.leftovers { try? pooled.session.destroy(key.rawValue) }
        held = HeldKeys()
    }

    // MARK: Bookkeeping

    /// Refuses a key this batch did not get.
    func require(_ key: KeyHandle, _ call: String) throws(KeyStoreError) {
        if isOver || !held.contains(key) { throw unknownKey(call) }
    }

    private func unknownKey(_ call: String) -> KeyStoreError {
        KeyStoreError(
            .keyNotFound, call: call,
            advice: isOver
                ? "The session was used after its batch ended"
                : "The handle is of a key that was destroyed or belongs to another batch: ask for the key by its label")
    }

    func requireRunning(_ call: @autoclosure () -> String) throws(KeyStoreError) {
        if isOver { throw unknownKey(call()) }
    }

    /// Makes calls; an error names the keys they are about.
    func call<Result>(
        about key: KeyHandle? = nil, _ other: KeyHandle? = nil,
        _ body: (borrowing Session) throws(PKCS11Error) -> Result
    ) throws(KeyStoreError) -> Result {
        do throws(PKCS11Error) {
            return try body(pooled.session)
        } catch {
            let holdings = [key, other].compactMap { key in key.flatMap { held[$0] } }
            // A working copy can only vanish with the session that owns it, or through another program.
            let lostCopy = error.code.meansNoSuchObject && holdings.contains(where: \.isWorkingCopy)
            throw failed(error, holdings.map(\.name), isLoss: lostCopy)
        }
    }

    /// Makes calls for a key that is to be made; an error names it.
    func call<Result>(
        making template: KeyTemplate, _ body: (borrowing Session) throws(PKCS11Error) -> Result
    ) throws(KeyStoreError) -> Result {
        do throws(PKCS11Error) {
            return try body(pooled.session)
        } catch {
            throw failed(error, [template.label ?? template.type.description])
        }
    }

    /// Describes a call's error, and notes when it means that the session is gone.
    func failed(_ error: PKCS11Error, _ names: [String], isLoss: Bool = false) -> KeyStoreError {
        let described = KeyStoreError(error, key: names.isEmpty ? nil : names.joined(separator: "' and '"))
        failure = described
        if error.code.leavesSessionInDoubt { isInDoubt = true }
        if isLoss || error.code.meansLoss { loss = described }
        if error.code.meansSessionGone { pooled.session.abandon() }
        return described
    }

    func adopt(
        _ object: CK_OBJECT_HANDLE, _ template: KeyTemplate, _ verb: String, publicKey: P256PublicKey? = nil
    ) -> KeyHandle {
        let key = KeyHandle(rawValue: object)
        held[key] = HeldKey(template, verb, publicKey: publicKey)
        return key
    }

    /// Checks a template for a new key, and that its label is free.
    func prepare(_ template: KeyTemplate, _ call: String) throws(KeyStoreError) {
        try requireRunning(call)
        guard (1...Self.longestKey).contains(template.type.length) else {
            throw KeyStoreError(
                .invalidArgument, call: call, key: template.label,
                advice: "A key has 1 to \(Self.longestKey) bytes, not \(template.type.length)")
        }
        if template.type == .p256 { try requirePrivateKey(template, call) }
        guard let label = template.label else { return }
        guard !template.extractable else {
            throw KeyStoreError(
                .notPermitted, call: call, key: label, advice: "A persistent key is never extractable: leave it out")
        }
        let taken = try self.call { session throws(PKCS11Error) in
            try session.findKeys(label: label, limit: 1)
        }
        guard taken.isEmpty else {
            throw KeyStoreError(
                .invalidArgument, call: call, key: label,
                advice: "A key with this label exists; two would be ambiguous. Take another label or destroy it first")
        }
        changedPersistentKeys = true
    }

    // MARK: Keys that stay

    func key(_ label: String) throws(KeyStoreError) -> KeyHandle {
        try requireRunning("find key '\(label)'")
        if let key = held.workingCopy(of: label) { return key }
        let found = try call { _ throws(PKCS11Error) in try connection.workingKey(label) }
        switch found {
        case .none:
            throw KeyStoreError(
                .keyNotFound, call: "C_FindObjects", key: label,
                advice: "\(connection.token) has no secret or private key with this label")
        case .several:
            throw KeyStoreError(
                .keyNotFound, call: "C_FindObjects", key: label,
                advice: "More than one key of \(connection.token) has this label: destroy or rename the others")
        case .one(let working):
            let key = KeyHandle(rawValue: working.object)
            // A key that this batch made may come back under its label; it stays this batch's to end.
            if !held.contains(key) { held[key] = HeldKey(label: label, working) }
            return key
        }
    }

    func keys(prefix: String) throws(KeyStoreError) -> [KeyAttributes] {
        try requireRunning("C_FindObjectsInit")
        return try call { session throws(PKCS11Error) in
            var keys: [KeyAttributes] = []
            for object in try session.findKeys() {
                do throws(PKCS11Error) {
                    let attributes = try session.keyAttributes(of: object)
                    if attributes.label.utf8.starts(with: prefix.utf8) { keys.append(attributes) }
                } catch  where error.code.meansNoSuchObject {
                    // Destroyed by somebody else since the list was made.
                    continue
                }
            }
            return keys.sorted { $0.label < $1.label }
        }
    }

    func attributes(of key: KeyHandle) throws(KeyStoreError) -> KeyAttributes {
        try require(key, "C_GetAttributeValue")
        return try call(about: key) { session throws(PKCS11Error) in
            let holding = held[key]
            var attributes = try session.keyAttributes(of: holding?.tokenObject ?? key.rawValue)
            // SoftHSM does not know the length of a key it unwrapped; the batch does.
            if let type = holding?.template?.type, attributes.type.length == 0 { attributes.type = type }
            return attributes
        }
    }
}
