import ByteCoding
import SmartCard

/// The chip as a whole: sequences of commands, well-formed and not, over secure channels that are opened and broken, with
/// power cycles in between. After every answer the ``ChipWitness`` looks for what must never be.
extension FuzzTarget {
    static let chip = FuzzTarget("chip", limit: 2048) { bytes in
        var reader = ByteReader(bytes)
        let dialogue = try ChipDialogue(template: reader.below(ChipDialogue.templates.count))
        var steps = 0
        while !reader.isEmpty, steps < 64 {
            steps += 1
            try dialogue.step(&reader)
        }
        try dialogue.reopen()
    }
}

extension ChipDialogue {
    /// One command of the input's choice.
    func step(_ reader: inout ByteReader) throws {
        switch reader.below(18) {
        case 0: try send(reader.longField())
        case 1: try select(&reader)
        case 2: try send(CommandAPDU(0x80, 0xA8, 0, 0, reader.byte() < 192 ? hex("8300") : reader.field(), le: 256))
        case 3: try send(CommandAPDU(0x00, 0xB2, reader.byte(), reader.byte(), le: 256))
        case 4, 5: try generateCryptogram(&reader)
        case 6: try authenticateIssuer(&reader)
        case 7:
            let tags: [UInt16] = [0x9F36, 0x9F13, 0x9F17, 0x0066, 0x00E0, 0x00C1, 0x00CF, 0x9F7F, reader.word()]
            let tag = tags[reader.below(tags.count)]
            try send(CommandAPDU(0x80, 0xCA, UInt8(tag >> 8), UInt8(tag & 0xFF), le: 256))
        case 8: reset()
        case 9: try reopen()
        case 10, 11: try openChannel(level: HostSession.levels[reader.below(HostSession.levels.count)], &reader)
        case 12: try secured(&reader)
        case 13: try install(&reader)
        case 14: try beginPersonalization(&reader)
        case 15: try store(&reader)
        case 16: try personalizeWhole(&reader)
        default: try putKey(&reader)
        }
    }

    private func select(_ reader: inout ByteReader) throws {
        let names = [SampleCard.paymentAID.bytes, SampleCard.directoryAID.bytes, [], hex("F045"), reader.field()]
        try send(CommandAPDU(0x00, 0xA4, 0x04, reader.byte() & 0x02, names[reader.below(names.count)], le: 256))
    }

    private func generateCryptogram(_ reader: inout ByteReader) throws {
        let kinds: [UInt8] = [0x80, 0x40, 0x00, reader.byte()]
        let kind = kinds[reader.below(4)]
        let amount = [0, 0] + reader.take(4)
        let list = SampleCard.terminalData(amount: amount + [UInt8](repeating: 0, count: 6 - amount.count))
        let data =
            switch reader.below(4) {
            case 0: reader.field()
            case 1: hex("3030") + list
            default: list
            }
        try send(CommandAPDU(0x80, 0xAE, kind, reader.byte() & 0x10, data, le: 256))
    }

    /// A command of the card manager in the session that is open, its data whatever the input says.
    private func secured(_ reader: inout ByteReader) throws {
        let instructions: [UInt8] = [0xE6, 0xE2, 0xD8, 0xE4, 0xF0, 0xF2, 0xCA, 0x47, reader.byte()]
        let command = CommandAPDU(
            0x80, instructions[reader.below(instructions.count)], reader.byte(), reader.byte(), reader.field(), le: 256)
        if reader.byte() < 16 { try sendChanged(command, at: Int(reader.word())) } else { try secure(command) }
    }

    private func application(_ reader: inout ByteReader) -> (name: [UInt8], module: UInt8) {
        let names = [SampleCard.paymentAID.bytes, SampleCard.directoryAID.bytes, hex("F04543415244") + reader.take(2)]
        let choice = reader.below(names.count)
        return (names[choice], choice == 1 ? 2 : 1)
    }

    private func install(_ reader: inout ByteReader) throws {
        let (name, module) = application(&reader)
        let loadFile = hex("F04543415244")
        let fields = [loadFile, loadFile + [module], name, [0x00], hex("C900"), []]
        try secure(CommandAPDU(0x80, 0xE6, 0x0C, 0x00, fields.flatMap { [UInt8($0.count)] + $0 }, le: 256))
    }

    private func beginPersonalization(_ reader: inout ByteReader) throws {
        let fields = [[], [], application(&reader).name, [], [], []]
        try secure(CommandAPDU(0x80, 0xE6, 0x20, 0x00, fields.flatMap { [UInt8($0.count)] + $0 }, le: 256))
    }

    /// One block of the sample card's personalization, or of the input's data.
    private func store(_ reader: inout ByteReader) throws {
        let groupings = try Self.sampleGroupings.get()
        let control = reader.byte()
        let choice = reader.below(groupings.count + 1)
        let (isEncrypted, data) =
            choice < groupings.count ? groupings[choice] : (control & 0x60 == 0x60, reader.field())
        let p1 = (control & 0x80) | (isEncrypted ? 0x60 : 0)
        try secure(CommandAPDU(0x80, 0xE2, p1, blockNumber &+ (control & 0x01), data, le: 256))
        blockNumber &+= 1
    }

    /// A personalization from its first command to its last, one of its blocks left out where the input says so.
    private func personalizeWhole(_ reader: inout ByteReader) throws {
        let groupings = try Self.sampleGroupings.get()
        let missing = reader.byte()
        try beginPersonalization(&reader)
        for (index, (isEncrypted, data)) in groupings.enumerated() where index != Int(missing) {
            let isLast = index == groupings.count - 1
            try secure(
                CommandAPDU(0x80, 0xE2, (isEncrypted ? 0x60 : 0) | (isLast ? 0x80 : 0), blockNumber, data, le: 256))
            blockNumber &+= 1
        }
    }

    /// The test keys again, under another version.
    private func putKey(_ reader: inout ByteReader) throws {
        let key = try HostSession.encryptSensitive(Array(0x40...0x4F))
        let field = hex("881110") + key + hex("03") + Self.testKeyCheckValue
        let old: [UInt8] = [0, 0xFF, 0x01, reader.byte()]
        let data = [1 + UInt8(reader.below(4))] + field + field + field
        try secure(CommandAPDU(0x80, 0xD8, old[reader.below(4)], 0x81, data, le: 256))
    }
}
