import ByteCoding
public import SmartCard

/// What an application may do on the card (GlobalPlatform Card Specification v2.3.1, tables 11-7 to 11-9).
public struct Privileges: OptionSet, Hashable, Sendable {
    /// Three bytes, the first one highest.
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    // Byte 1
    public static let securityDomain = Privileges(rawValue: 0x80_0000)
    public static let dapVerification = Privileges(rawValue: 0xC0_0000)
    public static let delegatedManagement = Privileges(rawValue: 0xA0_0000)
    public static let cardLock = Privileges(rawValue: 0x10_0000)
    public static let cardTerminate = Privileges(rawValue: 0x08_0000)
    /// Formerly *default selected*.
    public static let cardReset = Privileges(rawValue: 0x04_0000)
    public static let cvmManagement = Privileges(rawValue: 0x02_0000)
    public static let mandatedDAPVerification = Privileges(rawValue: 0xC1_0000)
    // Byte 2
    public static let trustedPath = Privileges(rawValue: 0x00_8000)
    public static let authorizedManagement = Privileges(rawValue: 0x00_4000)
    public static let tokenVerification = Privileges(rawValue: 0x00_2000)
    public static let globalDelete = Privileges(rawValue: 0x00_1000)
    public static let globalLock = Privileges(rawValue: 0x00_0800)
    public static let globalRegistry = Privileges(rawValue: 0x00_0400)
    public static let finalApplication = Privileges(rawValue: 0x00_0200)
    public static let globalService = Privileges(rawValue: 0x00_0100)
    // Byte 3
    public static let receiptGeneration = Privileges(rawValue: 0x00_0080)
    public static let cipheredLoadFileDataBlock = Privileges(rawValue: 0x00_0040)
    public static let contactlessActivation = Privileges(rawValue: 0x00_0020)
    public static let contactlessSelfActivation = Privileges(rawValue: 0x00_0010)

    /// One byte where the others are zero, else three.
    var encoded: [UInt8] {
        let bytes = Array(rawValue.bigEndianBytes.dropFirst())
        return rawValue & 0xFFFF == 0 ? [bytes[0]] : bytes
    }

    /// One or three bytes.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == 1 || bytes.count == 3 else { return nil }
        rawValue = bytes.reduce(0) { $0 << 8 | UInt32($1) } << (bytes.count == 1 ? 16 : 0)
    }
}

/// Life-cycle state (GlobalPlatform Card Specification v2.3.1, tables 11-3 to 11-6). The same number means one thing for
/// a card and another for an application.
public struct LifeCycle: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    // The card, by its issuer security domain
    public static let opReady = LifeCycle(rawValue: 0x01)
    public static let initialized = LifeCycle(rawValue: 0x07)
    public static let secured = LifeCycle(rawValue: 0x0F)
    public static let cardLocked = LifeCycle(rawValue: 0x7F)
    public static let terminated = LifeCycle(rawValue: 0xFF)
    // A load file
    public static let loaded = LifeCycle(rawValue: 0x01)
    // An application
    public static let installed = LifeCycle(rawValue: 0x03)
    public static let selectable = LifeCycle(rawValue: 0x07)
    public static let personalized = LifeCycle(rawValue: 0x0F)

    /// An application that may not be used until it is unlocked: bit 8 on an installed one.
    public var isLockedApplication: Bool { rawValue & 0x83 == 0x83 }

    public var description: String { [rawValue].hex }
}

/// One line of the card's registry, as GET STATUS gives it.
public struct RegistryEntry: Hashable, Sendable {
    /// What to list: P1 of GET STATUS (table 11-32).
    public struct Subset: RawRepresentable, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        public static let issuerSecurityDomain = Subset(rawValue: 0x80)
        /// Supplementary security domains among them.
        public static let applications = Subset(rawValue: 0x40)
        public static let loadFiles = Subset(rawValue: 0x20)
        public static let loadFilesAndModules = Subset(rawValue: 0x10)
    }

    /// Tag 4F.
    public let aid: AID
    /// Tag 9F70, its first byte.
    public let lifeCycle: LifeCycle
    /// Tag C5; `nil` for load files.
    public let privileges: Privileges?
    /// Tag C4: the load file that an application comes from.
    public let loadFile: AID?
    /// Tag CC: the security domain it belongs to.
    public let securityDomain: AID?
    /// Tags 84: the modules of a load file.
    public let modules: [AID]

    /// Reads the E3 templates of one answer.
    /// - Throws: `.malformedAnswer` when a template has no AID or no state.
    static func parse(_ bytes: [UInt8]) throws(GlobalPlatformError) -> [RegistryEntry] {
        var entries: [RegistryEntry] = []
        for template in try parseTemplates(bytes, of: "GET STATUS") where template.tag == 0xE3 {
            let fields = template.children
            guard let aid = fields.first(0x4F).flatMap({ AID($0.value) }), let state = fields.first(0x9F70)?.value.first
            else {
                throw GlobalPlatformError(.malformedAnswer, "GET STATUS: E3 \(template.value.hex) lacks 4F or 9F70")
            }
            entries.append(
                RegistryEntry(
                    aid: aid, lifeCycle: LifeCycle(rawValue: state),
                    privileges: fields.first(0xC5).flatMap { Privileges($0.value) },
                    loadFile: fields.first(0xC4).flatMap { AID($0.value) },
                    securityDomain: fields.first(0xCC).flatMap { AID($0.value) },
                    modules: fields.filter { $0.tag == 0x84 }.compactMap { AID($0.value) }))
        }
        return entries
    }
}
