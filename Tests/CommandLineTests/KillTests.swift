import ECardTesting
import Foundation
import Testing

/// Processes that decide payments are killed, at least a thousand of them, with pcscd and the chips: no approval that
/// anybody received is lost, none is doubled, no money made or lost, no attempt given back, the audit chain whole.
///
/// `ECARD_KILLS=100000 swift test --filter KillTests` goes on for longer; `ECARD_TEST_SEED` draws the same again.
@Suite(.ownThread, .serialized) struct KillTests {
    static let kills = ProcessInfo.processInfo.environment["ECARD_KILLS"].flatMap(Int.init) ?? 1_000
    /// An issuer's cards have used up their day's approvals then: the next thousand are of another.
    static let killsOfIssuer = 1_000

    @Test func noApprovalIsLostAndNoneDoubled() async throws {
        var generator = SeededGenerator()
        print("kills: \(Self.kills), seed \(generator.seed)")
        var tally = KillTally()
        for first in stride(from: 0, to: Self.kills, by: Self.killsOfIssuer) {
            let count = min(Self.killsOfIssuer, Self.kills - first)
            var campaign = try await PCSCService.exclusively { _ in try await KillCampaign() }
            while campaign.tally.total < count * 17 / 20 {
                let rest = count * 17 / 20 - campaign.tally.total
                try await campaign.round(kills: min(rest, KillCampaign.killsInRound), &generator)
            }
            try await PCSCService.exclusively { service in
                try await campaign.killChips(count - campaign.tally.total, service, &generator)
            }
            try await campaign.finish(&generator)
            tally.add(campaign.tally)
        }
        report(tally)
        #expect(tally.total >= Self.kills)
        #expect(tally.findings == [])
    }

    private func report(_ tally: KillTally) {
        tally.lines.forEach { print("killed: \($0)") }
        let lost = tally.findings.count
        print(
            "claim: processes killed at random moments | \(tally.total) | 1,000 | \(tally.total >= 1_000 ? "holds" : "fails")"
        )
        for moment in KillTally.Moment.allCases {
            print("claim: of them \(moment.rawValue) | \(tally.kills(at: moment)) | | info")
        }
        print("claim: requests sent, and sent again | \(tally.requests), \(tally.resent) | | info")
        print(
            "claim: requests whose second answer was another than the first | \(tally.mismatches) of \(tally.resent) | 0 | \(tally.mismatches == 0 ? "holds" : "fails")"
        )
        print(
            "claim: approvals lost or doubled, receipts lost, money made or lost, attempts given back, records missing | \(lost) over \(tally.approvalsReceived) approvals received | 0 | \(lost == 0 ? "holds" : "fails")"
        )
    }
}
