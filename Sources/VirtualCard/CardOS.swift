import ByteCoding
import SmartCard

/// The card's operating system: takes a command apart, finds who answers it, makes the result durable, and hands the
/// answer out in the pieces that the reader asks for.
struct CardOS {
    private var state: CardState
    private let file: StateFile

    // Volatile: gone with the power.
    private var manager = CardManager()
    private var selection: Selection = .manager
    private var pending: ResponseAPDU?

    private enum Selection {
        case manager
        case application(AID, any Applet)
    }

    init(state: CardState, file: StateFile) {
        self.state = state
        self.file = file
    }

    /// Key version `FF`, known to everybody, is in use.
    var isExposed: Bool { state.keySets.contains { $0.version == KeySet.exposedVersion } }

    /// 10 bytes.
    var diversificationData: [UInt8] { state.diversificationData }

    /// Power on, warm reset, power off.
    mutating func reset() {
        manager = CardManager()
        selection = .manager
        pending = nil
    }

    /// One command, one answer of at least two bytes.
    mutating func answer(_ bytes: [UInt8]) -> [UInt8] {
        let command: CommandAPDU
        do {
            command = try CommandAPDU(bytes)
        } catch {
            pending = nil
            return ResponseAPDU(status: .wrongLength).encoded
        }
        if command.cla & 0x7F == 0, command.instruction == .getResponse { return getResponse(command).encoded }
        pending = nil
        let isExtended = bytes.count > 5 && bytes[4] == 0
        let response: ResponseAPDU
        do {
            response = try execute(SecuredCommand(apdu: command, isExtended: isExtended))
        } catch let refusal as Refusal {
            response = ResponseAPDU(status: refusal.status)
        } catch is ChipFileError {
            // What is in memory is what was last acknowledged; sessions and transactions are lost.
            reset()
            response = ResponseAPDU(status: .memoryFailure)
        } catch {
            reset()
            response = ResponseAPDU(status: .unknownFailure)
        }
        return handOut(response, to: command).encoded
    }

    // MARK: - Dispatch

    private mutating func execute(_ command: SecuredCommand) throws -> ResponseAPDU {
        let apdu = command.apdu
        try checkClass(apdu)
        let isSecured = apdu.cla & SecuredCommand.classBit != 0
        if apdu.cla == 0, apdu.instruction == .select { return try select(apdu) }
        if apdu.cla == 0, apdu.instruction == .manageChannel { throw Refusal(.logicalChannelNotSupported) }
        switch selection {
        case .manager:
            var work = state
            let response = try manager.answer(command, state: &work)
            try commit(work)
            return try manager.protect(response)
        case .application(let aid, var applet):
            guard !isSecured else { throw Refusal(.secureMessagingNotSupported) }
            var card = try RunningCard(state: state, aid: aid)
            let response = try applet.process(apdu, on: &card)
            try commit(card.state)
            selection = .application(aid, applet)
            return response
        }
    }

    /// ISO/IEC 7816-4, 5.4.1, and GlobalPlatform Card Specification 2.3.1, 11.1.4: one logical channel, no command
    /// chaining, secure messaging in the GlobalPlatform form alone.
    private func checkClass(_ command: CommandAPDU) throws {
        switch command.cla {
        case 0x00, 0x04, 0x80, 0x84: return
        // The PC/SC pseudo-command for a contactless card's number, which readers ask of any card.
        case 0xFF where command.instruction == .getData: throw Refusal(.functionNotSupported)
        case 0x01...0x03, 0x05...0x07, 0x81...0x83, 0x85...0x87, 0x40...0x7F, 0xC0...0xFE:
            throw Refusal(.logicalChannelNotSupported)
        case 0x08...0x0F, 0x88...0x8F: throw Refusal(.secureMessagingNotSupported)
        case 0x10...0x1F, 0x90...0x9F: throw Refusal(.commandChainingNotSupported)
        default: throw Refusal(.classNotSupported)
        }
    }

    /// SELECT by name (ISO/IEC 7816-4, 7.1.1; EMV Book 1, 11.3), first or next occurrence of a full or partial name.
    private mutating func select(_ command: CommandAPDU) throws -> ResponseAPDU {
        guard command.p1 == 0x04, command.p2 == 0x00 || command.p2 == 0x02 else { throw Refusal(.incorrectP1P2) }
        guard command.data.count <= 16 else { throw Refusal(.wrongLength) }
        // EMV Book 1, 12.3.2: a blocked card answers 6A81, and the terminal ends the session.
        guard state.lifeCycle != .terminated else { throw Refusal(.functionNotSupported) }
        let wanted = command.data
        if wanted.isEmpty { return selectManager() }
        var names = [CardState.domain] + state.instances.map(\.aid.bytes)
        if command.p2 == 0x02 {
            guard let current = names.firstIndex(of: selectedName) else { throw Refusal(.fileNotFound) }
            names.removeFirst(current + 1)
        }
        let found = names.first { $0.starts(with: wanted) }
        if found == CardState.domain { return selectManager() }
        guard state.lifeCycle != .locked else { throw Refusal(.functionNotSupported) }
        guard let aid = found.flatMap(AID.init) else { throw Refusal(.fileNotFound) }
        var card = try RunningCard(state: state, aid: aid)
        var applet: any Applet = card.instance.module.applet.init()
        let response = try applet.select(on: &card)
        try commit(card.state)
        manager = CardManager()
        selection = .application(aid, applet)
        return response
    }

    private mutating func selectManager() -> ResponseAPDU {
        manager = CardManager()
        selection = .manager
        let isLocked = state.lifeCycle == .locked
        return ResponseAPDU(data: CardManager.selectAnswer, status: isLocked ? .selectedFileInvalidated : .ok)
    }

    private var selectedName: [UInt8] {
        switch selection {
        case .manager: CardState.domain
        case .application(let aid, _): aid.bytes
        }
    }

    // MARK: - Durability

    /// Makes a command's effects durable, then current. Nothing is written when nothing changed.
    private mutating func commit(_ work: CardState) throws {
        guard work != state else { return }
        let entries = work.entries()
        let before = state.entries()
        let isSecretGone = before.contains { name, value in
            CardOS.isSecret(name) && !value.isEmpty && entries[name] != value
        }
        if isSecretGone || file.isLong {
            try file.rewrite(entries)
        } else {
            var changes: [String: [UInt8]?] = [:]
            for (name, value) in entries where before[name] != value { changes[name] = .some(value) }
            for name in before.keys where entries[name] == nil { changes[name] = .some(nil) }
            try file.append(changes)
        }
        state = work
    }

    /// An entry with keys: its old value must not stay in the file.
    private static func isSecret(_ name: String) -> Bool {
        name == "keys" || name == "manufacturing" || name.hasPrefix("memory/")
    }

    // MARK: - Handing out

    /// Fits an answer to Le (ISO/IEC 7816-4, 5.3.4; ISO/IEC 7816-3, 12.2): 6Cxx when a command without data asked for
    /// too few bytes, 61xx when more is waiting than was asked for.
    private mutating func handOut(_ response: ResponseAPDU, to command: CommandAPDU) -> ResponseAPDU {
        let length = response.data.count
        guard length > 0 else { return response }
        if let le = command.le, le >= length { return response }
        if let le = command.le, command.data.isEmpty, le < 256 {
            return ResponseAPDU(status: StatusWord(rawValue: 0x6C00 | UInt16(length < 256 ? length : 0)))
        }
        return split(response, at: command.le ?? 0)
    }

    private mutating func getResponse(_ command: CommandAPDU) -> ResponseAPDU {
        guard let waiting = pending else { return ResponseAPDU(status: .conditionsNotSatisfied) }
        guard command.p1 == 0, command.p2 == 0 else { return ResponseAPDU(status: .incorrectP1P2) }
        guard command.data.isEmpty, let le = command.le else { return ResponseAPDU(status: .wrongLength) }
        pending = nil
        return le >= waiting.data.count ? waiting : split(waiting, at: le)
    }

    private mutating func split(_ response: ResponseAPDU, at length: Int) -> ResponseAPDU {
        let rest = Array(response.data.dropFirst(length))
        pending = ResponseAPDU(data: rest, status: response.status)
        let more = UInt16(rest.count < 256 ? rest.count : 0)
        return ResponseAPDU(data: Array(response.data.prefix(length)), status: StatusWord(rawValue: 0x6100 | more))
    }
}

/// The card as a running applet sees it.
private struct RunningCard: AppletCard {
    var state: CardState
    private let index: Int

    init(state: CardState, aid: AID) throws {
        guard let index = state.instances.firstIndex(where: { $0.aid == aid }) else { throw Refusal(.fileNotFound) }
        self.state = state
        self.index = index
    }

    var instance: AppletInstance {
        get { state.instances[index] }
        set { state.instances[index] = newValue }
    }

    func random(_ count: Int) throws -> [UInt8] { try randomBytes(count) }

    mutating func blockCard() { state.lifeCycle = .terminated }
}

/// The commands there are (ISO/IEC 7816-4, Table 4; GlobalPlatform Card Specification 2.3.1, Table 11-1; EMV Book 3, 6.5).
enum Instruction: UInt8, CaseIterable {
    case generateKeyPair = 0x47
    case initializeUpdate = 0x50
    case manageChannel = 0x70
    case externalAuthenticate = 0x82
    case getChallenge = 0x84
    case select = 0xA4
    case getProcessingOptions = 0xA8
    case generateAC = 0xAE
    case readRecord = 0xB2
    case getResponse = 0xC0
    case getData = 0xCA
    case putKey = 0xD8
    case storeData = 0xE2
    case delete = 0xE4
    case install = 0xE6
    case setStatus = 0xF0
    case getStatus = 0xF2
}

extension CommandAPDU {
    /// `nil` for a command that this chip does not know.
    var instruction: Instruction? { Instruction(rawValue: ins) }
}

extension StatusWord {
    /// ISO/IEC 7816-4, Table 6.
    static let commandChainingNotSupported: StatusWord = 0x6884
    /// PUT KEY (GlobalPlatform Card Specification 2.3.1, Table 11-73).
    static let algorithmNotSupported: StatusWord = 0x9484
    static let invalidKeyCheckValue: StatusWord = 0x9485
}
