import ByteCoding
import SmartCard
@testable import VirtualCard

/// STORE DATA as the chip takes it: data groupings of a stranger's making, in blocks of any size, and then the application
/// that they made.
extension FuzzTarget {
    static let groupings = FuzzTarget("groupings") { bytes in
        var reader = ByteReader(bytes)
        let module: Module = reader.byte() & 1 == 0 ? .payment : .paymentSystemEnvironment
        var personalization = Personalization(aid: SampleCard.paymentAID)
        var size = 0
        var number: UInt8 = 0
        while !reader.isEmpty {
            // A grouping that the card knows, or bytes as they are.
            let choice = reader.below(SampleCard.identifiers.count + 1)
            let data =
                choice < SampleCard.identifiers.count
                ? SampleCard.grouping(SampleCard.identifiers[choice], reader.field()) : reader.longField()
            size += data.count
            let command = CommandAPDU(0x80, 0xE2, reader.byte() & 0xE8, number, data, le: 256)
            number &+= 1
            guard (try? personalization.store(command, dataEncryption: KeySet.exposed.dataEncryption)) != nil else {
                return
            }
            let stored = personalization.memory.groupings.values.reduce(0) { $0 + $1.count }
            try require(stored <= size, "\(stored) bytes stored of \(size) sent")
            try require(personalization.memory.keys.isEmpty || personalization.memory.keys.count == 3, "keys are three")
        }
        // What is missing is the sample card's, so that the application is tried as often as its data allow.
        var memory = SampleCard.memory(module)
        for (identifier, data) in personalization.memory.groupings where identifier != .keyCheckValues {
            memory.groupings[identifier] = data
        }
        guard (try? module.applet.check(memory)) != nil else { return }
        try SampleCard.use(memory, of: module)
    }
}
