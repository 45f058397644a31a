import ByteCoding
import SmartCard

/// An application's data while it comes in, block by block (EMV CPS 1.1, 3.2 and 3.4.3).
///
/// It is held in volatile memory until the last block passed every check, and then becomes the application's memory in
/// one commit: a personalization that was cut short leaves nothing.
struct Personalization {
    let aid: AID
    private(set) var memory = AppletMemory()
    private(set) var pinTries: UInt8 = 0
    private(set) var isComplete = false
    private var nextBlock: UInt8 = 0
    private var size = 0

    /// A payment application needs about 4 KB.
    private static let sizeLimit = 64 * 1024

    init(aid: AID) { self.aid = aid }

    /// P1 of STORE DATA (GlobalPlatform Card Specification 2.3.1, Table 11-89).
    private struct Control: OptionSet {
        let rawValue: UInt8
        /// Bit 8.
        static let lastBlock = Control(rawValue: 0x80)
        /// Bits 7 and 6: all of the block's data is encrypted under K-DEK.
        static let encrypted = Control(rawValue: 0x60)
        /// Bits 5 and 4 = 01: the data is DGIs. EMV CPS leaves it out.
        static let dataGroupings = Control(rawValue: 0x08)
    }

    /// Takes one STORE DATA command.
    /// - Throws: ``Refusal``; the personalization must then start again.
    mutating func store(_ command: CommandAPDU, dataEncryption: SecretBytes) throws {
        let control = Control(rawValue: command.p1)
        let known: Control = [.lastBlock, .encrypted, .dataGroupings]
        guard known.isSuperset(of: control), control.isDisjoint(with: .encrypted) || control.isSuperset(of: .encrypted),
            command.p2 == nextBlock
        else { throw Refusal(.incorrectP1P2) }
        nextBlock &+= 1
        size += command.data.count
        guard size <= Personalization.sizeLimit else { throw Refusal(.notEnoughMemory) }
        var rest = command.data[...]
        while !rest.isEmpty {
            let (identifier, data) = try readGrouping(&rest)
            if control.isSuperset(of: .encrypted) {
                try storeKeys(identifier, data, dataEncryption)
            } else {
                try storePlain(identifier, data)
            }
        }
        isComplete = control.contains(.lastBlock)
    }

    /// DGI (2) ‖ length (1, or FF and 2) ‖ data.
    private func readGrouping(_ rest: inout ArraySlice<UInt8>) throws -> (DataGrouping, [UInt8]) {
        guard rest.count >= 3, let identifier = UInt16(bigEndian: rest.prefix(2)) else { throw Refusal(.wrongData) }
        rest = rest.dropFirst(2)
        var length = Int(rest.removeFirst())
        if length == 0xFF {
            guard rest.count >= 2 else { throw Refusal(.wrongData) }
            length = Int(rest.removeFirst()) << 8 | Int(rest.removeFirst())
        }
        guard rest.count >= length else { throw Refusal(.wrongData) }
        defer { rest = rest.dropFirst(length) }
        return (DataGrouping(rawValue: identifier), Array(rest.prefix(length)))
    }

    /// The card keys: the only grouping that may, and must, be encrypted.
    private mutating func storeKeys(_ identifier: DataGrouping, _ data: [UInt8], _ key: SecretBytes) throws {
        guard identifier == .cardKeys, data.count == 3 * KeySet.keyLength else { throw Refusal(.wrongData) }
        var clear = try AES.decryptCBC(data, key: key, iv: [UInt8](repeating: 0, count: AES.blockSize))
        defer { SecretBytes.wipe(&clear) }
        memory.keys = stride(from: 0, to: clear.count, by: KeySet.keyLength).map {
            SecretBytes(clear[$0..<($0 + KeySet.keyLength)])
        }
    }

    private mutating func storePlain(_ identifier: DataGrouping, _ data: [UInt8]) throws {
        switch identifier {
        case .cardKeys: throw Refusal(.securityStatusNotSatisfied)
        case .pinCounters:
            guard data.count == 2, data[1] <= data[0], data[0] <= 0x0F else { throw Refusal(.wrongData) }
            pinTries = data[1]
        case .keyCheckValues, .selectAnswer, .processingOptions, .issuerApplicationData, .riskData: break
        case let record where record.isRecord:
            // EMV Book 3, 5.3.2.2 and 7.1: a record is one 70 template of at most 254 bytes.
            guard data.count <= 254, let objects = try? BERTLV.parse(data), objects.count == 1, objects[0].tag == 0x70
            else { throw Refusal(.wrongData) }
        default: throw Refusal(.referencedDataNotFound)
        }
        memory.groupings[identifier] = data
    }
}
