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
            do not hide a small difference (as dudect does, Reparaz, Balasch and Verbauwhede 2017): what wakes a thread \
            shows there at less than a microsecond, so of answers only those that decline are promised to be alike. \
            Payments without a code are left out of the promises: who sends one knows that none was looked at.
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
        let answerTime = Comparison(withCode(answers).mapValues { $0.map(\.answer) })
        let declineTime = Comparison(withCode(answers).filter { $0.key != .rightCode }.mapValues { $0.map(\.answer) })
        let hsm = Comparison(withCode(direct).mapValues { $0.map(\.hsm) })
        let directTime = Comparison(direct.mapValues { $0.map(\.answer) })
        print("The issuer's answer, µs\n\(answerTime)")
        print("HSM work before the durable write, µs\n\(hsm)")
        print("Answers that leave at once, µs\n\(directTime)")
        if page.record { try record(answerTime, declineTime, hsm, directTime) }
        let (answer, work) = ("the issuer's answer", "the HSM's work before the durable write")
        for claim in [
            answerTime.claim(answer, of: samples, .all, isPromised: true),
            declineTime.claim(answer + " when it is no", of: samples, .cropped, isPromised: true),
            answerTime.claim(answer, of: samples, .cropped, isPromised: false),
            hsm.claim(work, of: samples, .all, isPromised: true),
            hsm.claim(work, of: samples, .cropped, isPromised: true),
            directTime.claim("answers without their step", of: samples, .all, isPromised: false),
            directTime.claim("answers without their step", of: samples, .cropped, isPromised: false),
        ] { print(claim.line) }
    }

    private func withCode(_ samples: [TimingSet.Kind: [Sample]]) -> [TimingSet.Kind: [Sample]] {
        samples.filter { $0.key != .missingCode }
    }

    private func record(_ answer: Comparison, _ decline: Comparison, _ hsm: Comparison, _ direct: Comparison) throws {
        try PerformancePage.write(
            "timing",
            "\(samples) samples of each kind, seed \(seed).\n\n"
                + PerformancePage.table(
                    ["what", "largest \\|t\\|, all samples", "below the 95th percentile"],
                    [
                        ("the issuer's answer", answer), ("the issuer's answer when it is no", decline),
                        ("HSM work before the durable write", hsm),
                        ("answers without their step", direct),
                    ].map { what, comparison in
                        [what] + Comparison.Part.allCases.map { String(format: "%.2f", abs(comparison.largest($0).t)) }
                    }))
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
        // Drawn from all that are left: in rounds of all kinds none would follow itself, and what came before a sample would
        // tell its kind.
        let order = TimingSet.Kind.allCases.flatMap { kind in (0..<samples).map { (kind, $0) } }
            .shuffled(using: &generator)
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
