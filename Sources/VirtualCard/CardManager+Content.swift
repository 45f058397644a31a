import ByteCoding
import SmartCard

/// INSTALL, DELETE, SET STATUS and STORE DATA: what is on the card.
extension CardManager {
    /// Applications, deleted ones whose ATC is remembered among them: more would be a mistake or an attack on the
    /// file's size.
    static let instanceLimit = 32

    /// INSTALL (GlobalPlatform Card Specification 2.3.1, 11.5) [for install and make selectable] and [for
    /// personalization].
    mutating func install(_ command: CommandAPDU, state: inout CardState) throws -> ResponseAPDU {
        try requireSession()
        guard command.p2 == 0 else { throw Refusal(.incorrectP1P2) }
        personalization = nil
        // Table 11-42: load file, module, instance, privileges, parameters, token; 11-46 has the same shape.
        guard let fields = lengthPrefixed(command.data), fields.count == 6 else { throw Refusal(.wrongData) }
        switch command.p1 {
        case 0x0C: try installInstance(fields, state: &state)
        case 0x20: try beginPersonalization(fields, state: state)
        default: throw Refusal(.incorrectP1P2)
        }
        // One byte: no confirmation follows.
        return ResponseAPDU(data: [0x00], status: .ok)
    }

    private func installInstance(_ fields: [[UInt8]], state: inout CardState) throws {
        guard state.lifeCycle != .locked else { throw Refusal(.conditionsNotSatisfied) }
        guard fields[0] == Module.loadFile, let module = Module(aid: fields[1]) else {
            throw Refusal(.referencedDataNotFound)
        }
        let privileges = fields[3]
        guard let aid = AID(fields[2].isEmpty ? fields[1] : fields[2]), [1, 3].contains(privileges.count) else {
            throw Refusal(.wrongData)
        }
        // No applet of ours is a security domain, verifies signatures of others, or locks and ends the card by itself.
        guard privileges.allSatisfy({ $0 == 0 }) else { throw Refusal(.wrongData) }
        guard aid.bytes != CardState.domain, aid.bytes != Module.loadFile,
            !state.instances.contains(where: { $0.aid == aid })
        else { throw Refusal(.conditionsNotSatisfied) }
        var instance = AppletInstance(aid: aid, module: module, privileges: privileges)
        instance.counters.transactions = state.deletedCounters.removeValue(forKey: aid) ?? 0
        guard state.instances.count + state.deletedCounters.count < CardManager.instanceLimit else {
            throw Refusal(.notEnoughMemory)
        }
        state.instances.append(instance)
    }

    private mutating func beginPersonalization(_ fields: [[UInt8]], state: CardState) throws {
        guard let instance = state.instances.first(where: { $0.aid.bytes == fields[2] }) else {
            throw Refusal(.referencedDataNotFound)
        }
        guard instance.lifeCycle == .selectable, state.lifeCycle != .locked else {
            throw Refusal(.conditionsNotSatisfied)
        }
        personalization = Personalization(aid: instance.aid)
    }

    /// STORE DATA (GlobalPlatform Card Specification 2.3.1, 11.11; EMV CPS 1.1, 3.4.3), for the application that INSTALL
    /// [for personalization] named.
    mutating func storeData(_ command: CommandAPDU, state: inout CardState) throws -> ResponseAPDU {
        try requireSession()
        guard var current = personalization, let key = session?.dataEncryption,
            let index = state.instances.firstIndex(where: { $0.aid == current.aid })
        else { throw Refusal(.conditionsNotSatisfied) }
        // A refused block spoils the whole: it starts again with INSTALL [for personalization].
        personalization = nil
        try current.store(command, dataEncryption: key)
        guard current.isComplete else {
            personalization = current
            return ResponseAPDU(status: .ok)
        }
        let memory = current.memory
        try state.instances[index].module.applet.check(memory)
        state.instances[index].memory = memory
        state.instances[index].counters.pinTries = current.pinTries
        state.instances[index].lifeCycle = .personalized
        return ResponseAPDU(status: .ok)
    }

    /// DELETE of an application (GlobalPlatform Card Specification 2.3.1, 11.2). The load file is in ROM. All is gone but
    /// the ATC: should the application come back with the same keys, no cryptogram is made twice.
    mutating func delete(_ command: CommandAPDU, state: inout CardState) throws -> ResponseAPDU {
        try requireSession()
        guard command.p1 == 0, command.p2 & 0x7F == 0 else { throw Refusal(.incorrectP1P2) }
        guard let object = try? BERTLV.parse(command.data).first, object.tag == 0x4F else { throw Refusal(.wrongData) }
        let aid = object.value
        guard aid != CardState.domain, aid != Module.loadFile else { throw Refusal(.conditionsNotSatisfied) }
        guard let index = state.instances.firstIndex(where: { $0.aid.bytes == aid }) else {
            throw Refusal(.referencedDataNotFound)
        }
        personalization = nil
        let instance = state.instances.remove(at: index)
        if instance.counters.transactions > 0 {
            state.deletedCounters[instance.aid] = instance.counters.transactions
        }
        return ResponseAPDU(data: [0x00], status: .ok)
    }

    /// SET STATUS (GlobalPlatform Card Specification 2.3.1, 11.10): the card, or one application.
    mutating func setStatus(_ command: CommandAPDU, state: inout CardState) throws -> ResponseAPDU {
        try requireSession()
        switch command.p1 {
        case 0x80: try setCardStatus(CardLifeCycle(rawValue: command.p2), state: &state)
        case 0x40: try setInstanceStatus(command.p2, aid: command.data, state: &state)
        default: throw Refusal(.incorrectP1P2)
        }
        return ResponseAPDU(status: .ok)
    }

    /// Figure 5-1: OP_READY, INITIALIZED and SECURED in this order, SECURED and CARD_LOCKED to and fro, TERMINATED at
    /// any time and for good.
    private func setCardStatus(_ wanted: CardLifeCycle, state: inout CardState) throws {
        let current = state.lifeCycle
        let isAllowed =
            switch wanted {
            case .initialized: current == .operationReady
            case .secured: [.operationReady, .initialized, .locked].contains(current)
            case .locked: current == .secured
            case .terminated: true
            case .operationReady: false
            default: throw Refusal(.incorrectP1P2)
            }
        guard isAllowed else { throw Refusal(.conditionsNotSatisfied) }
        state.lifeCycle = wanted
    }

    /// Bit 8 of P2 locks; without it the application goes back to the state it was in.
    private func setInstanceStatus(_ wanted: UInt8, aid: [UInt8], state: inout CardState) throws {
        guard let index = state.instances.firstIndex(where: { $0.aid.bytes == aid }) else {
            throw Refusal(.referencedDataNotFound)
        }
        let current = state.instances[index].lifeCycle
        if wanted & 0x80 != 0 {
            state.instances[index].lifeCycle.isLocked = true
        } else if wanted == current.unlocked.rawValue {
            state.instances[index].lifeCycle.isLocked = false
        } else {
            throw Refusal(.conditionsNotSatisfied)
        }
    }

    /// Splits fields that each have one byte of length in front.
    /// - Returns: `nil` when a length reaches beyond the end.
    private func lengthPrefixed(_ data: [UInt8]) -> [[UInt8]]? {
        var fields: [[UInt8]] = []
        var rest = data[...]
        while let length = rest.popFirst() {
            guard rest.count >= Int(length) else { return nil }
            fields.append(Array(rest.prefix(Int(length))))
            rest = rest.dropFirst(Int(length))
        }
        return fields
    }
}
