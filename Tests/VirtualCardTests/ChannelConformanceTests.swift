import ECardTesting
import Foundation
import Testing
import VirtualCard

@Suite("The chip in this process is a card channel like any other")
struct ChannelConformanceTests {
    @Test("It passes what every channel must", arguments: [false, true])
    func conformance(exposed: Bool) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-chip-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let chip = try VirtualChip.manufacture(at: folder.path + "/a.chip", exposed: exposed)
        try await checkCardChannel(chip.channel)
    }
}
