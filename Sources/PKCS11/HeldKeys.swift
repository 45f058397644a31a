import CPKCS11
import KeyCustody

/// A key that a batch may use: what it is called in messages, and who ends it. One object and not a value, because to hand
/// several strings about costs more.
final class HeldKey {
    /// Where a key came from decides who ends it.
    enum Origin {
        /// The store's working copy of a persistent key.
        case working(tokenObject: CK_OBJECT_HANDLE)
        /// A session object made by this batch.
        case made
        /// A persistent key made by this batch.
        case persistent
    }

    let origin: Origin
    /// What the batch knows of it; `nil` for working copies, which are asked when it matters.
    let template: KeyTemplate?
    /// Of a key pair.
    let publicKey: P256PublicKey?
    /// A persistent key's label, or how a session object came to be: `derived`.
    private let word: String

    /// A working copy of the persistent key with `label`.
    init(label: String, _ working: WorkingKey) {
        origin = .working(tokenObject: working.tokenObject)
        template = nil
        publicKey = working.publicKey
        word = label
    }

    /// A key that this batch made.
    init(_ template: KeyTemplate, _ verb: String, publicKey: P256PublicKey? = nil) {
        origin = template.label == nil ? .made : .persistent
        self.template = template
        self.publicKey = publicKey
        word = template.label ?? verb
    }

    /// For messages: the label, or `derived 3DES (2 keys)`.
    var name: String {
        guard case .made = origin, let template else { return word }
        return "\(word) \(template.type)"
    }

    var isWorkingCopy: Bool { if case .working = origin { true } else { false } }
    /// Whether this batch made it to stay.
    var isPersistent: Bool { if case .persistent = origin { true } else { false } }

    /// The persistent key behind a working copy: its attributes are the true ones, a copy's say less.
    var tokenObject: CK_OBJECT_HANDLE? { if case .working(let object) = origin { object } else { nil } }

    fileprivate func isWorkingCopy(of label: String) -> Bool { isWorkingCopy && word == label }
}

/// The keys of one batch by their numbers. Scanned and not hashed: a batch holds few keys, and most calls are about the
/// one that came last.
struct HeldKeys {
    private var entries: [(key: KeyHandle, holding: HeldKey)] = []

    subscript(key: KeyHandle) -> HeldKey? {
        get { if let index = index(of: key) { entries[index].holding } else { nil } }
        set {
            switch (index(of: key), newValue) {
            case (let index?, let holding?): entries[index].holding = holding
            case (nil, let holding?): entries.append((key, holding))
            case (let index?, nil): entries.remove(at: index)
            case (nil, nil): break
            }
        }
    }

    func contains(_ key: KeyHandle) -> Bool { index(of: key) != nil }

    /// The working copy that the batch has of the persistent key with `label`.
    func workingCopy(of label: String) -> KeyHandle? {
        entries.first { $0.holding.isWorkingCopy(of: label) }?.key
    }

    /// Drops the working copies of a persistent key that was destroyed.
    mutating func forgetCopies(of tokenObject: CK_OBJECT_HANDLE) {
        entries.removeAll { $0.holding.tokenObject == tokenObject }
    }

    /// The session objects that the batch made and has not ended.
    var leftovers: [KeyHandle] {
        entries.compactMap { if case .made = $0.holding.origin { $0.key } else { nil } }
    }

    private func index(of key: KeyHandle) -> Int? {
        var index = entries.count
        while index > 0 {
            index -= 1
            if entries[index].key == key { return index }
        }
        return nil
    }
}
