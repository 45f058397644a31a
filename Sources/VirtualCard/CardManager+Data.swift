import ByteCoding
import SmartCard

/// GET DATA, GET STATUS and the answer to SELECT: what the card tells about itself.
extension CardManager {
    /// Card recognition data (GlobalPlatform Card Specification 2.3.1, Annex H.2): GlobalPlatform 2.3.1 and SCP03
    /// with i = 70. Each number is an object identifier under 1.2.840.114283.
    static let recognitionData: BERTLV = {
        let arc: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xFC, 0x6B]
        func identifier(_ rest: [UInt8]) -> BERTLV { BERTLV(0x06, arc + rest) }
        return BERTLV(
            0x73,
            [
                identifier([0x01]),
                BERTLV(0x60, [identifier([0x02, 0x02, 0x03, 0x01])]),
                BERTLV(0x63, [identifier([0x03])]),
                BERTLV(0x64, [identifier([0x04, 0x03, SCP03Session.options])]),
            ])
    }()

    /// File control information of the ISD (GlobalPlatform Card Specification 2.3.1, Table 11-85); `9F65`: up to 255
    /// bytes of command data.
    static let selectAnswer: [UInt8] =
        BERTLV(0x6F, [BERTLV(0x84, CardState.domain), BERTLV(0xA5, [recognitionData, BERTLV(0x9F65, [0xFF])])]).encoded

    /// GET DATA (GlobalPlatform Card Specification 2.3.1, 11.3), open to everybody.
    func getData(_ command: CommandAPDU, state: CardState) throws -> ResponseAPDU {
        guard command.data.isEmpty || command.data == [0x5C, 0x00] else { throw Refusal(.wrongData) }
        let object: BERTLV
        switch UInt16(command.p1) << 8 | UInt16(command.p2) {
        case 0x0066: object = BERTLV(0x66, [CardManager.recognitionData])
        case 0x00E0: object = keyInformation(state)
        case 0x00C1: object = BERTLV(0xC1, Array(state.sequenceCounter.bigEndianBytes.suffix(3)))
        case 0x00CF: object = BERTLV(0xCF, state.diversificationData)
        case 0x9F7F: object = BERTLV(0x9F7F, productionLifeCycle(state))
        default: throw Refusal(.referencedDataNotFound)
        }
        return ResponseAPDU(data: object.encoded, status: .ok)
    }

    /// Key information template: identifier, version, type 88 (AES), length (Card Specification 2.3.1, Table 11-25).
    private func keyInformation(_ state: CardState) -> BERTLV {
        BERTLV(
            0xE0,
            state.keySets.flatMap { set in
                (UInt8(1)...3).map { BERTLV(0xC0, [$0, set.version, 0x88, UInt8(KeySet.keyLength)]) }
            })
    }

    /// Card production life cycle data (CPLC), 42 bytes, of which a software chip has the IC serial number (bytes 13 to
    /// 16) and the IC batch identifier (17 and 18), from its diversification data.
    private func productionLifeCycle(_ state: CardState) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 42)
        bytes.replaceSubrange(12..<18, with: state.diversificationData.suffix(6))
        return bytes
    }

    // MARK: - GET STATUS

    /// One answer has at most this much, so that it fits a short APDU under R-MAC and R-ENCRYPTION.
    private static let statusBudget = 223

    /// GET STATUS (GlobalPlatform Card Specification 2.3.1, 11.4), in the `E3` form (P2 bit 2) and the older one.
    mutating func getStatus(_ command: CommandAPDU, state: CardState) throws -> ResponseAPDU {
        try requireSession([])
        guard [0x80, 0x40, 0x20, 0x10].contains(command.p1), command.p2 <= 0x03 else { throw Refusal(.incorrectP1P2) }
        guard let criterion = try? BERTLV.parse(command.data).first(0x4F), criterion.value.count <= 16 else {
            throw Refusal(.wrongData)
        }
        if command.p2 & 0x01 == 0 {
            let isNew = command.p2 & 0x02 != 0
            statusRest = entries(command.p1, state: state)
                .filter { $0.aid.starts(with: criterion.value) }
                .map { isNew ? $0.template : $0.legacy }
            if statusRest.isEmpty {
                guard criterion.value.isEmpty else { throw Refusal(.referencedDataNotFound) }
                return ResponseAPDU(status: .ok)
            }
        }
        guard !statusRest.isEmpty else { throw Refusal(.conditionsNotSatisfied) }
        var data: [UInt8] = []
        while let next = statusRest.first, data.isEmpty || data.count + next.count <= CardManager.statusBudget {
            data += statusRest.removeFirst()
        }
        return ResponseAPDU(data: data, status: statusRest.isEmpty ? .ok : .moreDataAvailable)
    }

    private struct StatusEntry {
        let aid: [UInt8]
        let lifeCycle: UInt8
        var privileges: [UInt8] = []
        var modules: [[UInt8]] = []
        var loadFile: [UInt8] = []

        /// Card Specification 2.3.1, Table 11-36.
        var template: [UInt8] {
            var children = [BERTLV(0x4F, aid), BERTLV(0x9F70, [lifeCycle])]
            if !privileges.isEmpty {
                children.append(BERTLV(0xC5, privileges + [UInt8](repeating: 0, count: 3 - privileges.count)))
            }
            if !loadFile.isEmpty { children.append(BERTLV(0xC4, loadFile)) }
            children += modules.map { BERTLV(0x84, $0) }
            if aid != CardState.domain { children.append(BERTLV(0xCC, CardState.domain)) }
            return BERTLV(0xE3, children).encoded
        }

        /// Card Specification 2.3.1, Tables 11-37 and 11-38.
        var legacy: [UInt8] {
            [UInt8(aid.count)] + aid + [lifeCycle, privileges.first ?? 0]
                + (modules.isEmpty ? [] : [UInt8(modules.count)] + modules.flatMap { [UInt8($0.count)] + $0 })
        }
    }

    private func entries(_ kind: UInt8, state: CardState) -> [StatusEntry] {
        switch kind {
        case 0x80:
            // Security domain, card lock, card terminate, CVM management (Table 11-7), final application.
            return [StatusEntry(aid: CardState.domain, lifeCycle: state.lifeCycle.rawValue, privileges: [0x9E])]
        case 0x40:
            return state.instances.map {
                StatusEntry(
                    aid: $0.aid.bytes, lifeCycle: $0.lifeCycle.rawValue, privileges: $0.privileges,
                    loadFile: Module.loadFile)
            }
        default:
            // Loaded (Table 11-3).
            let modules = kind == 0x10 ? Module.allCases.map(\.aid) : []
            return [StatusEntry(aid: Module.loadFile, lifeCycle: 0x01, modules: modules)]
        }
    }
}
