import Dispatch
import Foundation
import Synchronization

extension Duration {
    /// Has whatever comes of `body` leave at a whole multiple of this after it began, or up to a millisecond later, so that what
    /// its making took tells nothing; zero lets it leave at once. A caller that is cancelled waits like any other.
    public func hides<Value>(_ body: () async throws -> Value) async throws -> Value {
        let arrival = ContinuousClock.now
        let answer: Result<Value, any Error>
        do { answer = .success(try await body()) } catch { answer = .failure(error) }
        if self > .zero {
            let steps = ((ContinuousClock.now - arrival) / self).rounded(.up)
            await Wakeups.shared.wait(until: arrival + self * steps)
        }
        return try answer.get()
    }
}

/// Wakes whoever waits for a moment, at the next full millisecond of its own clock.
///
/// One thread for all, and all who end in the same millisecond in one go. A timer for each wait, such as `Task.sleep`'s, costs
/// half a dozen system calls and two changes of thread (docs/performance.md).
private final class Wakeups: Sendable {
    static let shared = Wakeups()
    private static let grain = Duration.milliseconds(1)

    private struct Waiting {
        let end: ContinuousClock.Instant
        /// The full millisecond after it. Counted from the clock's start: not from when the wait began, which would tell that.
        let wakeup: ContinuousClock.Instant
        let continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var waiting: [Waiting] = []
        /// When the thread looks next; `nil` while nobody waits.
        var next: ContinuousClock.Instant?
    }

    private let start = ContinuousClock.now
    private let state = Mutex(State())
    private let isWanted = DispatchSemaphore(value: 0)

    private init() {
        Thread.detachNewThread { self.work() }
    }

    func wait(until end: ContinuousClock.Instant) async {
        let wakeup = start + Self.grain * ((end - start) / Self.grain).rounded(.up)
        await withCheckedContinuation { continuation in
            let isFirst = state.withLock { state in
                state.waiting.append(Waiting(end: end, wakeup: wakeup, continuation: continuation))
                if let next = state.next, next <= wakeup { return false }
                state.next = wakeup
                return true
            }
            if isFirst { isWanted.signal() }
        }
    }

    private func work() {
        Thread.current.name = "answer steps"
        while true {
            let (ended, next) = state.withLock { state in
                let now = ContinuousClock.now
                let ended = state.waiting.filter { $0.wakeup <= now }
                state.waiting.removeAll { $0.wakeup <= now }
                state.next = state.waiting.map(\.wakeup).min()
                return (ended, state.next)
            }
            // Whose end comes first, and not whose work was done first: that is what nobody may know.
            for waiting in ended.sorted(by: { $0.end < $1.end }) { waiting.continuation.resume() }
            guard let next else {
                isWanted.wait()
                continue
            }
            let wait = max(.zero, next - .now) / .nanoseconds(1)
            _ = isWanted.wait(timeout: .now() + .nanoseconds(Int(wait)))
        }
    }
}
