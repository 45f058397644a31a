/// The issuer's keys: one key, one use, all made inside the token and never leaving it (docs/custody.md). Each has
/// versions, 1, 2, 3 …, and everything that is stored names the version it was made under.
public enum IssuerKey: String, CaseIterable, Sendable {
    /// Wraps key populations that live outside the token.
    case storage
    /// Seals PANs at rest (AES-GCM).
    case pan
    /// Indexes PANs (HMAC), so that a card is found without opening any PAN.
    case panIndex = "pan-index"
    /// Hashes secret codes.
    case code
    /// Seals codes on their way to their holders (AES-GCM).
    case delivery
    /// The key pair that codes on their way to the issuer are sealed to (HPKE): ECDH only. Its version is the key-id byte
    /// before each of them.
    case codeSeal = "code-seal"
    /// Seals the audit chain.
    case audit
    /// Seed of the CVK (card verification key) halves.
    case cvkSeed = "cvk-seed"
    /// IMK-AC: issuer master key for application cryptograms.
    case imkAC = "imk-ac"
    /// IMK-SMI: issuer master key for secure messaging integrity.
    case imkSMI = "imk-smi"
    /// IMK-SMC: issuer master key for secure messaging confidentiality.
    case imkSMC = "imk-smc"
    /// KMC: master key of the card manager keys.
    case kmc
}

/// Which versions of the issuer's keys there are. Version 1 of each is there from the start.
public struct KeyVersions: Hashable, Sendable {
    /// Raised by every change: what was computed under these versions is right while it stays.
    public let generation: Int64
    private let newest: [IssuerKey: Int]
    private let retired: [IssuerKey: Set<Int>]

    /// - Parameters:
    ///   - newest: of the keys that were rotated.
    ///   - retired: versions that were ended.
    public init(generation: Int64 = 0, newest: [IssuerKey: Int] = [:], retired: [IssuerKey: Set<Int>] = [:]) {
        self.generation = generation
        self.newest = newest
        self.retired = retired
    }

    /// The version that new things are made under.
    public func current(_ key: IssuerKey) -> Int { newest[key] ?? 1 }

    /// Every version that something may still be under, ascending; the last is the current one.
    public func live(_ key: IssuerKey) -> [Int] {
        let retired = retired[key] ?? []
        return (1...current(key)).filter { !retired.contains($0) }
    }

    public func isLive(_ key: IssuerKey, _ version: Int) -> Bool {
        (1...current(key)).contains(version) && retired[key]?.contains(version) != true
    }
}

/// The key versions a card's row was made under.
public struct CardKeys: Hashable, Sendable {
    /// Of the sealed PAN.
    public var pan: Int
    /// Of the PAN index.
    public var panIndex: Int
    /// Of the seed by which the PAN was seen to have no card value of zeros.
    public var cvkSeed: Int
    /// What the chip's own keys come from; `nil` before its personalization.
    public var chip: ChipKeys?

    public init(pan: Int = 1, panIndex: Int = 1, cvkSeed: Int = 1, chip: ChipKeys? = nil) {
        self.pan = pan
        self.panIndex = panIndex
        self.cvkSeed = cvkSeed
        self.chip = chip
    }
}

/// The versions of the issuer master keys that a chip's keys come from.
public struct ChipKeys: Hashable, Sendable {
    /// IMK-AC; the chip says it as the DKI (derivation key index) of its issuer application data. 1 to 255.
    public var imkAC: Int
    public var imkSMI: Int
    public var imkSMC: Int

    public init(imkAC: Int = 1, imkSMI: Int = 1, imkSMC: Int = 1) {
        self.imkAC = imkAC
        self.imkSMI = imkSMI
        self.imkSMC = imkSMC
    }
}

/// A version of a key, and what still needs it.
public struct KeyVersionUse: Hashable, Sendable {
    public let key: IssuerKey
    public let version: Int
    public let isCurrent: Bool
    public let isRetired: Bool
    /// What could not be read, found, checked or verified any more without it. For the audit key that is every record
    /// sealed under it, for good.
    public let dependants: Int
    /// Those of the dependants that ``KeyRotationStore/rewrap(_:at:)`` moves to the current version.
    public let movable: Int

    public init(
        key: IssuerKey, version: Int, isCurrent: Bool, isRetired: Bool, dependants: Int, movable: Int
    ) {
        self.key = key
        self.version = version
        self.isCurrent = isCurrent
        self.isRetired = isRetired
        self.dependants = dependants
        self.movable = movable
    }
}

/// A card's PAN, sealed and indexed under other key versions than before.
public struct RewrappedPAN: Sendable {
    public let card: CardID
    /// The versions it was under: where the row says otherwise by now, it is left alone.
    public let before: CardKeys
    public let sealed: [UInt8]
    public let index: [UInt8]
    public let after: CardKeys

    public init(card: CardID, before: CardKeys, sealed: [UInt8], index: [UInt8], after: CardKeys) {
        self.card = card
        self.before = before
        self.sealed = sealed
        self.index = index
        self.after = after
    }
}

/// Who knows the key versions that are in use.
public protocol KeyVersionStore: Sendable {
    /// As they are now.
    func keyVersions() async throws -> KeyVersions
}

/// Changes of key versions, each told by the audit chain.
public protocol KeyRotationStore: KeyVersionStore {
    /// Makes `version` the current one, durably. Its key is in the token already.
    /// - Parameter checkValue: KCV in hexadecimal, for the audit record; `nil` where the key has none.
    /// - Throws: ``StoreError`` `.conflict` unless it is the one after the current.
    func makeCurrent(_ version: Int, of key: IssuerKey, checkValue: String?, at time: Timestamp) async throws
    /// Ends a version for good: nothing is made under it any more. A repeat changes nothing.
    /// - Throws: ``StoreError`` `.conflict` for the current version, and while anything depends on it.
    func retire(_ version: Int, of key: IssuerKey, at time: Timestamp) async throws
    /// Every version of these keys, ascending. Counts all that depends on them: seconds in a large ledger.
    func keyUses(of keys: [IssuerKey], at time: Timestamp) async throws -> [KeyVersionUse]
    /// Cards whose PAN is sealed or indexed under another version than the current, in order of creation.
    func cardsToRewrap(after card: CardID?, limit: Int) async throws -> [Card]
    /// Replaces sealed PANs and indices, all in one durable commit.
    /// - Returns: how many were replaced; those that changed since they were read are left alone.
    func rewrap(_ pans: [RewrappedPAN], at time: Timestamp) async throws -> Int
}

extension KeyRotationStore {
    /// Every version of every key, ascending.
    public func keyUses(at time: Timestamp) async throws -> [KeyVersionUse] {
        try await keyUses(of: IssuerKey.allCases, at: time)
    }
}
