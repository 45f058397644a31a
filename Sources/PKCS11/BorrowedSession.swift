import ByteCoding
import CPKCS11
import KeyCustody

/// The session of one batch: knows which keys the batch may use, names them in errors, and notices when the session or
/// its login is gone.
final class BorrowedSession {
    /// Where a key came from decides who ends it.
    enum Origin {
        /// The store's working copy of a persistent key.
        case working(tokenObject: CK_OBJECT_HANDLE)
        /// A session object made by this batch.
        case made
        /// A persistent key made by this batch.
        case persistent
    }

    struct HeldKey {
        let name: String
        let origin: Origin
        /// What the batch knows of it; `nil` for working copies, which are asked when it matters.
        let template: KeyTemplate?
    }

    let connection: Connection
    let pooled: PooledSession
    /// A number is honoured only if this batch got it: modules may give a destroyed key's number to another key.
    var held: [KeyHandle: HeldKey] = [:]
    private var isOver = false
    /// The error that showed that session, login or working copies are gone.
    private(set) var loss: KeyStoreError?
    /// Whether the batch made or destroyed a persistent key, or may have.
    var changedPersistentKeys = false

    init(_ connection: Connection, _ session: PooledSession) {
        self.connection = connection
        pooled = session
    }

    /// Destroys what the batch made and left.
    func end() {
        isOver = true
        guard loss == nil else {
            pooled.session.isOpen = false
            return
        }
        for (key, holding) in held {
            // What cannot be destroyed dies with its session at the latest.
            if case .made = holding.origin { try? pooled.session.destroy(key.rawValue) }
        }
        held = [:]
    }

    // MARK: Bookkeeping

    /// Refuses a key this batch did not get.
    func require(_ key: KeyHandle, _ call: String) throws(KeyStoreError) {
        if held[key] == nil || isOver { throw unknownKey(call) }
    }

    private func unknownKey(_ call: String) -> KeyStoreError {
        KeyStoreError(
            .keyNotFound, call: call,
            advice: isOver
                ? "The session was used after its batch ended"
                : "The handle is of a key that was destroyed or belongs to another batch: ask for it again by its label")
    }

    func requireRunning(_ call: String) throws(KeyStoreError) {
        if isOver { throw unknownKey(call) }
    }

    /// Turns a call's error into one that names the key, and notes when it means that the session is gone.
    func failed(_ error: PKCS11Error, _ keys: KeyHandle...) -> KeyStoreError {
        let names = keys.compactMap { held[$0]?.name }
        let described = KeyStoreError(error, key: names.isEmpty ? nil : names.joined(separator: "' with '"))
        // A working copy can only vanish with the session that owns it, or through another program.
        let lostCopy = error.code.meansNoSuchObject && keys.contains { held[$0]?.isWorkingCopy ?? false }
        if error.code.meansLoss || lostCopy { loss = described }
        return described
    }

    /// The same for a key that was to be made.
    func failed(_ error: PKCS11Error, naming template: KeyTemplate) -> KeyStoreError {
        let described = KeyStoreError(error, key: template.label ?? template.type.description)
        if error.code.meansLoss { loss = described }
        return described
    }

    func adopt(_ object: CK_OBJECT_HANDLE, _ template: KeyTemplate, _ verb: String) -> KeyHandle {
        let key = KeyHandle(rawValue: object)
        held[key] = HeldKey(
            name: template.label ?? "\(verb) \(template.type)", origin: template.label == nil ? .made : .persistent,
            template: template)
        return key
    }

    /// Checks a template for a new key, and that its label is free.
    func prepare(_ template: KeyTemplate, _ call: String) throws(KeyStoreError) {
        try requireRunning(call)
        guard let label = template.label else { return }
        guard !template.extractable else {
            throw KeyStoreError(
                .notPermitted, call: call, key: label, advice: "A persistent key is never extractable: leave it out")
        }
        let taken: [CK_OBJECT_HANDLE]
        do throws(PKCS11Error) {
            taken = try pooled.session.find(.persistentSecretKeys(label: label), limit: 1)
        } catch {
            throw failed(error)
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
        let working: WorkingKey?
        do throws(PKCS11Error) {
            working = try connection.workingKey(label)
        } catch where error.code == .templateInconsistent {
            throw KeyStoreError(
                .keyNotFound, call: error.call, key: label,
                advice: "More than one key of the token has this label: destroy or rename the others")
        } catch {
            let described = KeyStoreError(error, key: label)
            if error.code.meansLoss { loss = described }
            throw described
        }
        guard let working else {
            throw KeyStoreError(
                .keyNotFound, call: "C_FindObjects", key: label,
                advice: "\(connection.token) has no secret key with this label")
        }
        let key = KeyHandle(rawValue: working.object)
        if held[key] == nil {
            held[key] = HeldKey(name: label, origin: .working(tokenObject: working.tokenObject), template: nil)
        }
        return key
    }

    func keys(prefix: String) throws(KeyStoreError) -> [KeyAttributes] {
        try requireRunning("C_FindObjectsInit")
        do throws(PKCS11Error) {
            var keys: [KeyAttributes] = []
            for object in try pooled.session.find(.persistentSecretKeys()) {
                let attributes = try pooled.session.keyAttributes(of: object)
                if attributes.label.utf8.starts(with: prefix.utf8) { keys.append(attributes) }
            }
            return keys.sorted { $0.label < $1.label }
        } catch {
            throw failed(error)
        }
    }

    func attributes(of key: KeyHandle) throws(KeyStoreError) -> KeyAttributes {
        try require(key, "C_GetAttributeValue")
        do throws(PKCS11Error) {
            return try pooled.session.keyAttributes(of: held[key]?.tokenObject ?? key.rawValue)
        } catch {
            throw failed(error, key)
        }
    }
}

extension BorrowedSession.HeldKey {
    var isWorkingCopy: Bool { if case .working = origin { true } else { false } }

    /// The persistent key behind a working copy: its attributes are the true ones, a copy's say less.
    var tokenObject: CK_OBJECT_HANDLE? { if case .working(let object) = origin { object } else { nil } }
}
