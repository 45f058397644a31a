import ArgumentParser
import Issuing

struct SpeedCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "speed",
        abstract: "The issuer's hot paths against bare C on the same token.",
        discussion: """
            C and ours take turns in short windows on one thread, each with a borrowed session and the same keys. A ratio is \
            the median over all windows, of the thread's CPU time: other programs on the machine do not count. Beside them: \
            the same paths with a session borrowed for each operation, the Python packages of the field, and the memory \
            that transactions leave behind.
            """)

    @Option(help: ArgumentHelp("How long each path is measured.", valueName: "seconds")) var seconds = 4.0
    @Option(help: "How many transactions the memory is watched over.") var transactions = 50_000
    @OptionGroup var page: PageOptions

    func validate() throws {
        guard (0.1...600).contains(seconds) else { throw ValidationError("--seconds: 0.1 to 600 wanted") }
        guard (1000...10_000_000).contains(transactions) else {
            throw ValidationError("--transactions: 1000 to 10000000 wanted")
        }
    }

    func run() async throws {
        let issuer = try await TemporaryIssuer()
        let duels = try Duel.all(issuer, seconds: seconds)
        for duel in duels { print(duel) }
        let paths = try await AsyncPath.all(issuer, seconds: seconds)
        for row in paths {
            print("\(row.path.rawValue), a session each, \(row.tasks) at once: \(grouped(row.perSecond))/s")
        }
        let peers = try Peer.all(issuer, seconds: seconds / 2)
        for peer in peers { print("\(peer.who), \(peer.operation): \(grouped(peer.perSecond))/s") }
        let memory = try MemoryGrowth.measure(issuer, transactions: transactions)
        if page.record { try record(duels, paths, peers, memory) }

        for duel in duels { print(duel.claim.line) }
        for row in paths where row.tasks > 1 {
            print(
                Claim(
                    "\(row.path.rawValue), a session borrowed for each, \(row.tasks) at once",
                    measured: "\(grouped(row.perSecond))/s"
                ).line)
        }
        for peer in peers {
            print(Claim("\(peer.who), \(peer.operation)", measured: "\(grouped(peer.perSecond))/s").line)
        }
        print(memory.claim.line)
    }

    private func record(_ duels: [Duel], _ paths: [AsyncPath], _ peers: [Peer], _ memory: MemoryGrowth) throws {
        let rows = duels.map { duel in
            let alone = paths.filter { $0.path == duel.path }.map { grouped($0.perSecond) }
            let beside = peers.filter { $0.operation == duel.path.rawValue }
                .map { "\(grouped($0.perSecond)) (\($0.who))" }.joined(separator: ", ")
            return [duel.path.rawValue, grouped(duel.floorRate), grouped(duel.ourRate), "\(duel.ratio.rounded(3))"]
                + alone
                + [beside]
        }
        try PerformancePage.write(
            "speed",
            PerformancePage.table(
                [
                    "operations a second", "bare C", "ours", "share of C", "a session each", "the same, 64 at once",
                    "Python",
                ], rows)
                + "\nMemory that one ARQC + ARPC leaves behind: C \(Int(MemoryGrowth.slope(memory.floor).rounded())) bytes, "
                + "ours \(Int(MemoryGrowth.slope(memory.ours).rounded())), over \(grouped(Double(transactions))) each.\n"
        )
        try PerformancePage.write(
            .bars(
                "Our rate as a share of bare C's, in a borrowed session",
                duels.map { ($0.path.rawValue, $0.ratio, "\($0.ratio.rounded(3))") }, target: Duel.target), "speed.svg")
        func series(_ name: String, _ points: [(count: Int, bytes: Int)]) -> Plot.Series {
            Plot.Series(
                name: name,
                points: points.map { (Double($0.count), Double($0.bytes - (points.first?.bytes ?? 0)) / 1_048_576) })
        }
        try PerformancePage.write(
            .lines(
                "Memory over ARQC + ARPC transactions", [series("bare C", memory.floor), series("ours", memory.ours)],
                x: "transactions", y: "MiB more than at the start"), "memory.svg")
    }
}
