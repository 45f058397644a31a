import ArgumentParser
import Issuing
import Ledger

struct DecisionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decision",
        abstract: "Whole decisions with their two durable commits against the C rate of their PKCS #11 calls.",
        discussion: """
            The floor makes the same PKCS #11 calls as one decision, one after the other on one thread, and nothing else: \
            PAN index, request digest, ARQC with both answers, code, and two audit seals. It takes turns with runs of real \
            decisions on a ledger of 1,024 cards, one after the other; a ratio is the median over all turns.
            """)

    @Option(help: ArgumentHelp("How long each number in flight is measured.", valueName: "seconds")) var seconds = 16.0
    @Option(help: ArgumentHelp("Numbers of decisions in flight.", valueName: "counts")) var inFlight = "1,4,16,64,256"
    @Option(help: "Sessions that the key store may lend at once (default: as the tool).") var sessions: Int?
    @OptionGroup var page: PageOptions

    /// The share of C's rate that is promised with 64 in flight.
    private static let target = 0.5
    private static let promised = 64
    /// As many as the largest number in flight may be. They pay in turn: a card that pays hundreds of times a day is no card.
    private static let cards = 1024
    /// Decisions of a run for each in flight: so many that filling up and running out hardly count.
    private static let rounds = 16

    private struct Row {
        let inFlight: Int
        var rates: [Double] = []
        var ratios: [Double] = []
        var cpuMicroseconds: [Double] = []
        var latencies: [Double] = []
    }

    func run() async throws {
        let counts = inFlight.split(separator: ",").compactMap { Int($0) }
        guard !counts.isEmpty, counts.allSatisfy({ (1...Self.cards).contains($0) }) else {
            throw ValidationError("--in-flight takes numbers from 1 to 1024, such as 1,16,64")
        }
        let issuer = try await TemporaryIssuer()
        let keys = try issuer.open(poolSize: sessions)
        let set = try await DecisionSet(
            issuer.folder + "/decision.sqlite", keys: keys, cards: Self.cards, payers: Self.cards)
        var paid = 0
        var rows: [Row] = []
        for count in counts {
            var row = Row(inFlight: count)
            let end = Moment.now().wall + seconds
            while Moment.now().wall < end || row.rates.count < 5 {
                let wanted = max(64, count * Self.rounds)
                var requests: [AuthorizationRequest] = []
                while requests.count < wanted {
                    let (round, first) = paid.quotientAndRemainder(dividingBy: Self.cards)
                    let payers = set.payers.dropFirst(first).prefix(wanted - requests.count)
                    requests += try await set.requests(payers, atc: UInt16(round + 1))
                    paid += payers.count
                }
                // Before and after: the machine's own speed changes within a run.
                let before = try Duel.decisionFloor(issuer, keys)
                let run = try await DecisionRun(set.authorizer(), requests, inFlight: count)
                let after = try Duel.decisionFloor(issuer, keys)
                row.rates.append(run.rate)
                row.ratios.append(run.rate * (1 / before + 1 / after) / 2)
                row.cpuMicroseconds.append(run.cpu / Double(run.count) * 1e6)
                row.latencies += run.latencies
            }
            print(
                "\(count) in flight: \(Int(row.rates.median))/s, \(row.ratios.median.rounded(3)) of C "
                    + "(quarters from \(row.ratios.quantile(0.25).rounded(3)) to \(row.ratios.quantile(0.75).rounded(3))), "
                    + "CPU \(Int(row.cpuMicroseconds.median)) µs a decision, latency ms p50 "
                    + "\(row.latencies.median.rounded(2)) p95 \(row.latencies.quantile(0.95).rounded(2)) "
                    + "p99 \(row.latencies.quantile(0.99).rounded(2)) (\(row.rates.count) runs)")
            rows.append(row)
        }
        if page.record { try record(rows) }
        for row in rows { print(claim(row).line) }
        let findings = try await set.ledger.verify(since: nil)
        print(
            Claim(
                "the ledger verifies after the measured decisions", measured: "\(findings.count) findings", target: "0",
                holds: findings.isEmpty
            ).line)
    }

    private func record(_ rows: [Row]) throws {
        try PerformancePage.write(
            "decision",
            PerformancePage.table(
                ["in flight", "decisions a second", "share of C's rate", "CPU µs each", "p50 ms", "p95 ms", "p99 ms"],
                rows.map { row in
                    [
                        "\(row.inFlight)", grouped(row.rates.median), "\(row.ratios.median.rounded(2))",
                        grouped(row.cpuMicroseconds.median), "\(row.latencies.median.rounded(2))",
                        "\(row.latencies.quantile(0.95).rounded(2))", "\(row.latencies.quantile(0.99).rounded(2))",
                    ]
                }))
        try PerformancePage.write(
            .lines(
                "Durable decisions a second",
                [.init(name: "decisions", points: rows.map { (Double($0.inFlight), $0.rates.median) })],
                x: "in flight", y: "a second"), "decision-rate.svg")
        try PerformancePage.write(
            .lines(
                "Time of a durable decision",
                [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)].map { name, share in
                    .init(name: name, points: rows.map { (Double($0.inFlight), $0.latencies.quantile(share)) })
                }, x: "in flight", y: "milliseconds"), "decision-latency.svg")
    }

    private func claim(_ row: Row) -> Claim {
        let measured =
            "\(row.ratios.median.rounded(2)) (\(Int(row.rates.median)) decisions a second; half of \(row.ratios.count) runs "
            + "between \(row.ratios.quantile(0.25).rounded(2)) and \(row.ratios.quantile(0.75).rounded(2)))"
        let what = "durable decisions, \(row.inFlight) in flight, share of the bare C rate of their PKCS #11 calls"
        guard row.inFlight == Self.promised else { return Claim(what, measured: measured) }
        return Claim(
            what, measured: measured, target: "at least \(Self.target)", holds: row.ratios.median >= Self.target)
    }
}
