import ByteCoding
import CardData
public import KeyCustody
public import PaymentPorts

/// Gives an issuer key its next version, and moves what was made under the old one.
///
/// A version exists when the ledger says so, which it does after the key is in the token: killed in between, the next
/// rotation takes the key that is there. Both versions can be used at every moment; what is moved is moved in small
/// durable commits beside running payments, and what was begun is finished by the next call.
public struct KeyRotation: Sendable {
    public typealias Stores = CardStore & KeyRotationStore

    private let keys: any KeyStore
    private let stores: any Stores
    private let time: any TimeSource

    public init(keys: any KeyStore, stores: any Stores, time: any TimeSource) {
        self.keys = keys
        self.stores = stores
        self.time = time
    }

    /// What became of one key.
    public struct Begun: Hashable, Sendable {
        public let key: IssuerKey
        /// The current version.
        public let version: Int
        /// `false`: an earlier rotation is not finished, and goes on.
        public let isNew: Bool
        /// Whether a key ceremony had brought the version, and it was not made now.
        public let isImported: Bool
        /// KCV in hexadecimal; `nil` where the key has none.
        public let checkValue: String?
    }

    /// Makes the next version of `key` the current one, unless PANs are still to be moved to the current one.
    /// Only one process at a time may do this with a token.
    /// - Parameter ceremonies: labels of keys that the sealed transcripts of key ceremonies tell of. One that is in the
    ///   token already under the next version's label, and was not made there, is taken only if it is among them.
    /// - Throws: ``IssuingError`` `.conflict` at version 255, and for a key that is not ours; `KeyStoreError`, `StoreError`.
    public func begin(_ key: IssuerKey, ceremonies: Set<String> = []) async throws -> Begun {
        let uses = Self.moved.contains(key) ? try await stores.keyUses(of: [key], at: time.now()) : []
        let current = try await stores.keyVersions().current(key)
        guard !uses.contains(where: { $0.movable > 0 }) else {
            return Begun(key: key, version: current, isNew: false, isImported: false, checkValue: nil)
        }
        let next = current + 1
        guard IssuerKey.versions.contains(next) else {
            throw IssuingError(
                .conflict, "the key '\(key.rawValue)' has \(current) versions, and no chip can name another",
                advice: "Make a new issuer with 'ecard init'")
        }
        let (isImported, checkValue) = try await keys.withSession { session in
            if try session.keys(prefix: key.label(next)).allSatisfy({ $0.label != key.label(next) }) {
                _ = try session.generate(key.template(next))
            }
            let made = try session.key(key, next)
            let attributes = try session.attributes(of: made)
            try Self.require(key.template(next), in: attributes, ceremonies)
            return (!attributes.local, try key.checkValue(of: made, in: session))
        }
        try await stores.makeCurrent(next, of: key, checkValue: checkValue, at: time.now())
        return Begun(key: key, version: next, isNew: true, isImported: isImported, checkValue: checkValue)
    }

    /// A key that is in the token already, under the label of the next version, is of a rotation that was killed, of a key
    /// ceremony, or of somebody who wants theirs used.
    private static func require(
        _ template: KeyTemplate, in attributes: KeyAttributes, _ ceremonies: Set<String>
    ) throws {
        guard attributes.type == template.type, attributes.usage == template.usage, attributes.sensitive,
            !attributes.extractable
        else {
            throw IssuingError(
                .conflict,
                "the token has a key '\(attributes.label)' that is \(attributes.type), may \(attributes.usage)",
                advice: "A key of ours is \(template.type), may \(template.usage) and never leaves. Find out whose "
                    + "it is, and remove or rename it")
        }
        guard attributes.local || ceremonies.contains(attributes.label) else {
            throw IssuingError(
                .conflict,
                "the key '\(attributes.label)' was not made in the token, and no transcript of a key ceremony tells of it",
                advice: "Somebody may know it. Put the transcript back into 'ceremonies', or remove the key")
        }
    }

    /// The keys under which ``rewrap(progress:)`` moves what is there.
    private static let moved: [IssuerKey] = [.pan, .panIndex]

    /// How many cards' PANs are sealed or indexed under older versions.
    public func remaining() async throws -> Int {
        // A card under both an old PAN key and an old index key is moved once.
        try await stores.keyUses(of: Self.moved, at: time.now()).reduce(into: [IssuerKey: Int]()) { counts, use in
            counts[use.key, default: 0] += use.movable
        }.values.max() ?? 0
    }

    /// Seals and indexes every PAN under the current versions, some at a time, each batch in one durable commit.
    /// - Parameter progress: called with how many more were moved.
    /// - Returns: how many were moved.
    /// - Throws: ``IssuingError`` `.verificationFailed` when all but PANs that do not open any more were moved.
    public func rewrap(progress: @Sendable (Int) -> Void = { _ in }) async throws -> Int {
        var moved = 0
        // Again from the start until nothing is left: a process that did not know the new version yet may have made cards.
        while true {
            let before = moved
            var damaged: [CardID] = []
            var last: CardID?
            while true {
                let cards = try await stores.cardsToRewrap(after: last, limit: Self.batch)
                guard let end = cards.last else { break }
                last = end.id
                let (pans, unreadable) = try await rewrapped(cards)
                damaged += unreadable
                let count = try await stores.rewrap(pans, at: time.now())
                moved += count
                progress(count)
            }
            guard moved == before else { continue }
            guard damaged.isEmpty else { throw Self.refused(damaged) }
            return moved
        }
    }

    /// Few enough that a payment waits some milliseconds for the commit at most.
    private static let batch = 50

    private static func refused(_ damaged: [CardID]) -> IssuingError {
        IssuingError(
            .verificationFailed,
            "the sealed PAN of \(damaged.prefix(5).map(\.rawValue).joined(separator: ", "))"
                + "\(damaged.count > 5 ? " and \(damaged.count - 5) more" : "") does not open; all others were moved",
            advice: "Run 'ecard ledger verify'. Until these records are mended the old version is needed")
    }

    /// - Returns: what can be moved, and the cards whose PAN does not open.
    private func rewrapped(_ cards: [Card]) async throws -> (pans: [RewrappedPAN], damaged: [CardID]) {
        let versions = try await stores.keyVersions()
        return try await keys.withSession { session in
            var damaged: [CardID] = []
            let pans = try cards.compactMap { card -> RewrappedPAN? in
                let pan: PAN
                do {
                    pan = try PANVault.pan(of: card, in: session)
                } catch let error as KeyStoreError where error.kind == .invalidCiphertext {
                    damaged.append(card.id)
                    return nil
                }
                var after = card.keys
                after.pan = versions.current(.pan)
                after.panIndex = versions.current(.panIndex)
                return RewrappedPAN(
                    card: card.id, before: card.keys,
                    sealed: try PANVault.seal(pan, for: card.id, keyVersion: after.pan, in: session),
                    index: try PANVault.index(of: pan, keyVersion: after.panIndex, in: session), after: after)
            }
            return (pans, damaged)
        }
    }

    /// Ends a version for good: in the ledger first, so that nothing new can come under it, then in the token. A repeat
    /// finishes what was killed in between.
    /// - Returns: whether the key was still in the token.
    /// - Throws: `StoreError` `.conflict` while anything depends on it.
    public func retire(_ key: IssuerKey, _ version: Int) async throws -> Bool {
        try await stores.retire(version, of: key, at: time.now())
        return try await keys.withSession { session in
            do throws(KeyStoreError) {
                try session.destroyKey(labelled: key.label(version))
                return true
            } catch {
                guard error.kind == .keyNotFound else { throw error }
                return false
            }
        }
    }
}

extension IssuerKey {
    /// KCV in hexadecimal; `nil` for a key that has none, or of which the token keeps none and which may only derive.
    public func checkValue(of handle: KeyHandle, in session: any KeySession) throws(KeyStoreError) -> String? {
        guard let kind = checkValueKind else { return nil }
        do throws(KeyStoreError) {
            return try session.checkValue(of: handle, kind).hex
        } catch {
            guard error.kind == .notPermitted else { throw error }
            return nil
        }
    }
}
