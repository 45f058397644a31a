import ByteCoding
import ECardTesting
import PCSC
import SmartCard
import Testing
import VirtualCard

@Suite(.serialized, .virtualReaders)
struct PCSCTests {
    @Test func medianOfACommand() async throws {
        try await withChip { inserted in
            let card = try await PCSCCard.connect(to: inserted.reader)
            let times = try await card.withTransaction { channel in
                var times: [Duration] = []
                for _ in 0..<3000 {
                    let start = ContinuousClock.now
                    _ = try await channel.transmit([0x00, 0xB0, 0x00, 0x00])
                    times.append(ContinuousClock.now - start)
                }
                return times.sorted()
            }
            print("median of 3000 commands through pcscd:", times[1500], "p99", times[2970])
            #expect(times[1500] < .milliseconds(5))
        }
    }
}
