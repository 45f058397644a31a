import ArgumentParser
import Foundation

struct CreateTimingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create-timing",
        abstract: "Whether the time of a merchant's answer tells if a card or its telephone exists.",
        discussion: """
            A merchant makes payments by POST /v1/payments at 'ecard serve' in a process of its own, one after the other on one \
            connection, for cards of four kinds in random order: known, unknown, blocked, without a telephone. Welch's t compares \
            every two kinds by the time until the answer is there, as 'timing' does it: on all samples, and on those below the \
            95th percentile of all kinds together. An answer leaves on a step of 5 ms, and the notice to the holder some time later.
            """)

    @Option(help: "Samples of each kind.") var samples = 5_000
    @Option(help: "Seed of the order; drawn when left out.") var seed: UInt64 = .random(in: 0...UInt64.max)
    @OptionGroup var page: PageOptions

    /// Cards of each kind.
    private static let cards = 64

    func run() async throws {
        guard samples >= 100 else { throw ValidationError("--samples: 100 or more are wanted") }
        print("seed \(seed)")
        let served = try await ServedBank(
            holders: Self.cards * ServedBank.Face.allCases.count, faces: ServedBank.Face.allCases)
        defer { served.stop() }
        let times = Comparison(try measure(served.client))
        print("A merchant's answer, µs\n\(times)")
        let findings = try served.verify()
        if page.record {
            try PerformancePage.write(
                "create-timing",
                "\(samples) samples of each kind, seed \(seed).\n\n"
                    + PerformancePage.table(
                        ["what", "largest \\|t\\|, all samples", "below the 95th percentile"],
                        [
                            ["the answer to a new payment"]
                                + Comparison.Part.allCases.map { String(format: "%.2f", abs(times.largest($0).t)) }
                        ]))
        }
        for claim in [
            times.claim("the answer to a new payment", of: samples, .all, isPromised: true),
            times.claim("the answer to a new payment", of: samples, .cropped, isPromised: true),
            Claim(
                "what the checks of both books find afterwards", measured: "\(findings.count)", target: "0",
                holds: findings.isEmpty),
        ] { print(claim.line) }
    }

    /// Microseconds of each answer.
    private func measure(_ client: ServedBank.Client) throws -> [ServedBank.Face: [Double]] {
        var generator = SplitMix(state: seed)
        // Drawn from all that are left, as 'timing' does it.
        let order = ServedBank.Face.allCases.flatMap { face in (0..<samples).map { (face, $0) } }
            .shuffled(using: &generator)
        let holders = Dictionary(grouping: client.holders, by: \.face)
        let connection = try HTTPConnection(port: client.port)
        var times: [ServedBank.Face: [Double]] = [:]
        for (place, (face, number)) in order.enumerated() {
            if place % 4000 == 0 { note("  \(place) of \(order.count) payments") }
            guard let mine = holders[face] else { throw Floor.Failure(description: "no \(face.rawValue) was made") }
            let start = Moment.now().wall
            let answer = try connection.post(
                "/v1/payments", type: "application/json", authorization: client.merchantKey,
                body: mine[number % mine.count].order)
            let took = (Moment.now().wall - start) * 1e6
            guard answer.status == 201, answer.text.contains("\"status\":\"pending\"") else {
                throw client.failure(face.rawValue, answer)
            }
            times[face, default: []].append(took)
        }
        return times
    }
}
