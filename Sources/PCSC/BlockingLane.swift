import Dispatch
import SmartCard
import Synchronization

/// A thread of one's own for C calls that block, with a time limit that the C library does not have.
///
/// Calls run one after the other. A call that outlives its limit fails with `.timedOut` and the lane is dead: its thread
/// stays in the C call for as long as that lasts, then runs what ``abandon`` holds, and ends. All calls after it fail at
/// once. The cooperative pool never blocks.
final class BlockingLane: Sendable {
    private struct Waiting {
        let id: UInt64
        let deadline: ContinuousClock.Instant
        let fail: @Sendable (CardError) -> Void
    }

    private struct State {
        /// The call in the C library, and those queued behind it.
        var waiting: [Waiting] = []
        var nextID: UInt64 = 0
        var alarm: ContinuousClock.Instant?
        var death: CardError?
        var abandon: (@Sendable () -> Void)?
    }

    private let queue: DispatchQueue
    /// Not a global queue: their threads are those of the cooperative pool, which may be at work for longer than a limit.
    private static let alarms = DispatchQueue(label: "pcsc.alarms")
    private let name: String
    private let state = Mutex(State())

    /// - Parameter name: what the calls concern, for errors.
    init(name: String) {
        self.name = name
        queue = DispatchQueue(label: "pcsc: \(name)")
    }

    /// Runs `body` on the lane's thread. A call whose limit passes before its turn comes is not run at all.
    /// - Throws: what `body` throws; `.timedOut` when it takes longer than `limit` or an earlier call did.
    func run<Value: Sendable>(
        limit: Duration, _ body: @escaping @Sendable () throws(CardError) -> Value
    ) async throws(CardError) -> Value {
        let result = await withCheckedContinuation { continuation in
            let once = Once<Value>(continuation)
            guard let id = watch(.now + limit, { once.resume(.failure($0)) }) else { return }
            queue.async {
                guard once.isOpen else { return }
                let result = Result(catching: body)
                self.unwatch(id)
                once.resume(result)
            }
        }
        return try result.get()
    }

    /// Runs `body` once on the lane's thread, without waiting, after all calls so far.
    func later(_ body: @escaping @Sendable () -> Void) { queue.async(execute: body) }

    /// What to do when a call that was given up comes back at last.
    func whenAbandoned(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.abandon = body } }

    // One alarm serves many calls: it is set for the first deadline, and on ringing set again for the next. A call that
    // ends in time costs two locks and no timer.

    /// - Returns: `nil` when the lane is dead, after `fail` was called.
    private func watch(
        _ deadline: ContinuousClock.Instant, _ fail: @escaping @Sendable (CardError) -> Void
    ) -> UInt64? {
        let (id, mustSet, death): (UInt64?, Bool, CardError?) = state.withLock { state in
            if let death = state.death { return (nil, false, death) }
            let id = state.nextID
            state.nextID += 1
            state.waiting.append(Waiting(id: id, deadline: deadline, fail: fail))
            if let alarm = state.alarm, alarm <= deadline { return (id, false, nil) }
            state.alarm = deadline
            return (id, true, nil)
        }
        if let death { fail(death) }
        if mustSet { setAlarm(deadline) }
        return id
    }

    private func unwatch(_ id: UInt64) {
        state.withLock { state in state.waiting.removeAll { $0.id == id } }
    }

    private func setAlarm(_ moment: ContinuousClock.Instant) {
        let nanoseconds = max(0, (moment - .now).nanoseconds)
        Self.alarms.asyncAfter(deadline: .now() + .nanoseconds(nanoseconds)) { [weak self] in
            self?.ring(moment)
        }
    }

    private func ring(_ moment: ContinuousClock.Instant) {
        let (failed, next) = state.withLock { state -> ([Waiting], ContinuousClock.Instant?) in
            guard state.alarm == moment else { return ([], nil) }  // An earlier one took its place.
            state.alarm = state.waiting.map(\.deadline).min()
            guard let next = state.alarm, next <= .now else { return ([], state.alarm) }
            defer { state.waiting = [] }
            state.alarm = nil
            state.death = Self.death(name)
            return (state.waiting, nil)
        }
        if let next { setAlarm(next) }
        guard !failed.isEmpty else { return }
        if let abandon = state.withLock({ $0.abandon }) { queue.async(execute: abandon) }
        failed.forEach { $0.fail(Self.death(name)) }
    }

    private static func death(_ name: String) -> CardError {
        CardError(
            .timedOut, "\(name) does not return from a call",
            advice: "Connect to the card anew; if that hangs too, take it out of the reader")
    }
}

/// A continuation that the first of two resumes.
private final class Once<Value: Sendable>: Sendable {
    private let continuation: Mutex<CheckedContinuation<Result<Value, CardError>, Never>?>

    init(_ continuation: CheckedContinuation<Result<Value, CardError>, Never>) {
        self.continuation = Mutex(continuation)
    }

    var isOpen: Bool { continuation.withLock { $0 != nil } }

    func resume(_ result: Result<Value, CardError>) {
        continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }?.resume(returning: result)
    }
}

extension Duration {
    /// Whole nanoseconds, at most some 292 years of them.
    var nanoseconds: Int {
        let (seconds, overflow) = Int(clamping: components.seconds).multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : seconds + Int(components.attoseconds / 1_000_000_000)
    }
}
