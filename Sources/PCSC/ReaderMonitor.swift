import Dispatch
import SmartCard
import Synchronization

/// Watches all readers on a context and a thread of its own and says what changes.
///
/// The service may come and go: the monitor looks for it again, after 0.1 s at first and 2 s at most.
final class ReaderMonitor: Sendable {
    private struct State {
        var context: PCSCContext?
        var isStopped = false
        var isFinished = false
    }

    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    private let ending = DispatchQueue(label: "pcsc.monitor.ending")

    /// Waits are cut into pieces of this length, after which the readers are listed anew: pcsc-lite counts the readers when
    /// a wait begins, and one that came just before would stay unseen.
    private static let longestWait = Duration.seconds(5)

    /// Takes what changed since it was called last, at first everything that is there, and all readers as they are now.
    /// Called on the monitor's thread; returns whether to go on.
    typealias Deliver = @Sendable (_ changes: [ReaderEvent], _ readers: [ReaderState]) -> Bool

    /// Runs until `deliver` returns `false`, ``stop()`` or the deadline, then calls `onEnd` once.
    func start(
        until deadline: ContinuousClock.Instant? = nil, deliver: @escaping Deliver,
        onEnd: @escaping @Sendable () -> Void
    ) {
        // A queue that one call occupies to its end is a thread.
        DispatchQueue(label: "pcsc monitor").async {
            self.run(until: deadline, deliver)
            self.state.withLock {
                $0.isFinished = true
                $0.context = nil
            }
            onEnd()
        }
    }

    /// Ends the monitor from any thread. SCardCancel says nothing to a thread that is not waiting at that moment, so it is
    /// repeated until the thread has ended.
    func stop() {
        let (context, isFinished) = state.withLock { state in
            state.isStopped = true
            return (state.context, state.isFinished)
        }
        guard !isFinished else { return }
        wake.signal()
        ending.async {
            context?.cancel()
            self.ending.asyncAfter(deadline: .now() + .milliseconds(20)) { self.stop() }
        }
    }

    private var isStopped: Bool { state.withLock { $0.isStopped } }

    private func run(until deadline: ContinuousClock.Instant?, _ deliver: Deliver) {
        let hasTime = { deadline.map { $0 > .now } ?? true }
        var pause = 100
        var wasLost = false
        var known: [WatchedReader] = []
        repeat {
            do {
                let context = try PCSCContext()
                state.withLock { $0.context = context }
                if wasLost, !deliver([.serviceFound], []) { return }
                (pause, wasLost) = (100, false)
                try watch(context, &known, until: deadline, deliver)
                if !isStopped, hasTime() { continue }
                return
            } catch {
                state.withLock { $0.context = nil }
                guard !isStopped else { return }
                if !wasLost {
                    wasLost = true
                    let gone = ReaderEvent.between(known, [])
                    known = []
                    guard deliver(gone + [.serviceLost(error)], []) else { return }
                }
                _ = wake.wait(timeout: .now() + .milliseconds(pause))
                pause = min(pause * 2, 2000)
            }
        } while !isStopped && hasTime()
    }

    /// Rounds of listing, reporting and waiting, until the service fails, the consumer has enough or the time is over.
    private func watch(
        _ context: PCSCContext, _ known: inout [WatchedReader], until deadline: ContinuousClock.Instant?,
        _ deliver: Deliver
    ) throws(CardError) {
        var arrivals = WatchedReader(name: WatchedReader.arrivals)
        while !isStopped {
            let names = try context.listReaders()
            let before = known
            known = names.map { name in known.first { $0.name == name } ?? WatchedReader(name: name) }
            var watched = known + [arrivals]
            let isNew = known.contains { $0.rawState == 0 } || before.count != known.count
            let wait = isNew ? .zero : min(Self.longestWait, deadline.map { max(.zero, $0 - .now) } ?? Self.longestWait)
            _ = try context.waitForChange(&watched, milliseconds: UInt32(clamping: wait.nanoseconds / 1_000_000))
            arrivals.rawState = watched.removeLast().rawState
            known = watched
            guard deliver(ReaderEvent.between(before, known), known.map(ReaderState.init)) else { return stop() }
            if let deadline, deadline <= .now { return }
        }
    }
}
