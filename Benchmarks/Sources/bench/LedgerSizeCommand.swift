import ArgumentParser
import Foundation
import Issuing
import Ledger
import PaymentPorts

struct LedgerSizeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger-size",
        abstract: "How the number of cards in a ledger changes its decision rate.",
        discussion: """
            Fills one ledger with 64 cards and one with a million, then decides payments of both in turns, 64 in flight. Those \
            of the large one are of cards that lie evenly in it, each another. Then the large one is verified.
            """)

    @Option(help: "Cards in the large ledger.") var cards = 1_000_000
    @Option(help: ArgumentHelp("How long both are measured.", valueName: "seconds")) var seconds = 40.0
    @OptionGroup var page: PageOptions

    /// The most that the rate may change.
    private static let target = 0.1
    private static let inFlight = 64
    private static let perRun = 1024
    private static let payers = 20_480

    func run() async throws {
        let issuer = try await TemporaryIssuer()
        let keys = try issuer.open()
        let small = try await DecisionSet(
            issuer.folder + "/small.sqlite", keys: keys, cards: Self.inFlight, payers: Self.inFlight)
        note("filling a ledger with \(cards) cards …")
        let started = Moment.now().wall
        let path = issuer.folder + "/large.sqlite"
        let total = cards
        let large = try await DecisionSet(
            path, keys: keys, cards: cards, payers: min(cards, Self.payers),
            progress: {
                note("  \($0) of \(total) cards, \(Int(Moment.now().wall - started)) s")
            })
        let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
        print("\(cards) cards in \(Int(Moment.now().wall - started)) s, \(size / 1_000_000) MB")
        var pairs = Pairs()
        var round = 0
        let end = Moment.now().wall + seconds
        while Moment.now().wall < end || pairs.small.count < 6 {
            let small = try await run(small, round)
            let large = try await run(large, round)
            // The first turns fill caches.
            if round >= 2 { pairs.add(small, large) }
            round += 1
        }
        print(pairs.description)
        if page.record {
            try PerformancePage.write("ledger-size", pairs.table(Self.inFlight, cards))
            try PerformancePage.write(
                .bars(
                    "Durable decisions a second, by the number of cards",
                    [(Self.inFlight, pairs.small), (cards, pairs.large)].map { count, runs in
                        let rate = runs.map(\.rate).median
                        return ("\(grouped(Double(count))) cards", rate, grouped(rate))
                    }, target: nil), "ledger-size.svg")
        }
        try await verify(large, size)
        print(
            Claim(
                "change of the decision rate with \(cards) cards in the ledger instead of \(Self.inFlight)",
                measured: pairs.change.percent,
                target: "less than 10 %", holds: abs(pairs.change) < Self.target
            ).line)
    }

    private func run(_ set: DecisionSet, _ round: Int) async throws -> DecisionRun {
        let count = set.payers.count
        var requests: [AuthorizationRequest] = []
        // Each payer's cryptograms in the order of its ATC, and never two of one in flight.
        var taken = 0
        while taken < Self.perRun {
            let number = round * Self.perRun + taken
            let portion = min(Self.perRun - taken, count - number % count)
            let payers = (0..<portion).map { set.payers[(number + $0) % count] }
            requests += try await set.requests(payers, atc: UInt16(number / count + 1))
            taken += portion
        }
        return try await DecisionRun(set.authorizer(), requests, inFlight: Self.inFlight)
    }

    private func verify(_ set: DecisionSet, _ size: Int) async throws {
        note("verifying …")
        let memory = residentSize()
        let started = Moment.now().wall
        let findings = try await set.ledger.verify(since: nil)
        let took = Moment.now().wall - started
        let grown = max(0, residentSize() - memory) / 1_000_000
        let records = try await set.ledger.checkpoint().count
        print(
            Claim(
                "findings of ledger verify on \(records) audit records of \(cards) cards, in \(Int(took)) s",
                measured: "\(findings.count)", target: "0", holds: findings.isEmpty
            ).line)
        print(
            Claim(
                "memory that ledger verify added, of a ledger of \(size / 1_000_000) MB", measured: "\(grown) MB",
                target: "less than 200 MB", holds: grown < 200
            ).line)
    }
}

/// Runs of both ledgers, one after the other.
private struct Pairs: CustomStringConvertible {
    var small: [DecisionRun] = []
    var large: [DecisionRun] = []

    mutating func add(_ small: DecisionRun, _ large: DecisionRun) {
        self.small.append(small)
        self.large.append(large)
    }

    /// Of the rate: 0.1 is ten percent faster, -0.1 ten percent slower.
    var change: Double { zip(small, large).map { $1.rate / $0.rate }.median - 1 }
    private var cpuChange: Double { zip(small, large).map { $1.cpu / $0.cpu }.median - 1 }

    func table(_ small: Int, _ large: Int) -> String {
        PerformancePage.table(
            ["cards", "decisions a second", "CPU µs each", "p95 ms"],
            [(small, self.small), (large, self.large)].map { count, runs in
                [
                    grouped(Double(count)), grouped(runs.map(\.rate).median),
                    grouped(runs.map { $0.cpu / Double($0.count) * 1e6 }.median),
                    "\(runs.flatMap(\.latencies).quantile(0.95).rounded(2))",
                ]
            }) + "\nThe rate changes by \(change.percent), the CPU time by \(cpuChange.percent).\n"
    }

    var description: String {
        func row(_ name: String, _ runs: [DecisionRun]) -> String {
            "\(name): \(Int(runs.map(\.rate).median))/s, CPU "
                + "\(Int(runs.map { $0.cpu / Double($0.count) * 1e6 }.median)) µs a decision, latency p95 "
                + "\(runs.flatMap(\.latencies).quantile(0.95).rounded(2)) ms"
        }
        return row("small", small) + "\n" + row("large", large)
            + "\nchange of the rate \(change.percent), of the CPU time \(cpuChange.percent) (\(small.count) pairs)"
    }
}

extension Double {
    /// With its sign, one decimal place.
    var percent: String { String(format: "%+.1f %%", self * 100) }
}

/// Progress, for a person.
func note(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
