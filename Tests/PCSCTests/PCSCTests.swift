import Foundation
import ByteCoding
import ECardTesting
import PCSC
import SmartCard
import Synchronization
import Testing
import VirtualCard

/// Everything that needs a running pcscd and its virtual readers.
@Suite(.serialized, .virtualReaders, .timeLimit(.minutes(1)))
struct PCSCTests {
    static let echo: [UInt8] = [0x00, 0xB0, 0x00, 0x00]

    /// A write too many or a late acknowledgement costs 40 ms a command: see ``VirtualReaderLink``.
    @Test func aCommandIsQuick() async throws {
        try await withChip { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            let times = try await card.withTransaction { channel in
                var times: [Duration] = []
                for _ in 0..<1000 {
                    let start = ContinuousClock.now
                    _ = try await channel.transmit(Self.echo)
                    times.append(ContinuousClock.now - start)
                }
                return times.sorted()
            }
            print("a command through pcscd: median \(times[500]), 99th percentile \(times[990])")
            #expect(times[500] < .milliseconds(5))
        }
    }

    // MARK: Readers and events

    @Test func readersAreNamedAndVirtual() async throws {
        let empty = try await PCSC.readerStates()
        #expect(empty.map(\.name).contains("Virtual PCD 00 00"))
        #expect(empty.map(\.name).contains("Virtual PCD 00 01"))
        #expect(empty.filter(\.isVirtual).allSatisfy { !$0.isCardPresent && $0.atr == nil })
        try await withChip(port: 35964) { inserted in
            let state = try await PCSC.readerStates().choose("00 01")
            #expect(state.name == inserted.reader)
            #expect(state.isVirtual && state.isCardPresent && !state.isMute && !state.isExclusive)
            #expect(state.atr == ATR(TestChip.t0))
        }
    }

    @Test func insertionAndRemovalAreEvents() async throws {
        var events = PCSC.events.makeAsyncIterator()
        let first = [await events.next(), await events.next()]
        for name in ["Virtual PCD 00 00", "Virtual PCD 00 01"] {
            #expect(
                first.contains {
                    if case .readerAdded(let reader) = $0 { reader.name == name && !reader.isCardPresent } else { false }
                })
        }
        let inserted = try await InsertedChip()
        guard case .cardInserted(let reader) = await events.next() else { throw Unexpected() }
        #expect(reader.name == inserted.reader)
        #expect(reader.atr == ATR(TestChip.t0))
        try await inserted.remove()
        #expect(await events.next() == .cardRemoved(inserted.reader))
    }

    @Test func watchingEndsWithItsConsumer() async throws {
        for _ in 0..<20 {
            let task = Task {
                for await _ in PCSC.events {}
                return true
            }
            _ = try await PCSC.readerStates()
            task.cancel()
            #expect(await task.value)
        }
    }

    @Test func waitingForACard() async throws {
        let noSuch = await cardError { _ = try await PCSC.waitForCard(reader: "Omnikey", timeout: .zero) }
        #expect(noSuch?.kind == .noReader)
        #expect(noSuch?.place.contains("Virtual PCD 00 00") == true)
        let none = await cardError { _ = try await PCSC.waitForCard(reader: "virtual", timeout: .milliseconds(50)) }
        #expect(none?.kind == .timedOut)
        let waiting = Task { try await PCSC.waitForCard(timeout: .seconds(60)) }
        waiting.cancel()
        #expect(await cardError { _ = try await waiting.value }?.kind == .cancelled)
        try await withChip(port: 35964) { inserted in
            let named = try await PCSC.waitForCard(reader: "PCD 00 01", timeout: .zero)
            let either = try await PCSC.waitForCard(reader: "virtual", timeout: .seconds(5))
            #expect([named.name, either.name] == [inserted.reader, inserted.reader])
        }
    }

    // MARK: Connecting and transactions

    @Test func connectingWhereThereIsNothing() async {
        #expect(await cardError { _ = try await PCSCCard.connect(to: "Virtual PCD 00 00") }?.kind == .noCard)
        #expect(await cardError { _ = try await PCSCCard.connect(to: "Omnikey") }?.kind == .noReader)
        #expect(await cardError { _ = try await PCSCCard.connect(to: "virtual") }?.kind == .noReader)
    }

    @Test(arguments: [(TestChip.t0, PCSCCard.Protocols.t0), (TestChip.t1, PCSCCard.Protocols.t1)])
    func bothProtocols(atr: [UInt8], expected: PCSCCard.Protocols) async throws {
        try await withChip(TestChip(atr: atr)) { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            #expect(card.activeProtocol == expected)
            #expect(card.answerToReset == ATR(atr))
            let answer = try await card.withTransaction { try await $0.transmit(Self.echo) }
            #expect(answer == Self.echo + [0x90, 0x00])
            let other: PCSCCard.Protocols = expected == .t0 ? .t1 : .t0
            let mismatch = await cardError {
                _ = try await PCSCCard.connect(to: inserted.reader, options: .init(protocols: other))
            }
            #expect(mismatch?.kind == .unsupported)
        }
    }

    @Test func aChannelEndsWithItsTransaction() async throws {
        try await withChip { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            let leaked = try await card.withTransaction { $0 }
            #expect(await cardError { _ = try await leaked.transmit(Self.echo) }?.kind == .failed)
            try await card.withTransaction { _ in
                #expect(await cardError { _ = try await leaked.transmit(Self.echo) }?.kind == .failed)
                #expect(await cardError { try await card.withTransaction { _ in } }?.kind == .inUse)
            }
            #expect(inserted.chip.commandCount == 0)
        }
    }

    @Test func anErrorInsideEndsTheTransactionAndComesOut() async throws {
        try await withChip { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            await #expect(throws: Unexpected.self) { try await card.withTransaction { _ in throw Unexpected() } }
            let other = try await PCSCCard.connect(to: inserted.reader)
            _ = try await other.withTransaction { try await $0.transmit(Self.echo) }
        }
    }

    @Test func twoConnectionsTakeTurns() async throws {
        try await withChip { inserted in
            let log = Log<Int>()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 1...2 {
                    group.addTask { [reader = inserted.reader] in
                        let card = try await PCSCCard.connect(to: reader)
                        for _ in 0..<3 {
                            try await card.withTransaction { channel in
                                for _ in 0..<20 {
                                    _ = try await channel.transmit([0x00, UInt8(number), 0x00, 0x00])
                                    log.append(number)
                                }
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let turns = log.all
            #expect(turns.count == 120)
            for start in stride(from: 0, to: 120, by: 20) { #expect(Set(turns[start..<start + 20]).count == 1) }
        }
    }

    @Test func anExclusiveConnectionKeepsOthersOut() async throws {
        try await withChip { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader, options: .init(sharing: .exclusive))
            #expect(await cardError { _ = try await PCSCCard.connect(to: inserted.reader) }?.kind == .inUse)
            #expect(try await PCSC.readerStates().choose(inserted.reader).isExclusive)
            try await card.disconnect()
            _ = try await PCSCCard.connect(to: inserted.reader)
            #expect(await cardError { try await card.withTransaction { _ in } }?.kind == .failed)
        }
    }

    @Test func aResetByAnotherIsReportedAndNothingRepeated() async throws {
        try await withChip { inserted in
            let mine = try await PCSCCard.connect(to: inserted.reader)
            let other = try await PCSCCard.connect(to: inserted.reader)
            _ = try await mine.withTransaction { try await $0.transmit(Self.echo) }
            let resets = inserted.chip.resetCount
            try await other.withTransaction(ending: .reset) { _ in }
            #expect(inserted.chip.resetCount > resets)
            let error = await cardError { _ = try await mine.withTransaction { try await $0.transmit(Self.echo) } }
            #expect(error?.kind == .cardReset)
            #expect(inserted.chip.commandCount == 1)
            try await mine.reconnect()
            _ = try await mine.withTransaction { try await $0.transmit(Self.echo) }
            #expect(inserted.chip.commandCount == 2)
        }
    }

    // MARK: Removal and hanging

    @Test(arguments: 0..<4) func removedBetweenAnyTwoCommands(_ position: Int) async throws {
        let chip = TestChip { command, _ in .answer(command + [0x90, 0x00]) }
        try await withChip(chip) { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            let error = await cardError {
                try await card.withTransaction { channel in
                    for index in 0..<4 {
                        if index == position { inserted.link.stop() }
                        _ = try await channel.transmit(Self.echo)
                    }
                }
            }
            #expect(error?.kind == .cardRemoved, "\(String(describing: error))")
            #expect(chip.commandCount == position)
            #expect(await cardError { try await card.withTransaction { _ in } }?.kind == .cardRemoved)
        }
    }

    @Test func removedDuringACommand() async throws {
        let chip = TestChip { _, index in index == 1 ? .leave : .answer([0x90, 0x00]) }
        try await withChip(chip) { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            let error = await cardError {
                try await card.withTransaction { channel in
                    for _ in 0..<4 {
                        let answer = try await channel.transmit(Self.echo)
                        #expect(answer == [0x90, 0x00])
                    }
                }
            }
            #expect(error?.kind == .cardRemoved)
            #expect(chip.commandCount == 2)
        }
    }

    @Test func aHangingCardTimesOutAndTheConnectionIsDead() async throws {
        let chip = TestChip { command, index in index == 0 ? .hang : .answer(command + [0x90, 0x00]) }
        try await withChip(chip) { inserted in
            let options = PCSCCard.Options(timeLimit: .milliseconds(300))
            let card = try await PCSCCard.connect(to: inserted.reader, options: options)
            let start = ContinuousClock.now
            let error = await cardError { _ = try await card.withTransaction { try await $0.transmit(Self.echo) } }
            #expect(error?.kind == .timedOut)
            #expect(ContinuousClock.now - start < .seconds(2))
            #expect(await cardError { try await card.withTransaction { _ in } }?.kind == .timedOut)
            #expect(await cardError { try await card.reconnect() }?.kind == .timedOut)
            // The abandoned thread lets the card go once it comes back, and a new connection works.
            chip.release()
            try await eventually("a new connection") {
                guard let fresh = try? await PCSCCard.connect(to: inserted.reader, options: options) else { return false }
                let answer = try? await fresh.withTransaction { try await $0.transmit(Self.echo) }
                return answer == Self.echo + [0x90, 0x00]
            }
        }
    }

    // MARK: Odd answers and lengths

    @Test(arguments: [[0x6F], [0x12, 0x34], [0x6A, 0x82], [0x61, 0x05], [0x6C, 0x10]] as [[UInt8]])
    func answersComeAsTheyAre(_ answer: [UInt8]) async throws {
        try await withChip(TestChip { _, _ in .answer(answer) }) { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            try await card.withTransaction { channel in
                let received = try await channel.transmit(Self.echo)
                #expect(received == answer)
                let send = await cardError { _ = try await channel.send(CommandAPDU(0, 0xB0, 0, 0)) }
                #expect(send?.kind == (answer.count < 2 ? .malformedAnswer : nil))
            }
        }
    }

    @Test func aChipThatGivesNoAnswerFallsOutOfTheReader() async throws {
        let chip = TestChip { command, index in .answer(index == 0 ? [] : command + [0x90, 0x00]) }
        try await withChip(chip) { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            let error = await cardError { _ = try await card.withTransaction { try await $0.transmit(Self.echo) } }
            #expect(error?.kind == .cardRemoved)
            // It comes back as a card just inserted: the old connection stays dead, a new one works.
            _ = try await PCSC.waitForCard(reader: inserted.reader, timeout: .seconds(10))
            #expect(await cardError { try await card.withTransaction { _ in } }?.kind == .cardRemoved)
            let fresh = try await PCSCCard.connect(to: inserted.reader)
            _ = try await fresh.withTransaction { try await $0.transmit(Self.echo) }
        }
    }

    @Test(arguments: [0, 3, 65_536, 70_000]) func impossibleLengthsAreRefusedBeforeTheReader(_ count: Int) async throws {
        try await withChip { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            try await card.withTransaction { channel in
                let error = await cardError { _ = try await channel.transmit([UInt8](repeating: 0, count: count)) }
                #expect(error?.kind == .unsupported)
                let received = try await channel.transmit(Self.echo)
                #expect(received == Self.echo + [0x90, 0x00])
            }
            #expect(inserted.chip.commandCount == 1)
        }
    }

    @Test(arguments: [256, 1_000, 32_000, 65_528]) func extendedLengthBothWays(_ count: Int) async throws {
        let chip = TestChip { command, _ in .answer(Array(command.prefix(65_533)) + [0x90, 0x00]) }
        let command = CommandAPDU(0x00, 0xD6, 0, 0, (0..<count).map { UInt8(truncatingIfNeeded: $0) })
        try await withChip(chip) { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            #expect(card.extendedLength)
            let answer = try await card.withTransaction { try await $0.transmit(command.encoded) }
            #expect(answer == Array(command.encoded.prefix(65_533)) + [0x90, 0x00])

            let short = try await PCSCCard.connect(to: inserted.reader, options: .init(extendedLength: false))
            try await short.withTransaction { channel in
                let error = await cardError { _ = try await channel.transmit(command.encoded) }
                #expect(error?.kind == .unsupported)
            }
        }
    }

    // MARK: The service stops

    /// - Parameter signal: `TERM` lets pcscd tidy up, `KILL` does not.
    @Test(arguments: ["TERM", "KILL"]) func theServiceStopsMidwayAndComesBack(signal: String) async throws {
        let service = try #require(PCSCService.current)
        guard service.isOurs else { return print("not run: pcscd is not ours to stop") }
        var events = PCSC.events.makeAsyncIterator()
        try await withChip { inserted in
            try await next(&events) { if case .cardInserted = $0 { true } else { false } }
            let card = try await PCSCCard.connect(to: inserted.reader)
            let error = await cardError {
                try await card.withTransaction { channel in
                    _ = try await channel.transmit(Self.echo)
                    await service.stop(signal: signal)
                    _ = try await channel.transmit(Self.echo)
                }
            }
            #expect(error?.kind == .noService, "\(String(describing: error))")
            #expect(await cardError { _ = try await PCSC.readerStates() }?.kind == .noService)
            #expect(await cardError { _ = try await PCSCCard.connect(to: inserted.reader) }?.kind == .noService)
            let waiting = await cardError { _ = try await PCSC.waitForCard(timeout: .seconds(60)) }
            #expect(waiting?.kind == .noService)
            #expect(waiting?.advice.contains("pcscd") == true)
            try await next(&events) { $0 == .cardRemoved(inserted.reader) }
            try await next(&events) { if case .serviceLost(let error) = $0 { error.kind == .noService } else { false } }

            try await service.start()
            try await next(&events) { $0 == .serviceFound }
            try await next(&events) { if case .cardInserted(let new) = $0 { new.name == inserted.reader } else { false } }
            // The old connection was to the old service.
            #expect(await cardError { try await card.withTransaction { _ in } }?.kind == .noService)
            let fresh = try await PCSCCard.connect(to: inserted.reader)
            let answer = try await fresh.withTransaction { try await $0.transmit(Self.echo) }
            #expect(answer == Self.echo + [0x90, 0x00])
            #expect(inserted.chip.commandCount == 2)
        }
    }

    /// Passes over events until one is the one wanted.
    private func next(
        _ events: inout AsyncStream<ReaderEvent>.Iterator, _ isWanted: (ReaderEvent) -> Bool
    ) async throws {
        while !isWanted(try #require(await events.next())) {}
    }

    // MARK: The link

    @Test func theLinkReportsWhatBecomesOfTheCard() async throws {
        let states = Log<VirtualReaderLink.State>()
        let chip = TestChip()
        let link = try VirtualReaderLink(chip: chip) { states.append($0) }
        link.start()
        _ = try await PCSC.waitForCard(reader: "00 00", timeout: .seconds(10))
        #expect(states.all == [.connecting, .waiting, .inserted, .powered])
        link.stop()
        try await eventually("stopped") { states.all.last == .stopped }
        #expect(chip.powerOffCount > 0)
        try await eventually("empty") { try await PCSC.readerStates().allSatisfy { !$0.isCardPresent } }
    }

    @Test func aSecondCardWaitsForTheFirst() async throws {
        let second = TestChip(atr: TestChip.t1)
        let link = try VirtualReaderLink(chip: second)
        try await withChip { inserted in
            link.start()
            try await eventually("waiting") { link.state == .waiting }
            let card = try await PCSCCard.connect(to: inserted.reader)
            #expect(card.answerToReset == ATR(TestChip.t0))
        }
        try await eventually("the second is in") { link.state == .powered }
        let reader = try await PCSC.waitForCard(reader: "00 00", timeout: .seconds(10))
        #expect(reader.atr == ATR(TestChip.t1))
        link.stop()
        try await eventually("empty") { try await PCSC.readerStates().allSatisfy { !$0.isCardPresent } }
    }

    // MARK: The same as any other channel

    @Test(arguments: [TestChip.t0, TestChip.t1]) func conformance(atr: [UInt8]) async throws {
        try await withChip(TestChip(atr: atr, react: TestChip.iso)) { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            try await card.withTransaction { try await checkCardChannel($0) }
        }
    }

    @Test("The software chip behind pcscd passes what it passes in this process", arguments: [false, true])
    func conformanceOfTheChip(exposed: Bool) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-pcsc-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let chip = try VirtualChip.manufacture(at: folder.path + "/a.chip", exposed: exposed)
        let link = try VirtualReaderLink(port: 35963, chip: chip)
        link.start()
        let reader = try await PCSC.waitForCard(reader: "Virtual PCD 00 00", timeout: .seconds(10))
        let card = try await PCSCCard.connect(to: reader.name)
        try await card.withTransaction { try await checkCardChannel($0) }
        link.stop()
        try await eventually("empty") { try await PCSC.readerStates().allSatisfy { !$0.isCardPresent } }
    }
}

struct Unexpected: Error {}

/// What several threads say, in order.
final class Log<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])
    var all: [Element] { elements.withLock { $0 } }
    func append(_ element: Element) { elements.withLock { $0.append(element) } }
}

/// The card error that `body` throws; `nil` when it throws none.
func cardError(isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Void) async -> CardError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? CardError
    }
}
