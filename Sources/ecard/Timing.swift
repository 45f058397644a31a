import KeyCustody
import SmartCard
import Synchronization

/// Where the time of a personalization went, in milliseconds.
struct Timing: Encodable, Sendable {
    /// In the HSM, waiting for a session included.
    let hsm: Double
    /// At the card: reader, service and chip.
    let card: Double
    /// In the chip alone; unknown where it is in another process, or real.
    @OrNull var chip: Double?
    /// Everything else: the ledger's commits among it.
    let rest: Double
    let total: Double

    init(total: Duration, hsm: Duration, card: Duration, chip: Duration?) {
        self.total = total.inMilliseconds
        self.hsm = hsm.inMilliseconds
        self.card = card.inMilliseconds
        self.chip = chip?.inMilliseconds
        rest = max(.zero, total - hsm - card).inMilliseconds
    }

    var text: String {
        let parts =
            ["HSM \(hsm)"]
            + (chip.map { ["chip \($0)", "reader \(((card - $0) * 10).rounded() / 10)"] } ?? ["card \(card)"])
            + ["the rest \(rest)"]
        return "\(total) ms: \(parts.joined(separator: ", "))"
    }
}

extension Duration {
    /// To a tenth.
    var inMilliseconds: Double { (self / .milliseconds(1) * 10).rounded() / 10 }
}

/// Adds up how long somebody was waited for.
final class Stopwatch: Sendable {
    private let sum = Mutex(Duration.zero)

    var elapsed: Duration { sum.withLock { $0 } }

    func add(since start: ContinuousClock.Instant) { sum.withLock { $0 += .now - start } }
}

/// A key store whose time is taken.
struct TimedKeys: KeyStore {
    let keys: any KeyStore
    let watch: Stopwatch

    var name: String { keys.name }

    func withSession<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) async throws -> Result {
        let start = ContinuousClock.now
        defer { watch.add(since: start) }
        return try await keys.withSession(body)
    }

    func withSessionBlocking<Result>(_ body: (any KeySession) throws -> Result) throws -> Result {
        let start = ContinuousClock.now
        defer { watch.add(since: start) }
        return try keys.withSessionBlocking(body)
    }

    func withSessionWaiting<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) throws -> Result {
        let start = ContinuousClock.now
        defer { watch.add(since: start) }
        return try keys.withSessionWaiting(body)
    }
}

/// A card whose time is taken.
struct TimedChannel: CardChannel {
    let channel: any CardChannel
    let watch: Stopwatch

    var answerToReset: ATR { channel.answerToReset }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let start = ContinuousClock.now
        defer { watch.add(since: start) }
        return try await channel.transmit(command)
    }
}
