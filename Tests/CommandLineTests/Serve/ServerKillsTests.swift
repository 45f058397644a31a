import ECardTesting
import Foundation
import Testing

/// `ecard serve` is killed at random moments while payments are made, answered, captured, returned, refused and cancelled: what
/// was acknowledged is there, no account is debited twice, no hold is orphaned, the books of bank and issuer are the same money.
///
/// `ECARD_SERVE_KILLS=10000 swift test --filter ServerKillsTests` goes on for longer; `ECARD_TEST_SEED` draws the same again.
@Suite(.ownThread, .serialized) struct ServerKillsTests {
    static let kills = ProcessInfo.processInfo.environment["ECARD_SERVE_KILLS"].flatMap(Int.init) ?? 500
    /// Banks side by side, each with its server. Their cards have used up the day's approvals after so many kills.
    private static let lanes = 2
    private static let killsOfBank = 500

    @Test func noPaymentIsLostAndNoneDoubled() async throws {
        var generator = SeededGenerator()
        print("kills of the server: \(Self.kills), seed \(generator.seed)")
        var tally = ServeTally()
        var last: ServeCampaign?
        while tally.all < Self.kills {
            let count = min(Self.kills - tally.all, Self.lanes * Self.killsOfBank)
            let done = try await withThrowingTaskGroup(of: ServeCampaign.self) { group in
                for lane in 0..<Self.lanes {
                    let (kills, customers) = (generator.next(), generator.next())
                    group.addTask {
                        var campaign = try await ServeCampaign(.together, ServedBank.make())
                        var generator = SeededGenerator(seed: customers)
                        try await campaign.run(
                            ServeCampaign.kills((count + lane) / Self.lanes, seed: kills), &generator)
                        return campaign
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for campaign in done { tally.add(campaign.tally) }
            last = done.last
        }
        report(tally)
        #expect(tally.all >= Self.kills)
        #expect(tally.findings == [])
        let missed = try await ServeControls(try #require(last)).missed()
        print(
            "claim: control: faults planted in the books and in what was told, which the same checks find | \(ServeControls.count - missed.count) of \(ServeControls.count) | all | \(missed.isEmpty ? "holds" : "fails")"
        )
        #expect(missed == [])
    }

    private func report(_ tally: ServeTally) {
        tally.findings.prefix(20).forEach { print("finding: \($0)") }
        print(
            "claim: servers killed at random moments | \(tally.all) | 500 | \(tally.all >= 500 ? "holds" : "fails")")
        for (moment, count) in tally.kills.map({ ($0.key.words, $0.value) }).sorted(by: { $0.0 < $1.0 }) {
            print("claim: of them \(moment) | \(count) | | info")
        }
        print("claim: from the start of the server to listening | \(tally.start / .milliseconds(1)) ms | | info")
        print("claim: requests sent, and cut off by a kill | \(tally.requests), \(tally.unanswered) | | info")
        print(
            "claim: payments made, and approvals that a telephone showed | \(tally.orders), \(tally.approvals) | | info"
        )
        print(
            "claim: webhooks that came again after a kill, under the same identifier | \(tally.repeatedWebhooks) | | info"
        )
        print(
            "claim: payments lost or doubled, money made or lost between the books, holds orphaned, tries given back, webhooks lost or renamed, answers changed when asked again | \(tally.findings.count) over \(tally.orders) payments | 0 | \(tally.findings.isEmpty ? "holds" : "fails")"
        )
    }
}
