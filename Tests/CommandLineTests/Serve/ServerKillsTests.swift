import ECardTesting
import Foundation
import Testing

/// `ecard serve` is killed at random moments while payments are made, answered, captured, returned, refused and cancelled: what
/// was acknowledged is there, no account is debited twice, no hold is orphaned, the books of bank and issuer are the same money.
/// Both ways: bank and issuer in one process, and apart, over mutual TLS.
///
/// `ECARD_SERVE_KILLS=10000 swift test --filter ServerKillsTests` goes on for longer; `ECARD_TEST_SEED` draws the same again.
@Suite(.ownThread, .serialized) struct ServerKillsTests {
    enum Roles: String, Sendable, CaseIterable { case together, apart }

    /// Of each of the two.
    static let kills = ProcessInfo.processInfo.environment["ECARD_SERVE_KILLS"].flatMap(Int.init) ?? 250
    /// Banks side by side, each with its servers. Their cards have used up the day's approvals after so many kills.
    private static let lanes = 2
    private static let killsOfBank = 500

    @Test(arguments: Roles.allCases)
    func noPaymentIsLostAndNoneDoubled(_ roles: Roles) async throws {
        var generator = SeededGenerator()
        print("kills of the server, roles \(roles): \(Self.kills), seed \(generator.seed)")
        var tally = ServeTally()
        var last: ServeCampaign?
        while tally.all < Self.kills {
            let count = min(Self.kills - tally.all, Self.lanes * Self.killsOfBank)
            let done = try await withThrowingTaskGroup(of: ServeCampaign.self) { group in
                for lane in 0..<Self.lanes {
                    let (kills, customers) = (generator.next(), generator.next())
                    group.addTask {
                        try await Self.campaign(roles, (count + lane) / Self.lanes, seeds: (kills, customers))
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for campaign in done { tally.add(campaign.tally) }
            last = done.last
        }
        report(tally, "roles \(roles)")
        #expect(tally.all >= Self.kills)
        #expect(tally.findings == [])
        let missed = try await ServeControls(try #require(last)).missed()
        print(
            "claim: roles \(roles), control: faults planted in the books and in what was told, which the same checks find | \(ServeControls.count - missed.count) of \(ServeControls.count) | all | \(missed.isEmpty ? "holds" : "fails")"
        )
        #expect(missed == [])
    }

    private static func campaign(
        _ roles: Roles, _ kills: Int, seeds: (kills: UInt64, customers: UInt64)
    ) async throws -> ServeCampaign {
        var generator = SeededGenerator(seed: seeds.customers)
        var campaign: ServeCampaign
        switch roles {
        case .together:
            campaign = try await ServeCampaign(.together, ServedBank.make())
            try await campaign.run(ServeCampaign.kills(kills, seed: seeds.kills), &generator)
        case .apart:
            let bank = try await ServedBank.makeApart()
            campaign = try await ServeCampaign(.apart(bank), bank)
            try await campaign.run(ServeCampaign.killsApart(kills, seed: seeds.kills), &generator)
        }
        return campaign
    }

    private func report(_ tally: ServeTally, _ roles: String) {
        tally.findings.prefix(20).forEach { print("finding: \($0)") }
        print(
            "claim: \(roles), servers killed at random moments | \(tally.all) | \(Self.kills) | \(tally.all >= Self.kills ? "holds" : "fails")"
        )
        let counts =
            tally.victims.map { ($0.key.rawValue, $0.value) }.sorted { $0.0 < $1.0 }
            + tally.kills.map { ($0.key.words, $0.value) }.sorted { $0.0 < $1.0 }
        for (what, count) in counts { print("claim: \(roles), of them \(what) | \(count) | | info") }
        print(
            "claim: \(roles), from the start of a server to listening | \(Int(tally.start / .milliseconds(1))) ms | | info"
        )
        print("claim: \(roles), requests sent, and cut off by a kill | \(tally.requests), \(tally.unanswered) | | info")
        print(
            "claim: \(roles), payments made, and approvals that a telephone showed | \(tally.orders), \(tally.approvals) | | info"
        )
        print(
            "claim: \(roles), webhooks that came again after a kill, under the same identifier | \(tally.repeatedWebhooks) | | info"
        )
        print(
            "claim: \(roles), payments lost or doubled, money made or lost between the books, holds orphaned, tries given back, webhooks lost or renamed, answers changed when asked again | \(tally.findings.count) over \(tally.orders) payments | 0 | \(tally.findings.isEmpty ? "holds" : "fails")"
        )
    }
}
