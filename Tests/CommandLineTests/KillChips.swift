import ECardTesting
import Foundation

/// Two virtual chips pay at the same time, and the payer, the process that plays the chip, or pcscd is killed.
extension KillCampaign {
    private struct Seat {
        var card: KillCard
        let reader: String
        /// The process that plays the chip.
        var process: pid_t
        /// How long the last payment took that nobody killed.
        var typical = Duration.milliseconds(100)
    }

    /// - Parameter service: a pcscd of somebody else's is not killed.
    mutating func killChips(_ count: Int, _ service: PCSCService, _ generator: inout SeededGenerator) async throws {
        let end = tally.total + count
        var seats: [Seat] = []
        var spare = honest.dropLast(2)
        for (card, reader) in zip(honest.suffix(2), ["00 00", "00 01"]) {
            seats.append(Seat(card: card, reader: reader, process: try await insert(card, reader)))
        }
        if !service.isOurs { print("not killed: pcscd, which runs for others too") }
        while tally.total < end {
            let lot = Int.random(in: 0..<100, using: &generator)
            if lot < 15, service.isOurs {
                try await killService(service, seats, &generator)
            } else if lot < 45 {
                try await killProcesses(.chip, &seats, &generator)
            } else {
                try await killProcesses(.chipPayment, &seats, &generator)
            }
            try await payAfterwards(&seats, &spare, &generator)
        }
        try await issuer.must("ecard card eject --all")
        try await audit("after the chips", auditor.report(on: issuer.home + "/ledger.sqlite"))
    }

    private func insert(_ card: KillCard, _ reader: String) async throws -> pid_t {
        struct Inserted: Decodable { let process: pid_t }
        let deadline = ContinuousClock.now + .seconds(120)
        while true {
            let run = try await ToolRun.of(
                ["card", "insert", card.id, "--reader", reader, "--detach", "--json"], home: issuer.home)
            if let inserted = try? JSONDecoder().decode(Inserted.self, from: Data(run.out.utf8)) {
                return inserted.process
            }
            // A reader sees within 0.4 s that the card of the process killed is gone.
            guard run.err.contains("no free virtual reader"), ContinuousClock.now < deadline else {
                throw Shell.Failure("card insert: status \(run.status), \(run.err)")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    private func payment(_ seat: Seat, _ generator: inout SeededGenerator) -> (key: String, words: [String]) {
        let key = "chip-" + String(generator.next(), radix: 36)
        return (
            key,
            [
                "authorize", "--json", "--card", seat.card.id, "--code-fd", "4", "--amount",
                Order.decimal(.random(in: 1...9_99, using: &generator)), "--currency", "GHS", "--merchant",
                "Kejetia Market", "--idempotency-key", key,
            ]
        )
    }

    /// Kills the payer or its chip, in both readers at once.
    private mutating func killProcesses(
        _ victim: KillTally.Victim, _ seats: inout [Seat], _ generator: inout SeededGenerator
    ) async throws {
        let home = issuer.home
        let payments = seats.map { payment($0, &generator) }
        let delays = seats.map { $0.typical * Double.random(in: 0.3...1.1, using: &generator) }
        let runs = try await withThrowingTaskGroup(of: (Int, ToolRun).self) { group in
            for (index, seat) in seats.enumerated() {
                let words = payments[index].words
                let delay = delays[index]
                group.addTask {
                    if victim == .chip {
                        let process = seat.process
                        ChildProcess.alarms.asyncAfter(deadline: .now() + delay / .seconds(1)) {
                            kill(process, SIGKILL)
                        }
                    }
                    return (
                        index,
                        try await ToolRun.of(
                            words, home: home, input: [4: seat.card.code], killAfter: victim == .chip ? nil : delay)
                    )
                }
            }
            return try await group.reduce(into: [Int: ToolRun]()) { $0[$1.0] = $1.1 }
        }
        for index in seats.indices {
            guard let run = runs[index] else { continue }
            try count(victim, payments[index].key, run, wasKilled: victim == .chip || run.wasKilled)
            if victim == .chip {
                try await hasEnded(seats[index].process)
                seats[index].process = try await insert(seats[index].card, seats[index].reader)
            }
        }
    }

    private func hasEnded(_ process: pid_t) async throws {
        let deadline = ContinuousClock.now + .seconds(120)
        // A zombie that nobody waits for has no command line any more.
        while FileManager.default.contents(atPath: "/proc/\(process)/cmdline")?.isEmpty == false {
            guard ContinuousClock.now < deadline else { throw Shell.Failure("process \(process) does not end") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    private mutating func killService(
        _ service: PCSCService, _ seats: [Seat], _ generator: inout SeededGenerator
    ) async throws {
        let home = issuer.home
        let payments = seats.map { payment($0, &generator) }
        let typical = seats.map(\.typical).min() ?? .zero
        let delay = typical * Double.random(in: 0.3...1, using: &generator)
        let runs = try await withThrowingTaskGroup(of: (Int, ToolRun).self) { group in
            for (index, seat) in seats.enumerated() {
                let words = payments[index].words
                group.addTask {
                    (index, try await ToolRun.of(words, home: home, input: [4: seat.card.code]))
                }
            }
            try await Task.sleep(for: delay)
            await service.stop(signal: "KILL")
            return try await group.reduce(into: [Int: ToolRun]()) { $0[$1.0] = $1.1 }
        }
        try await service.start()
        for index in seats.indices {
            guard let run = runs[index] else { continue }
            // One service, two payments: counted once.
            try count(.pcscd, payments[index].key, run, wasKilled: index == 0)
        }
    }

    private mutating func count(
        _ victim: KillTally.Victim, _ key: String, _ run: ToolRun, wasKilled: Bool
    ) throws {
        tally.requests += 1
        let receipt = Receipt(run)
        let row = try auditor.report(on: issuer.home + "/ledger.sqlite").payments.first { $0.key == key }
        if wasKilled {
            tally.count(
                victim,
                row.map { $0.state == "attempted" ? .betweenCommits : .afterLastCommit } ?? .beforeFirstCommit)
        }
        guard let receipt, receipt.approved else { return }
        tally.approvalsReceived += 1
        if row?.state != "captured" || row?.response != "00" {
            tally.findings.append("\(key): approved with its chip, but the ledger has \(row?.state ?? "nothing")")
        }
    }

    /// Attempts that a card may have in an hour without its code turning out right (`AttemptCaps`).
    private static let cap = 10

    /// Every chip works, and its counter goes on: a payment to the end. A card whose payments were lost as often as the
    /// hour's cap allows is declined for that, since attempts are never given back, and another takes its place.
    private mutating func payAfterwards(
        _ seats: inout [Seat], _ spare: inout ArraySlice<KillCard>, _ generator: inout SeededGenerator
    ) async throws {
        for (index, seat) in seats.enumerated() {
            let (key, words) = payment(seat, &generator)
            let run = try await ToolRun.of(words, home: issuer.home, input: [4: seat.card.code])
            // After a restart of the service it is the wait for the card.
            if run.took < .seconds(1) { seats[index].typical = run.took }
            guard let receipt = Receipt(run), ["00", "65"].contains(receipt.responseCode) else {
                let report = try auditor.report(on: issuer.home + "/ledger.sqlite")
                let row = report.payments.first { $0.key == key }
                let lost = report.payments.filter { $0.card == seat.card.id && $0.response != "00" && $0.key != key }
                if row?.reason == "\(Self.cap) failed attempts an hour on this card", lost.count >= Self.cap,
                    let next = spare.popLast()
                {
                    try await issuer.must("ecard card eject \(seat.card.id)")
                    seats[index].card = next
                    seats[index].process = try await insert(next, seat.reader)
                    continue
                }
                tally.findings.append(
                    "the chip does not pay after a kill: status \(run.status), \(row?.reason ?? "-"), \(run.out)\(run.err)"
                )
                continue
            }
            try count(.chip, key, run, wasKilled: false)
        }
    }
}
