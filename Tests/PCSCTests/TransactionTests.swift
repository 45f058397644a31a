import ECardTesting
import PCSC
import SmartCard
import Testing
import VirtualCard

extension PCSCTests {
    // MARK: The end of a transaction

    static let endings: [PCSCCard.Disposition] = [.leave, .reset, .unpower, .eject]

    /// A payment that the card has answered is done, whether or not the card stays to be reset.
    @Test(arguments: endings) func aCardThatLeavesAtTheEndTakesNoResultBack(ending: PCSCCard.Disposition) async throws {
        try await withChip { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            let answer = try await card.withTransaction(ending: ending) { channel in
                let answer = try await channel.transmit(Self.echo)
                try await inserted.remove()
                return answer
            }
            #expect(answer == Self.echo + [0x90, 0x00])
            #expect(await cardError { try await card.withTransaction { _ in } }?.kind == .cardRemoved)
        }
    }

    @Test(arguments: endings) func whatTheBodyThrowsComesOutThoughTheEndFails(
        ending: PCSCCard.Disposition
    ) async throws {
        try await withChip { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            await #expect(throws: Unexpected.self) {
                try await card.withTransaction(ending: ending) { _ in
                    try await inserted.remove()
                    throw Unexpected()
                }
            }
        }
    }

    @Test func aServiceThatStopsAtTheEndTakesNoResultBack() async throws {
        let service = try #require(PCSCService.current)
        guard service.isOurs else { return print("not run: pcscd is not ours to stop") }
        try await withChip { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            let answer = try await card.withTransaction(ending: .reset) { channel in
                let answer = try await channel.transmit(Self.echo)
                await service.stop(signal: "KILL")
                return answer
            }
            #expect(answer == Self.echo + [0x90, 0x00])
            try await service.start()
            _ = try await PCSC.waitForCard(reader: inserted.reader, timeout: .seconds(60))
        }
    }
}
