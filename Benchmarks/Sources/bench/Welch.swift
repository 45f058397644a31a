import Foundation

/// Mean and variance of a sample.
struct Moments {
    let count: Double
    let mean: Double
    /// With Bessel's correction.
    let variance: Double

    init(_ sample: [Double]) {
        count = Double(sample.count)
        let mean = sample.reduce(0, +) / count
        self.mean = mean
        variance = sample.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (count - 1)
    }

    /// Welch's t (Biometrika 34, 1947): the difference of the means over its standard error.
    static func t(_ first: Moments, _ second: Moments) -> Double {
        let error = (first.variance / first.count + second.variance / second.count).squareRoot()
        return error == 0 ? 0 : (first.mean - second.mean) / error
    }
}

/// Every two kinds against each other.
struct Comparison: CustomStringConvertible {
    /// |t| from which a difference counts as shown, as in test vector leakage assessment (ISO/IEC 17825).
    static let threshold = 4.5

    struct Pair {
        let first: String
        let second: String
        let t: Double
    }

    let samples: [(kind: String, all: [Double], cropped: [Double])]

    init<Kind: CaseIterable & Hashable & RawRepresentable<String>>(_ samples: [Kind: [Double]]) {
        let limit = samples.values.flatMap(\.self).quantile(0.95)
        self.samples = Kind.allCases.compactMap { kind in
            samples[kind].map { (kind.rawValue, $0, $0.filter { $0 < limit }) }
        }
    }

    private func worst(_ sample: (Int) -> [Double]) -> Pair {
        let moments = samples.indices.map { Moments(sample($0)) }
        var worst = Pair(first: "", second: "", t: 0)
        for first in samples.indices {
            for second in samples.indices where second > first {
                let t = Moments.t(moments[first], moments[second])
                guard abs(t) >= abs(worst.t) else { continue }
                worst = Pair(first: samples[first].kind, second: samples[second].kind, t: t)
            }
        }
        return worst
    }

    var description: String {
        samples.map { kind, all, cropped in
            let (whole, part) = (Moments(all), Moments(cropped))
            return String(
                format: "  %@ mean %9.2f sd %8.2f median %9.2f | cropped mean %9.2f sd %7.2f n %d",
                kind.padding(toLength: 13, withPad: " ", startingAt: 0), whole.mean,
                whole.variance.squareRoot(), all.median, part.mean, part.variance.squareRoot(), cropped.count)
        }.joined(separator: "\n")
    }

    enum Part: String, CaseIterable {
        case all = "all of"
        case cropped = "those below the 95th percentile of"
    }

    /// The pair that differs most.
    func largest(_ part: Part) -> Pair { worst { part == .all ? samples[$0].all : samples[$0].cropped } }

    /// How many samples of each kind lie where, below the 95th percentile. Curves of kinds that are alike cover each other.
    func plot(_ title: String) -> Plot {
        let all = samples.flatMap(\.cropped)
        let (least, most) = (all.min() ?? 0, all.max() ?? 1)
        let width = max((most - least) / 60, .leastNonzeroMagnitude)
        let series = samples.prefix(4).map { kind, _, cropped in
            var counts = [Double](repeating: 0, count: 61)
            for value in cropped { counts[Int((value - least) / width)] += 1 }
            return Plot.Series(
                name: kind,
                points: counts.enumerated().map { (least + (Double($0.offset) + 0.5) * width, $0.element) })
        }
        return .lines(title, series, x: "µs", y: "samples")
    }

    func claim(_ what: String, of count: Int, _ part: Part, isPromised: Bool) -> Claim {
        let pair = largest(part)
        let statement = "largest |t| of \(what), \(part.rawValue) \(count) samples of each kind"
        let measured = String(format: "%.2f (%@ and %@)", abs(pair.t), pair.first, pair.second)
        guard isPromised else { return Claim(statement, measured: measured) }
        return Claim(
            statement, measured: measured, target: "below \(Self.threshold)", holds: abs(pair.t) < Self.threshold)
    }
}
