import ByteCoding
import SmartCard

/// What both applets answer alike: SELECT and READ RECORD.
extension AppletInstance {
    /// The answer to SELECT (EMV Book 1, 11.3.4): `6F { 84 name, A5 … }`, with 6283 when the application is blocked.
    /// - Throws: 6985 before personalization.
    func selectAnswer() throws -> ResponseAPDU {
        guard lifeCycle.unlocked == .personalized, let proprietary = memory.groupings[.selectAnswer] else {
            throw Refusal(.conditionsNotSatisfied)
        }
        let template = BERTLV(0x6F, BERTLV(0x84, aid.bytes).encoded + proprietary)
        return ResponseAPDU(data: template.encoded, status: lifeCycle.isLocked ? .selectedFileInvalidated : .ok)
    }

    /// READ RECORD (EMV Book 3, 6.5.11).
    func readRecord(_ command: CommandAPDU) throws -> ResponseAPDU {
        let file = command.p2 >> 3
        // P2 bits 3 to 1 = 100: P1 is a record number.
        guard command.p2 & 0x07 == 0x04, (1...30).contains(file), command.p1 != 0 else { throw Refusal(.incorrectP1P2) }
        guard command.data.isEmpty else { throw Refusal(.wrongLength) }
        guard let record = memory.record(file: file, number: command.p1) else {
            let isFile = memory.groupings.keys.contains { $0.isRecord && UInt8($0.rawValue >> 8) == file }
            throw Refusal(isFile ? .recordNotFound : .fileNotFound)
        }
        return ResponseAPDU(data: record, status: .ok)
    }
}

extension AppletMemory {
    /// The content of `A5`: FCI proprietary template.
    /// - Throws: 6985 when `9102` is missing or is no single `A5` template.
    func proprietaryTemplate() throws -> BERTLV {
        guard let data = groupings[.selectAnswer], let objects = try? BERTLV.parse(data), objects.count == 1,
            objects[0].tag == 0xA5
        else { throw Refusal(.conditionsNotSatisfied) }
        return objects[0]
    }
}

extension CommandAPDU {
    /// Sees that a command came in the class its standard gives it.
    func require(class wanted: UInt8) throws {
        guard cla == wanted else { throw Refusal(.classNotSupported) }
    }
}
