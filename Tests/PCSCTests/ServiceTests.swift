import ECardTesting
import Foundation
import PCSC
import SmartCard
import Testing
import VirtualCard

extension PCSCTests {
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
            try await next(&events) {
                if case .cardInserted(let new) = $0 { new.name == inserted.reader } else { false }
            }
            // The old connection was to the old service.
            #expect(await cardError { try await card.withTransaction { _ in } }?.kind == .noService)
            let fresh = try await PCSCCard.connect(to: inserted.reader)
            let answer = try await fresh.withTransaction { try await $0.transmit(Self.echo) }
            #expect(answer == Self.echo + [0x90, 0x00])
            #expect(inserted.chip.commandCount == 2)
        }
    }

    /// Passes over events until one is the one wanted.
    func next(
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
        _ = try await PCSC.waitForCard(reader: "00 00", timeout: .seconds(60))
        #expect(states.all == [.connecting, .waiting, .inserted, .powered])
        link.stop()
        try await eventually("stopped") { states.all.last == .stopped }
        #expect(chip.powerOffCount > 0)
        try await eventually("empty") { try await !PCSC.readerStates().choose(Self.reader).isCardPresent }
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
        let reader = try await PCSC.waitForCard(reader: "00 00", timeout: .seconds(60))
        #expect(reader.atr == ATR(TestChip.t1))
        link.stop()
        try await eventually("empty") { try await !PCSC.readerStates().choose(Self.reader).isCardPresent }
    }

    /// pcscd hears of a card's end from a command that fails, and does not look before the next card is there.
    @Test func aCardInThePlaceOfOneThatWasCutOffIsSeen() async throws {
        let states = Log<VirtualReaderLink.State>()
        let second = try VirtualReaderLink(chip: TestChip(atr: TestChip.t1)) { states.append($0) }
        let first = try await InsertedChip(TestChip { _, _ in .leave })
        let card = try await PCSCCard.connect(to: first.reader)
        second.start()
        try await eventually("waiting") { second.state == .waiting }
        let error = await cardError { try await card.withTransaction { _ = try await $0.transmit(Self.echo) } }
        #expect(error != nil)
        try await eventually("seen") { try await PCSC.readerStates().choose(first.reader).atr == ATR(TestChip.t1) }
        #expect(
            states.all == [
                .connecting, .waiting, .inserted, .lost("the reader takes it for the card before"), .connecting,
                .waiting, .inserted, .powered,
            ])
        second.stop()
        try await eventually("empty") { try await !PCSC.readerStates().choose(Self.reader).isCardPresent }
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
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        let chip = try VirtualChip.manufacture(at: folder.file("a.chip"), exposed: exposed)
        let link = try VirtualReaderLink(port: 35963, chip: chip)
        link.start()
        let reader = try await PCSC.waitForCard(reader: "Virtual PCD 00 00", timeout: .seconds(60))
        let card = try await PCSCCard.connect(to: reader.name)
        try await card.withTransaction { try await checkCardChannel($0) }
        link.stop()
        try await eventually("empty") {
            try await PCSC.readerStates().first { $0.name == reader.name }?.isCardPresent != true
        }
    }
}
