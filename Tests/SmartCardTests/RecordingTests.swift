import ByteCoding
import ECardTesting
import Glibc
import SmartCard
import Testing

struct RecordingTests {
    private static let recording = Recording(
        answerToReset: ATR([0x3B, 0x00]),
        exchanges: [
            .init(command: [0x00, 0xA4, 0x04, 0x00], outcome: .success([0x90, 0x00])),
            .init(command: [0x00, 0xB2, 0x01, 0x0C, 0x00], outcome: .success([])),
            .init(command: [0x00, 0xB2, 0x02, 0x0C, 0x00], outcome: .failure(CardError(.cardRemoved, "recorded"))),
        ])
    private static let text = """
        # ecard dialogue 1
        atr 3B00
        > 00A40400
        < 9000
        > 00B2010C00
        <\u{20}
        > 00B2020C00
        ! the card was removed

        """

    @Test func textAndBack() throws {
        #expect(Self.recording.text == Self.text)
        #expect(try Recording(text: Self.text) == Self.recording)
        let loose = Self.text.replacing("> 00A40400", with: "# a comment\r\n\r\n>00 a4 04 00  \r")
        #expect(try Recording(text: loose) == Self.recording)
        #expect(try Recording(text: "# ecard dialogue 1").exchanges.isEmpty)
    }

    @Test(arguments: CardError.Kind.all) func everyFailureIsRecorded(_ kind: CardError.Kind) throws {
        let recording = Recording(exchanges: [.init(command: [0], outcome: .failure(CardError(kind, "recorded")))])
        #expect(try Recording(text: recording.text) == recording)
    }

    @Test(arguments: [
        ("", 1), ("atr 3B00\n", 1), ("# ecard dialogue 2\n", 1), ("# ecard dialogue 1\n< 9000", 2),
        ("# ecard dialogue 1\n> 00A4\n> 00A4\n", 3), ("# ecard dialogue 1\n> 00A4\n\n", 4),
        ("# ecard dialogue 1\n> 0GA4\n< 9000", 2), ("# ecard dialogue 1\n> 00A\n< 9000", 2),
        ("# ecard dialogue 1\n> 00A4\n! on fire", 3), ("# ecard dialogue 1\natr 3B\natr 3B", 3),
        ("# ecard dialogue 1\n> 00A4\natr 3B", 3), ("# ecard dialogue 1\n? 9000", 2),
        ("# ecard dialogue 1\n> \(String(repeating: "0", count: 300_000))", 2),
    ])
    func whatIsNoRecording(text: String, line: Int) {
        let error = #expect(throws: RecordingError.self) { try Recording(text: text) }
        #expect(error?.line == line)
    }

    @Test func nothingOfItPrints() {
        let secret = Recording(exchanges: [
            .init(command: [0x00, 0x20, 0x00, 0x80, 0x02, 0x12, 0x34], outcome: .success([0x47, 0x61, 0x90, 0x00]))
        ])
        var dumped = ""
        dump(secret, to: &dumped)
        dump(secret.exchanges, to: &dumped)
        for text in ["\(secret)", String(reflecting: secret), "\(secret.exchanges)", dumped] {
            #expect(
                !text.contains("1234") && !text.contains("4761") && !text.contains("18, 52") && !text.contains("71"))
        }
    }

    @Test func replayIsStrict() async throws {
        let replay = Replay(Self.recording)
        #expect(replay.answerToReset == ATR([0x3B, 0x00]))
        let wrong = await cardError { _ = try await replay.transmit([0x00, 0xA4, 0x04, 0x01]) }
        #expect(wrong?.kind == .notInRecording)
        #expect(wrong?.place.contains("exchange 1") == true)
        #expect(wrong?.place.contains("byte 3") == true)
        #expect(try await replay.transmit([0x00, 0xA4, 0x04, 0x00]) == [0x90, 0x00])
        #expect(await cardError { _ = try await replay.transmit([0x00, 0xA4, 0x04, 0x00]) }?.kind == .notInRecording)
        #expect(try await replay.transmit([0x00, 0xB2, 0x01, 0x0C, 0x00]) == [])
        #expect(
            await cardError { _ = try await replay.transmit([0x00, 0xB2, 0x02, 0x0C, 0x00]) }?.kind == .cardRemoved)
        #expect(replay.remaining == 0)
        #expect(await cardError { _ = try await replay.transmit([0x00]) }?.place.contains("ends") == true)
    }

    @Test func recorderKeepsAnswersAndFailures() async {
        let recorder = Recorder(FakeCard(answers: [[0x90, 0x00]]))
        for _ in 0..<2 { _ = try? await recorder.transmit([0x00, 0x84, 0x00, 0x00]) }
        let outcomes = recorder.recording.exchanges.map(\.outcome)
        #expect(outcomes == [.success([0x90, 0x00]), .failure(CardError(.cardMute, "no more answers"))])
    }

    // MARK: Files

    @Test func aFileIsNewAndItsOwnersAlone() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a.apdu")
        try Self.recording.write(toNewFile: path)
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(try Recording(contentsOfFile: path) == Self.recording)

        let again = #expect(throws: RecordingError.self) { try Recording().write(toNewFile: path) }
        #expect(again?.reason.contains(path) == true)
        #expect(try Recording(contentsOfFile: path) == Self.recording)
        symlink(folder.file("b.apdu"), folder.file("link.apdu"))
        #expect(throws: RecordingError.self) { try Recording().write(toNewFile: folder.file("link.apdu")) }
        #expect(access(folder.file("b.apdu"), F_OK) != 0)
    }

    @Test func filesThatCannotBeRead() throws {
        let folder = try TemporaryFolder()
        #expect(throws: RecordingError.self) { try Recording(contentsOfFile: folder.file("none")) }
        #expect(throws: RecordingError.self) { try Recording(contentsOfFile: folder.path) }
        #expect(throws: RecordingError.self) { try Self.recording.write(toNewFile: folder.file("none/a.apdu")) }
        let file = try #require(fopen(folder.file("a.apdu"), "w"))
        fputs("# ecard dialogue 1\n> 00\n> 00\n", file)
        fclose(file)
        let error = #expect(throws: RecordingError.self) { try Recording(contentsOfFile: folder.file("a.apdu")) }
        #expect(error?.line == 3)
        #expect(error?.description.contains("a.apdu") == true)
        let binary = try #require(fopen(folder.file("b.apdu"), "w"))
        fputc(0xFF, binary)
        fclose(binary)
        #expect(throws: RecordingError.self) { try Recording(contentsOfFile: folder.file("b.apdu")) }
    }
}

struct CardCapabilitiesTests {
    /// Historical bytes by the rules of ISO/IEC 7816-4:2005, 8.1.1; the first is the example of a JCOP card's ATR.
    @Test(
        arguments: [
            ("3BF81300008131FE454A434F507632343102", nil),  // "JCOPv241": category 4A, the maker's own
            ("3B8480014073C0214000", nil),  // 40…: not compact-TLV
            ("3B05 80 73 C0 21 C0", true),  // third byte C0: chaining and extended length
            ("3B05 80 73 C0 21 80", false),  // chaining alone
            ("3B04 80 72 C0 21", nil),  // two bytes of capabilities: nothing said
            ("3B08 00 73 C0 21 40 05 90 00", true),  // with three status bytes behind
            ("3B07 80 31 00 73 C0 21 40", true),  // behind another object
            ("3B03 80 73 C0", nil),  // cut off
            ("3B650000 20 63 CB 68 00", nil), ("3B00", nil), ("", nil), ("3BFF", nil),
        ] as [(String, Bool?)])
    func extendedLength(atr: String, expected: Bool?) throws {
        #expect(ATR(try #require([UInt8](hex: atr))).supportsExtendedLength == expected)
    }
}
