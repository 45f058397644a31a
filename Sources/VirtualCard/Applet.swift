import ByteCoding
import SmartCard

/// A command the card refuses. Nothing that it did to the card's state stays.
///
/// An answer that is *returned* is committed first, whatever its status word says.
struct Refusal: Error {
    let status: StatusWord
    init(_ status: StatusWord) { self.status = status }
}

/// What an applet may ask of the card it sits on.
protocol AppletCard {
    /// Its own registry entry and memory. A change is durable before the answer leaves.
    var instance: AppletInstance { get set }
    /// Random bytes.
    func random(_ count: Int) throws -> [UInt8]
    /// Blocks the whole card for good.
    mutating func blockCard()
}

/// An application between SELECT and the next SELECT or reset; its properties are the volatile memory.
protocol Applet {
    /// Whether the data of a personalization is complete and consistent.
    /// - Throws: ``Refusal`` when it is not.
    static func check(_ memory: AppletMemory) throws

    init()
    /// Answers SELECT.
    mutating func select(on card: inout some AppletCard) throws -> ResponseAPDU
    /// Answers any other command.
    mutating func process(_ command: CommandAPDU, on card: inout some AppletCard) throws -> ResponseAPDU
}

/// The applets in the chip's load file.
enum Module: UInt8, CaseIterable, Sendable {
    case payment = 1
    case paymentSystemEnvironment = 2

    /// The executable load file that has them all.
    static let loadFile: [UInt8] = [0xF0, 0x45, 0x43, 0x41, 0x52, 0x44]

    var aid: [UInt8] { Module.loadFile + [rawValue] }

    init?(aid: [UInt8]) {
        guard let module = Module.allCases.first(where: { $0.aid == aid }) else { return nil }
        self = module
    }

    var applet: any Applet.Type {
        switch self {
        case .payment: PaymentApplet.self
        case .paymentSystemEnvironment: PSEApplet.self
        }
    }
}

/// Life-cycle state of an application (GlobalPlatform Card Specification 2.3.1, Table 11-4).
struct AppletLifeCycle: RawRepresentable, Equatable, Sendable {
    var rawValue: UInt8

    static let selectable = AppletLifeCycle(rawValue: 0x07)
    /// An application's own state: bits 4 to 7 are free for it.
    static let personalized = AppletLifeCycle(rawValue: 0x0F)

    /// Bit 8: locked by the issuer, or by the application itself.
    var isLocked: Bool {
        get { rawValue & 0x80 != 0 }
        set { rawValue = newValue ? rawValue | 0x80 : rawValue & 0x7F }
    }

    var unlocked: AppletLifeCycle { AppletLifeCycle(rawValue: rawValue & 0x7F) }
}

/// An entry of the card's registry: an application that was installed.
struct AppletInstance: Equatable, Sendable {
    let aid: AID
    let module: Module
    /// 1 or 3 bytes, as installed (GlobalPlatform Card Specification 2.3.1, 11.1.2).
    let privileges: [UInt8]
    var lifeCycle = AppletLifeCycle.selectable
    var memory = AppletMemory()
    var counters = AppletCounters()
}

/// Data grouping identifier of EMV card personalization (EMV CPS 1.1, 3.2.2).
struct DataGrouping: RawRepresentable, Hashable, Comparable, Sendable {
    let rawValue: UInt16

    static let cardKeys = DataGrouping(rawValue: 0x8000)
    static let keyCheckValues = DataGrouping(rawValue: 0x9000)
    static let pinCounters = DataGrouping(rawValue: 0x9010)
    static let selectAnswer = DataGrouping(rawValue: 0x9102)
    static let processingOptions = DataGrouping(rawValue: 0x9104)
    static let issuerApplicationData = DataGrouping(rawValue: 0x9200)
    static let riskData = DataGrouping(rawValue: 0x3000)

    /// The grouping of a record.
    static func record(file: UInt8, number: UInt8) -> DataGrouping {
        DataGrouping(rawValue: UInt16(file) << 8 | UInt16(number))
    }

    /// Short file identifiers 1 to 30 (EMV Book 1, 10.1.1), record numbers 1 to 254 (ISO/IEC 7816-4, 7.3.2).
    var isRecord: Bool {
        (1...30).contains(rawValue >> 8) && (1...0xFE).contains(rawValue & 0xFF)
    }

    static func < (first: DataGrouping, second: DataGrouping) -> Bool { first.rawValue < second.rawValue }
}

/// What personalization wrote: it changes as a whole or not at all.
struct AppletMemory: Equatable, Sendable {
    /// Everything but the keys.
    var groupings: [DataGrouping: [UInt8]] = [:]
    /// AC, SMI and SMC keys, 16 bytes each; empty until personalized.
    var keys: [SecretBytes] = []

    /// The template of a record, or nothing.
    func record(file: UInt8, number: UInt8) -> [UInt8]? { groupings[.record(file: file, number: number)] }
}

/// What every transaction changes.
struct AppletCounters: Equatable, Sendable {
    /// Application transaction counter (ATC): never goes back.
    var transactions: UInt16 = 0
    /// ATC of the last transaction whose issuer was authenticated.
    var lastOnline: UInt16 = 0
    /// Transactions approved offline since.
    var consecutiveOffline: UInt8 = 0
    /// Their amounts, in the application currency's minor unit.
    var cumulativeOffline: UInt64 = 0
    /// PIN tries left.
    var pinTries: UInt8 = 0
    var flags: Flags = []

    /// What one transaction leaves to tell the next.
    struct Flags: OptionSet, Sendable {
        let rawValue: UInt8
        /// An ARQC went out and no issuer answered with a right ARPC.
        static let onlineNotCompleted = Flags(rawValue: 1)
        /// An issuer's answer was wrong.
        static let issuerAuthenticationFailed = Flags(rawValue: 2)
        /// The issuer wants the next transaction online.
        static let goOnlineNext = Flags(rawValue: 4)
    }
}
