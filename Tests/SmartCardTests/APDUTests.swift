import ByteCoding
import ECardTesting
import SmartCard
import Testing

/// Commands and answers as bytes (ISO/IEC 7816-4, 5.1).
struct APDUTests {
    struct Command: Sendable {
        let hex: String
        let data: Int
        let le: Int?
    }

    @Test(arguments: [
        Command(hex: "00A40000", data: 0, le: nil), Command(hex: "00B2010C00", data: 0, le: 256),
        Command(hex: "00B2010CFF", data: 0, le: 255), Command(hex: "00A4040002A001", data: 2, le: nil),
        Command(hex: "00A4040002A00100", data: 2, le: 256), Command(hex: "00B00000000101", data: 0, le: 257),
        Command(hex: "00B00000000000", data: 0, le: 65_536),
        Command(hex: "00D60000000100" + String(repeating: "AB", count: 256), data: 256, le: nil),
        Command(hex: "00D60000000100" + String(repeating: "AB", count: 256) + "0000", data: 256, le: 65_536),
    ])
    func casesReadAndWritten(command: Command) throws {
        let bytes = try #require([UInt8](hex: command.hex))
        let read = try CommandAPDU(bytes)
        #expect(read.data.count == command.data)
        #expect(read.le == command.le)
        #expect(read.encoded.hex == command.hex)
    }

    @Test(
        "Truncated and oversized commands",
        arguments: [
            "", "00", "00A404", "00A4040005A001", "00A4040002A0010000", "00A40400FFAA", "00B200000001",
            "00D600000000000A", "00D6000000000300", "00D60000000003ABCD", "00D60000000001AB000000",
            "00D60000000002ABCD00",
        ])
    func malformedCommands(hex: String) throws {
        let bytes = try #require([UInt8](hex: hex))
        let error = #expect(throws: APDUError.self) { try CommandAPDU(bytes) }
        #expect(error?.description.hasPrefix("malformed APDU: ") == true)
        #expect(MaskedLog.masked(command: bytes) == "malformed command of \(bytes.count) bytes")
    }

    @Test(arguments: [[], [0x90]] as [[UInt8]])
    func answersOfLessThanAStatusWord(bytes: [UInt8]) async {
        #expect(throws: APDUError.self) { try ResponseAPDU(bytes) }
        #expect(MaskedLog.masked(answer: bytes) == "malformed answer of \(bytes.count) bytes")
        let card = FakeCard(answers: [bytes])
        #expect(await cardError { _ = try await card.send(CommandAPDU(0, 0xB0, 0, 0)) }?.kind == .malformedAnswer)
    }

    @Test(arguments: [0x0000, 0x1234, 0x9001, 0x61FF, 0xFFFF] as [UInt16])
    func unknownStatusWordsKeepTheirNumber(status: UInt16) async throws {
        let card = FakeCard(answers: [status.bigEndianBytes])
        let answer = try await card.send(CommandAPDU(0, 0xB0, 0, 0))
        #expect(answer.status.rawValue == status && !answer.status.isOK)
        #expect(answer.status.description.hasPrefix(status.bigEndianBytes.hex))
        #expect(answer.encoded == status.bigEndianBytes)
    }

    /// What no length field can say is refused before it is cut to something else that could be sent.
    @Test(
        arguments: [(65_536, nil), (70_000, 256), (0, 65_537), (0, -1), (1, 0), (0, Int.max), (0, Int.min)]
            as [(Int, Int?)])
    func impossibleCommandsAreNotSent(count: Int, le: Int?) async {
        let command = CommandAPDU(0x00, 0xD6, 0x00, 0x00, [UInt8](repeating: 0xAB, count: count), le: le)
        let card = FakeCard(answers: [[0x90, 0x00]])
        #expect(await cardError { _ = try await card.send(command) }?.kind == .malformedCommand)
        #expect(card.commands.isEmpty)
        // Nor do the bytes of such a command trap whoever asks for them.
        _ = MaskedLog.masked(command: command.encoded)
    }

    @Test func randomBytesNeverTrap() throws {
        var generator = SeededGenerator()
        print("random commands: ECARD_TEST_SEED=\(generator.seed)")
        var accepted = 0
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...12, using: &generator)
            // Small numbers are the likeliest length fields.
            let bytes = (0..<count).map { _ in
                UInt8.random(in: 0...(Bool.random(using: &generator) ? 4 : 255), using: &generator)
            }
            _ = MaskedLog.masked(command: bytes)
            _ = MaskedLog.masked(answer: bytes)
            _ = ATR(bytes).historicalBytes
            _ = ATR(bytes).supportsExtendedLength
            if let answer = try? ResponseAPDU(bytes) { #expect(answer.encoded == bytes) }
            guard let command = try? CommandAPDU(bytes) else { continue }
            accepted += 1
            // An extended form that was not needed comes back short; what it says stays.
            #expect(try CommandAPDU(command.encoded) == command)
        }
        #expect(accepted > 1000)
    }
}
