import ByteCoding
import SmartCard

/// What was seen of a chip, and what must never be seen.
struct ChipWitness {
    /// The last ARQC and its ATC: what an issuer would answer.
    private(set) var lastRequest: (cryptogram: [UInt8], counter: UInt16)?

    private var selected: [UInt8]?
    /// Applications that were personalized to the end, in this dialogue or before it.
    private var personalized: Set<[UInt8]>
    private var personalizing: [UInt8]?
    /// The last ATC of each application, and how many cryptograms it gave.
    private var counters: [[UInt8]: (last: UInt16, cryptograms: Int)] = [:]
    private var sequence: UInt32 = 0
    private let secrets: [[UInt8]]

    init(isPersonalized: Bool) {
        personalized = isPersonalized ? [SampleCard.paymentAID.bytes, SampleCard.directoryAID.bytes] : []
        secrets = [Array(0x40...0x4F)] + [0, 16, 32].map { Array(SampleCard.keys[$0..<$0 + 16]) }
    }

    mutating func powerWasCut() {
        selected = nil
        personalizing = nil
        lastRequest = nil
    }

    /// Any command and its answer, as they went over the wire.
    mutating func saw(_ command: [UInt8], _ answer: ResponseAPDU) throws {
        try require(answer.data.count <= 65_536, "an answer of \(answer.data.count) bytes")
        for secret in secrets where answer.data.holds(secret) {
            try require(command.holds(secret), "an answer with a key in it that nobody gave")
        }
        guard let apdu = try? CommandAPDU(command) else {
            return try require(answer.status == .wrongLength, "a malformed command is answered \(answer.status)")
        }
        let isDone = answer.status.isOK || answer.status == .selectedFileInvalidated
        guard isDone else { return }
        switch (apdu.cla, apdu.ins) {
        case (0x00, 0xA4):
            selected = (try? BERTLV.parse(answer.data))?.first(0x84)?.value
            lastRequest = nil
        case (0x80, 0x50): try sawSequence(answer.data)
        case (0x80, 0xAE): try sawCryptogram(answer.data)
        case (0x80, 0xA8): try require(isUsable, "GET PROCESSING OPTIONS of an application that is not personalized")
        default: break
        }
    }

    /// A command of the card manager and its answer, their protection taken off.
    mutating func saw(plain command: CommandAPDU, _ answer: ResponseAPDU) throws {
        for secret in secrets { try require(!answer.data.holds(secret), "an answer with a key in it") }
        guard answer.status.isOK else {
            if command.ins == 0xE2 { personalizing = nil }
            return
        }
        switch (command.ins, command.p1) {
        case (0xE6, 0x20):
            // Load file and module are empty: the name is the third field.
            personalizing = Array(command.data.dropFirst(3).prefix(Int(command.data[2])))
        case (0xE2, 0x80...0xFF):
            if let personalizing { personalized.insert(personalizing) }
            personalizing = nil
        case (0xE4, _):
            if let name = (try? BERTLV.parse(command.data))?.first?.value { personalized.remove(name) }
        default: break
        }
    }

    private var isUsable: Bool { selected.map { personalized.contains($0) } ?? false }

    /// The last three bytes of the answer to INITIALIZE UPDATE.
    private mutating func sawSequence(_ data: [UInt8]) throws {
        guard data.count == 32, let next = UInt32(bigEndian: data.suffix(3)) else {
            throw Violation("INITIALIZE UPDATE is answered with \(data.count) bytes")
        }
        try require(next > sequence, "the sequence counter went from \(sequence) to \(next)")
        sequence = next
    }

    /// One or two cryptograms a transaction, and no ATC twice.
    private mutating func sawCryptogram(_ data: [UInt8]) throws {
        try require(isUsable, "GENERATE AC of an application that is not personalized")
        let objects = (try? BERTLV.parse(data)) ?? []
        guard let name = selected, let counter = objects.first(0x9F36).flatMap({ UInt16(bigEndian: $0.value) }),
            let cryptogram = objects.first(0x9F26)?.value, let type = objects.first(0x9F27)?.value.first
        else { throw Violation("GENERATE AC is answered without a cryptogram") }
        let before = counters[name] ?? (0, 0)
        try require(counter >= before.last && counter > 0, "the ATC went from \(before.last) to \(counter)")
        let count = counter == before.last ? before.cryptograms + 1 : 1
        try require(count <= 2, "a third cryptogram with ATC \(counter)")
        counters[name] = (counter, count)
        lastRequest = type == 0x80 ? (cryptogram, counter) : nil
    }
}

extension [UInt8] {
    /// Whether `secret` stands anywhere in these bytes. Made for many short answers: no generic search, and no comparison
    /// that the fuzzer would learn the secret from.
    func holds(_ secret: [UInt8]) -> Bool {
        guard let first = secret.first, count >= secret.count else { return false }
        return withUnsafeBufferPointer { bytes in
            (0...bytes.count - secret.count).contains { start in
                bytes[start] == first && secret.indices.allSatisfy { bytes[start + $0] == secret[$0] }
            }
        }
    }
}
