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
        tally.addKill(in: underWay)
    }

    /// Bank and issuer run apart, and now the one is killed, now the other, now both, `count` times in all; the other goes on.
    static func killsApart(_ count: Int, seed: UInt64) -> Trouble {
        { campaign, line, tally in
            var generator = SeededGenerator(seed: seed)
            let processes = try await campaign.start(line)
            let end = tally.all + count
            while tally.all < end { try await campaign.death(in: processes, line, end, &tally, &generator) }
            return processes
        }
    }

    /// Kills somewhere in the next requests; in one of six the next life, too, before it listens. While the issuer alone is dead
    /// the bank is asked on.
    private func death(
        in processes: ServedProcesses, _ line: ServedLine, _ end: Int, _ tally: inout ServeTally,
        _ generator: inout SeededGenerator
    ) async throws {
        let victims: [ServeTally.Victims] = [.bank, .bank, .issuer, .issuer, .both]
        let victim = victims[Int.random(in: 0..<victims.count, using: &generator)]
        let isDeadLonger = Bool.random(using: &generator)
        let dieAgain = Int.random(in: 0..<6, using: &generator) == 0
        let share = Double.random(in: 0..<1, using: &generator)
        try await line.wait(sent: Int.random(in: 0...32, using: &generator))
        try await Task.sleep(for: .milliseconds(20) * share)
        let underWay = line.underWay
        await processes.kill(victim.indices)
        if victim != .issuer { line.goesTo(nil) }
        tally.addKill(in: underWay)
        tally.victims[victim, default: 0] += 1
        if victim == .issuer, isDeadLonger { try await line.wait(sent: 8) }
        let begun = ContinuousClock.now
        try processes.restart(victim.indices)
        if dieAgain, tally.all < end {
            try await Task.sleep(for: tally.start * share)
            await processes.kill(victim.indices)
            tally.kills[.starting, default: 0] += 1
            tally.victims[victim, default: 0] += 1
            try processes.restart(victim.indices)
        }
        guard let url = try await processes.url() else {
            throw Shell.Failure("serve ended by itself: \(processes.log)")
        }
        if !dieAgain { tally.start = tally.start * 0.9 + (ContinuousClock.now - begun) * 0.1 }
        line.goesTo(url)
    }
}
