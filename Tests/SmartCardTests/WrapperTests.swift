import ByteCoding
import ECardTesting
import Logging
import SmartCard
import Synchronization
import Testing

struct WholeAnswersTests {
    private static func bytes(_ hex: String) -> [UInt8] { [UInt8](hex: hex) ?? [] }

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let command: String
        let answers: [String]
        let sent: [String]
        let result: String
    }

    /// ISO/IEC 7816-4, 5.3.4: a card's answers, what goes out for them, and what the caller sees.
    static let cases = [
        Case(
            testDescription: "whole at once", command: "00A40000", answers: ["9000"], sent: ["00A40000"], result: "9000"
        ),
        Case(
            testDescription: "61xx", command: "00A4040002A001", answers: ["6103", "0102039000"],
            sent: ["00A4040002A001", "00C0000003"], result: "0102039000"),
        Case(
            testDescription: "61xx with data, twice", command: "00CA006600", answers: ["AA6101", "BB6100", "CC9000"],
            sent: ["00CA006600", "00C0000001", "00C0000000"], result: "AABBCC9000"),
        Case(
            testDescription: "an error after the first piece", command: "00CA006600", answers: ["AA6101", "6F00"],
            sent: ["00CA006600", "00C0000001"], result: "AA6F00"),
        Case(
            testDescription: "6Cxx, case 2", command: "00B2010C00", answers: ["6C02", "01029000"],
            sent: ["00B2010C00", "00B2010C02"], result: "01029000"),
        Case(
            testDescription: "6Cxx, case 4", command: "80A800000283000A", answers: ["6C02", "01029000"],
            sent: ["80A800000283000A", "80A8000002830002"], result: "01029000"),
        Case(
            testDescription: "6Cxx once alone", command: "00B2010C00", answers: ["6C02", "6C03"],
            sent: ["00B2010C00", "00B2010C02"], result: "6C03"),
        Case(
            testDescription: "6Cxx to a command without Le", command: "00A40000", answers: ["6C02"], sent: ["00A40000"],
            result: "6C02"),
        Case(
            testDescription: "6Cxx to GET RESPONSE", command: "00A4040002A001",
            answers: ["6105", "6C03", "0102039000"],
            sent: ["00A4040002A001", "00C0000005", "00C0000003"], result: "0102039000"),
        Case(
            testDescription: "on logical channel 2, chained, proprietary", command: "92CA006600",
            answers: ["6101", "AA9000"], sent: ["92CA006600", "02C0000001"], result: "AA9000"),
        Case(
            testDescription: "on logical channel 5", command: "41CA006600", answers: ["6101", "AA9000"],
            sent: ["41CA006600", "41C0000001"], result: "AA9000"),
        Case(testDescription: "no status word", command: "00A40000", answers: ["61"], sent: ["00A40000"], result: "61"),
    ]

    @Test(arguments: cases) func answers(_ test: Case) async throws {
        let card = FakeCard(answers: test.answers.map(Self.bytes))
        let answer = try await WholeAnswers(card).transmit(Self.bytes(test.command))
        #expect(answer.hex == test.result)
        #expect(card.commands.map(\.hex) == test.sent)
    }

    @Test func aCardThatNeverEndsIsGivenUp() async {
        let endless = FakeCard { _, _ in [0x61, 0x00] }
        let rounds = await cardError {
            _ = try await WholeAnswers(endless, maximumRounds: 5).transmit([0, 0xCA, 0, 0, 0])
        }
        #expect(rounds?.kind == .malformedAnswer)
        #expect(endless.commands.count == 6)
        let large = FakeCard { _, _ in [UInt8](repeating: 1, count: 256) + [0x61, 0x00] }
        let bytes = await cardError {
            _ = try await WholeAnswers(large, maximumLength: 1000).transmit([0, 0xCA, 0, 0, 0])
        }
        #expect(bytes?.kind == .malformedAnswer)
        #expect(large.commands.count == 4)
        let short = FakeCard(answers: [[0x61, 0x02], [0x90]])
        let one = await cardError { _ = try await WholeAnswers(short).transmit([0, 0xCA, 0, 0, 0]) }
        #expect(one?.kind == .malformedAnswer)
    }
}

struct TimeLimitedTests {
    @Test func anAnswerInTimePassesAndSoDoesAnError() async throws {
        let card = TimeLimited(FakeCard(answers: [[0x90, 0x00]]), limit: .seconds(60))
        #expect(try await card.transmit([0, 0, 0, 0]) == [0x90, 0x00])
        #expect(await cardError { _ = try await card.transmit([0, 0, 0, 0]) }?.kind == .cardMute)
    }

    @Test func aHangingChannelTimesOutAndIsDead() async {
        // Ignores cancellation, as a C call does.
        let hanging = FakeCard { _, _ in await withCheckedContinuation { Hung.keep($0) } }
        let card = TimeLimited(hanging, limit: .milliseconds(20))
        #expect(await cardError { _ = try await card.transmit([0, 0, 0, 0]) }?.kind == .timedOut)
        #expect(await cardError { _ = try await card.transmit([0, 0, 0, 0]) }?.kind == .timedOut)
        #expect(hanging.commands.count == 1)
        Hung.release()
    }

    @Test func cancellationReachesTheChannelInside() async {
        let waiting = FakeCard { _, _ throws(CardError) in
            guard (try? await Task.sleep(for: .seconds(60))) != nil else { throw CardError(.cancelled, "inside") }
            return [0x90, 0x00]
        }
        let card = TimeLimited(waiting, limit: .seconds(60))
        let task = Task { try await card.transmit([0, 0, 0, 0]) }
        task.cancel()
        #expect(await cardError { _ = try await task.value } == CardError(.cancelled, "inside"))
    }

    /// Continuations that a test lets go at its end.
    private enum Hung {
        private static let kept = Mutex<[CheckedContinuation<[UInt8], Never>]>([])
        static func keep(_ continuation: CheckedContinuation<[UInt8], Never>) {
            kept.withLock { $0.append(continuation) }
        }
        static func release() {
            kept.withLock { kept in
                kept.forEach { $0.resume(returning: [0x90, 0x00]) }
                kept = []
            }
        }
    }
}

struct MaskedLogTests {
    /// Lines as a log handler gets them.
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func append(_ line: String) { lines.withLock { $0.append(line) } }
    }

    private struct Handler: LogHandler {
        let lines: Lines
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .trace
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) { lines.append("\(event.level) \(event.message)") }
    }

    private static func log(
        _ card: FakeCard, level: Logger.Level = .trace, _ body: (MaskedLog) async throws -> Void
    ) async throws -> [String] {
        let lines = Lines()
        var logger = Logger(label: "test") { _ in Handler(lines: lines) }
        logger.logLevel = level
        try await body(MaskedLog(card, logger: logger))
        return lines.all
    }

    @Test(arguments: [
        ("0020008008241234FFFFFFFFFF", "00200080 VERIFY, 8 bytes"),  // a PIN block
        ("80D8008103112233", "80D80081 PUT KEY, 3 bytes"),
        ("00A4040007A000000004101000", "00A40400 SELECT A0000000041010, Le 256"),
        ("0CA4040007A000000004101000", "0CA40400 SELECT, 7 bytes, Le 256"),  // secure messaging: not an AID
        ("00A40000023F00", "00A40000 SELECT, 2 bytes"),
        ("00A40400114711539999999999991122334455667788", "00A40400 SELECT, 17 bytes"),  // too long for an AID
        ("00B2010C00", "00B2010C READ RECORD, Le 256"), ("0006000001", "00060000, Le 1"),
        ("4711", "malformed command of 2 bytes"), ("0020008008241234", "malformed command of 8 bytes"),
    ])
    func commandsShowNoData(command: String, shown: String) throws {
        #expect(MaskedLog.masked(command: try #require([UInt8](hex: command))) == shown)
    }

    @Test func aDialogueShowsHeadersLengthsAndStatus() async throws {
        let record = [UInt8](hex: "70095A074761739001010010") ?? []
        let card = FakeCard(answers: [record + [0x90, 0x00], [0x63, 0xC2], [0x61]])
        let lines = try await Self.log(card) { log in
            _ = try await log.transmit([0x00, 0xB2, 0x01, 0x0C, 0x00])
            _ = try await log.transmit([0x00, 0x20, 0x00, 0x80, 0x02, 0x12, 0x34])
            _ = try await log.transmit([0x00, 0x20, 0x00, 0x80])
            _ = await cardError { _ = try await log.transmit([0x00, 0x84, 0x00, 0x00, 0x08]) }
        }
        #expect(lines.count == 8)
        #expect(lines[0] == "trace → 00B2010C READ RECORD, Le 256")
        #expect(lines[1].hasPrefix("debug 00B2010C READ RECORD, Le 256 → \(record.count) bytes, 9000 (done), "))
        #expect(lines[3].contains("63C2 (wrong, 2 tries left)"))
        #expect(lines[5].contains("malformed answer of 1 bytes"))
        #expect(lines[7].contains("the card does not respond"))
        for line in lines { #expect(!line.contains("4761739001010010") && !line.contains("1234")) }
    }

    @Test func debugHasOneLineAnExchangeAndInfoNone() async throws {
        let debug = try await Self.log(.iso, level: .debug) { _ = try await $0.transmit([0, 0xA4, 4, 0]) }
        #expect(debug.count == 1)
        let info = try await Self.log(.iso, level: .info) { _ = try await $0.transmit([0, 0xA4, 4, 0]) }
        #expect(info.isEmpty)
    }
}

struct ConformanceTests {
    @Test func everyWrapperConforms() async throws {
        try await checkCardChannel(FakeCard.iso)
        try await checkCardChannel(WholeAnswers(FakeCard.iso))
        try await checkCardChannel(TimeLimited(FakeCard.iso, limit: .seconds(60)))
        try await checkCardChannel(
            MaskedLog(FakeCard.iso, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
    }

    @Test func aReplayOfAConformingCardConforms() async throws {
        let recorder = Recorder(FakeCard.iso)
        try await checkCardChannel(recorder)
        let replay = Replay(try Recording(text: recorder.recording.text))
        try await checkCardChannel(replay)
        #expect(replay.remaining == 0)
    }
}
