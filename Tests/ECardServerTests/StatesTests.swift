import ECardTesting
import Foundation
import PaymentPorts
import Testing

@testable import ECardServer

@Suite("What merchants see of a payment's states", .ownThread) struct StatesTests {
    @Test("docs/oopa.md says it as the API does", arguments: OnlinePayment.State.allCases)
    func documented(state: OnlinePayment.State) throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appendingPathComponent("docs/oopa.md"), encoding: .utf8)
        let section = try #require(text.components(separatedBy: "\n## States\n").dropFirst().first)
        let row = try #require(section.split(separator: "\n").first { $0.hasPrefix("| `\(state.rawValue)`") })
        let cell = row.split(separator: "|")[3].trimmingCharacters(in: .whitespaces)
        #expect(cell == "`\(state.merchantStatus)`")
    }
}
