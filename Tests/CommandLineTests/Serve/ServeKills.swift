import ECardTesting
import Foundation

extension ServeCampaign {
    /// The server is killed `count` times, then started once more.
    static func kills(_ count: Int, seed: UInt64) -> Trouble {
        { campaign, line, tally in
            var generator = SeededGenerator(seed: seed)
            for _ in 0..<count { try await campaign.life(line, &tally, &generator) }
            return try await campaign.start(line)
        }
    }

    /// Starts the server and kills it: in one of six before it listens, else somewhere in its first requests.
    private func life(
        _ line: ServedLine, _ tally: inout ServeTally, _ generator: inout SeededGenerator
    ) async throws {
        let isEarly = Int.random(in: 0..<6, using: &generator) == 0
        let share = Double.random(in: 0..<1, using: &generator)
        if isEarly {
            let processes = try ServedProcesses(bank.home, serve)
            try await Task.sleep(for: tally.start * share)
            tally.kills[.starting, default: 0] += 1
            return await processes.kill()
        }
        let begun = ContinuousClock.now
        let processes = try await start(line)
        tally.start = tally.start * 0.9 + (ContinuousClock.now - begun) * 0.1
        try await line.wait(sent: Int.random(in: 0...32, using: &generator))
        try await Task.sleep(for: .milliseconds(20) * share)
        let underWay = line.underWay
        await processes.kill()
        line.goesTo(nil)
        for operation in underWay { tally.kills[.in(operation), default: 0] += 1 }
        if underWay.isEmpty { tally.kills[.between, default: 0] += 1 }
        tally.total += 1
    }
}
