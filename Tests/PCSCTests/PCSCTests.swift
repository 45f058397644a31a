import ByteCoding
import ECardTesting
import PCSC
import SmartCard
import Synchronization
import Testing
import VirtualCard

/// Everything that needs a running pcscd and its virtual readers.
// The limit is for hangs: the wait for a turn at the readers counts.
@Suite(.ownThread, .serialized, .virtualReaders, .timeLimit(.minutes(30)))
struct PCSCTests {
    static let echo: [UInt8] = [0x00, 0xB0, 0x00, 0x00]
    static let reader = "Virtual PCD 00 00"

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
            #expect(times[500] < .milliseconds(40))
        }
    }

    // MARK: Readers and events

    /// The second reader may hold a card of whoever works on this machine; the first is the tests'.
    @Test(arguments: VirtualReaderLink.ports) func readersAreNamedAndVirtual(port: UInt16) async throws {
        let name = try #require(VirtualReaderLink.readerName(port: port))
        let empty = try await PCSC.readerStates().choose(name)
        #expect(empty.name == name && empty.isVirtual)
        guard !empty.isCardPresent else { return print("not run: a card is in \(name)") }
        #expect(empty.atr == nil)
        try await withChip(port: port) { inserted in
            let state = try await PCSC.readerStates().choose(String(name.suffix(6)))
            #expect(state.name == inserted.reader)
            #expect(state.isVirtual && state.isCardPresent && !state.isMute && !state.isExclusive)
            #expect(state.atr == ATR(TestChip.t0))
        }
    }

    @Test func insertionAndRemovalAreEvents() async throws {
        var events = PCSC.events.makeAsyncIterator()
        try await next(&events) {
            if case .readerAdded(let reader) = $0 { reader.name == Self.reader && !reader.isCardPresent } else { false }
        }
        let inserted = try await InsertedChip()
        try await next(&events) {
            if case .cardInserted(let new) = $0 {
                new.name == Self.reader && new.atr == ATR(TestChip.t0)
            } else {
                false
            }
        }
        try await inserted.remove()
        try await next(&events) { $0 == .cardRemoved(Self.reader) }
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
        let none = await cardError { _ = try await PCSC.waitForCard(reader: "PCD 00 00", timeout: .milliseconds(50)) }
        #expect(none?.kind == .timedOut)
        let waiting = Task { try await PCSC.waitForCard(reader: Self.reader, timeout: .seconds(60)) }
        waiting.cancel()
        #expect(await cardError { _ = try await waiting.value }?.kind == .cancelled)
        let link = try VirtualReaderLink(chip: TestChip())
        async let card = PCSC.waitForCard(reader: "pcd 00 00", timeout: .seconds(60))
        link.start()
        #expect(try await card.name == Self.reader)
        let there = try await PCSC.waitForCard(reader: Self.reader, timeout: .zero)
        #expect(there.atr == ATR(TestChip.t0))
        link.stop()
        try await eventually("empty") { try await !PCSC.readerStates().choose(Self.reader).isCardPresent }
    }

    // MARK: Connecting and transactions

    @Test func connectingWhereThereIsNothing() async {
        #expect(await cardError { _ = try await PCSCCard.connect(to: Self.reader) }?.kind == .noCard)
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
            // Connecting has this time, too, on a busy machine.
            let options = PCSCCard.Options(timeLimit: .seconds(3))
            let card = try await PCSCCard.connect(to: inserted.reader, options: options)
            let start = ContinuousClock.now
            let error = await cardError { _ = try await card.withTransaction { try await $0.transmit(Self.echo) } }
            #expect(error?.kind == .timedOut)
            #expect(ContinuousClock.now - start < .seconds(20))
            #expect(await cardError { try await card.withTransaction { _ in } }?.kind == .timedOut)
            #expect(await cardError { try await card.reconnect() }?.kind == .timedOut)
            // The abandoned thread lets the card go once it comes back, and a new connection works.
            chip.release()
            try await eventually("a new connection") {
                guard let fresh = try? await PCSCCard.connect(to: inserted.reader, options: options) else {
                    return false
                }
                let answer = try? await fresh.withTransaction { try await $0.transmit(Self.echo) }
                return answer == Self.echo + [0x90, 0x00]
            }
        }
    }

    @Test func waitingForAnotherProgramEndsInTimeAndDisturbsNothing() async throws {
        try await withChip { inserted in
            let mine = try await PCSCCard.connect(to: inserted.reader)
            let other = try await PCSCCard.connect(
                to: inserted.reader, options: .init(timeLimit: .seconds(3)))
            try await mine.withTransaction { channel in
                _ = try await channel.transmit(Self.echo)
                #expect(await cardError { try await other.withTransaction { _ in } }?.kind == .timedOut)
                _ = try await channel.transmit(Self.echo)
            }
            let resets = inserted.chip.resetCount
            // The abandoned thread gets its turn now, and lets the card go as it is.
            let third = try await PCSCCard.connect(to: inserted.reader)
            _ = try await third.withTransaction { try await $0.transmit(Self.echo) }
            _ = try await mine.withTransaction { try await $0.transmit(Self.echo) }
            #expect(inserted.chip.resetCount == resets)
            #expect(inserted.chip.commandCount == 4)
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
            _ = try await PCSC.waitForCard(reader: inserted.reader, timeout: .seconds(60))
            #expect(await cardError { try await card.withTransaction { _ in } }?.kind == .cardRemoved)
            let fresh = try await PCSCCard.connect(to: inserted.reader)
            _ = try await fresh.withTransaction { try await $0.transmit(Self.echo) }
        }
    }

    @Test(arguments: [0, 3, 65_536, 70_000]) func impossibleLengthsAreRefusedBeforeTheReader(_ count: Int) async throws
    {
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
}
