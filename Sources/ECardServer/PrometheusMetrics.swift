public import CoreMetrics
import Synchronization

/// A backend of swift-metrics that a Prometheus server reads: counters, gauges, and timers and recorders as histograms, in
/// the text exposition format 0.0.4.
public final class PrometheusMetrics: MetricsFactory {
    /// What `Content-Type` says of ``text()``.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private enum Kind: String {
        case counter, gauge, histogram
    }

    private struct Family {
        let kind: Kind
        /// By their labels as text: `{route="/v1/payments"}`.
        var series: [String: any Series] = [:]
    }

    /// A series by what it is asked for with: every request asks for a few.
    private struct Request: Hashable {
        let label: String
        let dimensions: [String]
        let kind: Kind
        let suffix: String
    }

    private struct State {
        var families: [String: Family] = [:]
        var known: [Request: any Series] = [:]
    }

    private let state = Mutex(State())
    private let help: [String: String]

    /// - Parameter help: what a metric means, by its name in ``text()``.
    public init(help: [String: String] = [:]) { self.help = help }

    /// All that was counted so far.
    public func text() -> String {
        let families = state.withLock { $0.families }
        return families.sorted { $0.key < $1.key }.map { name, family in
            (help[name].map { "# HELP \(name) \(Self.escapedHelp($0))\n" } ?? "")
                + "# TYPE \(name) \(family.kind.rawValue)\n"
                + family.series.sorted { $0.key < $1.key }.map { $1.lines(name, labels: $0) }.joined()
        }.joined()
    }

    /// The series of this name and these labels: the one there is, or a new one.
    ///
    /// A name that is in use for something of another kind gets a series that is not shown, rather than a false one.
    private func series<Made: Series>(
        _ label: String, _ dimensions: [(String, String)], _ kind: Kind, suffix: String = "", _ make: () -> Made
    ) -> Made {
        let request = Request(
            label: label, dimensions: dimensions.flatMap { [$0.0, $0.1] }, kind: kind, suffix: suffix)
        if let known = state.withLock({ $0.known[request] }) as? Made { return known }
        let name = Self.name(label) + suffix
        let labels = dimensions.map { "\(Self.name($0.0, isLabel: true))=\"\(Self.escaped($0.1))\"" }.joined(
            separator: ",")
        return state.withLock { state in
            var family = state.families[name] ?? Family(kind: kind)
            guard family.kind == kind else { return make() }
            let series = family.series[labels] as? Made ?? make()
            family.series[labels] = series
            state.families[name] = family
            state.known[request] = series
            return series
        }
    }

    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`; labels have no colons.
    private static func name(_ text: String, isLabel: Bool = false) -> String {
        let allowed = text.utf8.map { byte -> Character in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                Character(Unicode.Scalar(byte))
            case UInt8(ascii: ":") where !isLabel: ":"
            default: "_"
            }
        }
        return (allowed.first?.isNumber ?? true ? "_" : "") + String(allowed)
    }

    fileprivate static func escaped(_ value: String) -> String {
        value.reduce(into: "") { text, character in
            switch character {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.append(character)
            }
        }
    }

    private static func escapedHelp(_ text: String) -> String {
        text.split(separator: "\\", omittingEmptySubsequences: false).joined(separator: "\\\\")
            .split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\\n")
    }

    // MARK: MetricsFactory

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        series(label, dimensions, .counter, suffix: "_total") { Total() }
    }

    public func makeFloatingPointCounter(label: String, dimensions: [(String, String)])
        -> any FloatingPointCounterHandler
    {
        series(label, dimensions, .counter, suffix: "_total") { Total() }
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        series(label, dimensions, .gauge) { Level() }
    }

    public func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        guard aggregate else { return series(label, dimensions, .gauge) { Level() } }
        return series(label, dimensions, .histogram) { Distribution(bounds: [1, 10, 100, 1000, 10_000, 100_000]) }
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        series(label, dimensions, .histogram, suffix: "_seconds") {
            Distribution(bounds: [
                0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
            ])
        }
    }

    // Series stay: what a Prometheus server has seen must not begin again at zero.
    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}
}

/// One line, or the lines of one histogram.
private protocol Series: AnyObject, Sendable {
    func lines(_ name: String, labels: String) -> String
}

private func line(_ name: String, _ labels: String, _ value: Double) -> String {
    let number = value == value.rounded() && value.magnitude < 1e15 ? "\(Int64(value))" : "\(value)"
    return "\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(number)\n"
}

/// What only rises.
private final class Total: Series, CounterHandler, FloatingPointCounterHandler {
    private let value = Mutex(0.0)

    func increment(by amount: Int64) { increment(by: Double(amount)) }
    func increment(by amount: Double) {
        guard amount > 0 else { return }
        value.withLock { $0 += amount }
    }
    func reset() { value.withLock { $0 = 0 } }
    func lines(_ name: String, labels: String) -> String { line(name, labels, value.withLock { $0 }) }
}

/// What rises and falls.
private final class Level: Series, MeterHandler, RecorderHandler {
    private let value = Mutex(0.0)

    func set(_ new: Int64) { set(Double(new)) }
    func set(_ new: Double) { value.withLock { $0 = new } }
    func increment(by amount: Double) { value.withLock { $0 += amount } }
    func decrement(by amount: Double) { value.withLock { $0 -= amount } }
    func record(_ new: Int64) { set(Double(new)) }
    func record(_ new: Double) { set(new) }
    func lines(_ name: String, labels: String) -> String { line(name, labels, value.withLock { $0 }) }
}

/// How values are spread. Of times, in seconds.
private final class Distribution: Series, TimerHandler, RecorderHandler {
    private struct Counts {
        /// Of each bound, and of what is beyond the last.
        var buckets: [Int]
        var sum = 0.0
    }

    private let bounds: [Double]
    private let counts: Mutex<Counts>

    init(bounds: [Double]) {
        self.bounds = bounds
        counts = Mutex(Counts(buckets: Array(repeating: 0, count: bounds.count + 1)))
    }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
    func record(_ value: Int64) { record(Double(value)) }
    func record(_ value: Double) {
        guard value.isFinite else { return }
        let index = bounds.firstIndex { value <= $0 } ?? bounds.count
        counts.withLock {
            $0.buckets[index] += 1
            $0.sum += value
        }
    }

    func lines(_ name: String, labels: String) -> String {
        let counts = counts.withLock { $0 }
        let separator = labels.isEmpty ? "" : ","
        var reached = 0
        var text = ""
        for (bound, count) in zip(bounds.map { "\($0)" } + ["+Inf"], counts.buckets) {
            reached += count
            text += line("\(name)_bucket", "\(labels)\(separator)le=\"\(bound)\"", Double(reached))
        }
        return text + line("\(name)_sum", labels, counts.sum) + line("\(name)_count", labels, Double(reached))
    }
}
