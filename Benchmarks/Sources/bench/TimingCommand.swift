import ArgumentParser
import Foundation
import Issuing
import KeyCustody

struct TimingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "timing",
        abstract: "Whether the time of the issuer's answer tells why it declined.",
        discussion: """
            Payments of six kinds, one after the other in random order: unknown card, locked card, wrong code, right code, no \
            code, expired code. Welch's t compares every two kinds: of the answer as it leaves the issuer, of the HSM's work \
            before the durable write, and, for information, of answers that leave as soon as they are there. Each on all \
            samples, and on those below the 95th percentile of all kinds together, where interruptions by other programs \
            do not hide a small difference (as dudect does, Reparaz, Balasch and Verbauwhede 2017).
            """)

    @Option(help: "Samples of each kind.") var samples = 10_000
    @Option(help: "Seed of the order; drawn when left out.") var seed: UInt64 = .random(in: 0...UInt64.max)

    @OptionGroup var page: PageOptions

    func run() async throws {
        guard samples >= 100 else { throw ValidationError("--samples: 100 or more are wanted") }
        print("seed \(seed)")
        let issuer = try await TemporaryIssuer()
        let keys = TimedKeyStore(try issuer.open())
        let set = try await TimingSet(issuer.folder + "/timing.sqlite", keys: keys)
        let answers = try await measure(set, nil, keys)
        let direct = try await measure(set, .zero, keys)
        let answerTime = Comparison(answers.mapValues { $0.map(\.answer) })
        // Whoever gives no code knows that none was looked at.
        let hsm = Comparison(direct.filter { $0.key != .missingCode }.mapValues { $0.map(\.hsm) })
        let directTime = Comparison(direct.mapValues { $0.map(\.answer) })
        print("The issuer's answer, µs\n\(answerTime)")
        print("HSM work before the durable write, µs\n\(hsm)")
        print("Answers that leave at once, µs\n\(directTime)")
        if page.record { try record(answerTime, hsm, directTime) }
        for line in answerTime.claims("the issuer's answer", of: samples, isPromised: true) { print(line) }
        for line in hsm.claims("the HSM's work before the durable write", of: samples, isPromised: true) { print(line) }
        for line in directTime.claims("answers without their step", of: samples, isPromised: false) { print(line) }
    }

    private func record(_ answer: Comparison, _ hsm: Comparison, _ direct: Comparison) throws {
        try PerformancePage.write(
            "timing",
            "\(samples) samples of each kind, seed \(seed).\n\n"
                + PerformancePage.table(
                    ["what", "largest \\|t\\|, all samples", "below the 95th percentile"],
                    [
                        ("the issuer's answer", answer), ("HSM work before the durable write", hsm),
                        ("answers without their step", direct),
                    ].map { [$0] + $1.largest.map { String(format: "%.2f", abs($0.t)) } }))
        try PerformancePage.write(direct.plot("Answers that leave at once"), "timing-direct.svg")
        try PerformancePage.write(answer.plot("Answers on their step"), "timing-answer.svg")
    }

    private struct Sample {
        /// Microseconds.
        let answer: Double
        let hsm: Double
    }

    /// - Parameter step: the policy's own when `nil`.
    private func measure(
        _ set: TimingSet, _ step: Duration?, _ keys: TimedKeyStore
    ) async throws -> [TimingSet.Kind: [Sample]] {
        var generator = SplitMix(state: seed)
        let order = (0..<samples).flatMap { number in
            TimingSet.Kind.allCases.shuffled(using: &generator).map { ($0, number) }
        }
        let authorizer = set.authorizer(step: step)
        var result: [TimingSet.Kind: [Sample]] = [:]
        for (place, (kind, number)) in order.enumerated() {
            if place % 6000 == 0 { note("  \(place) of \(order.count) payments") }
            let request = try set.request(kind, number)
            keys.reset()
            let start = Moment.now().wall
            let answer = try await authorizer.authorize(request)
            let took = (Moment.now().wall - start) * 1e6
            guard answer.isApproved == (kind == .rightCode) else {
                throw Floor.Failure(description: "\(kind.rawValue): \(answer.responseCode) \(answer.message)")
            }
            result[kind, default: []].append(Sample(answer: took, hsm: keys.microseconds))
        }
        return result
    }
}

/// A generator whose order a seed repeats (Steele, Lea and Flood 2014).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
