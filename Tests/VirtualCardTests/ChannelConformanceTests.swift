import ECardTesting
import Foundation
import Testing
import VirtualCard

@Suite("The chip in this process is a card channel like any other")
struct ChannelConformanceTests {
    @Test("It passes what every channel must", arguments: [false, true])
    func conformance(exposed: Bool) async throws {
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        let chip = try VirtualChip.manufacture(at: folder.file("a.chip"), exposed: exposed)
        try await checkCardChannel(chip.channel)
    }
}
