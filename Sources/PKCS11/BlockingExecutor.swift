import Dispatch
import Foundation
import Synchronization

/// Runs blocking jobs on threads of its own, `width` at a time, so that the cooperative pool is never blocked, and each
/// for no longer than a limit that the C library does not have.
///
/// A job that outlives its limit, counted from when it was handed in, is given up: whoever waits is told, and a new
/// thread takes the place of the one that hangs, which ends when the job does. One that has not begun by then is not run.
/// When ``patience`` times as many threads hang as may work, no more take their place, and what waits runs out of time.
final class BlockingExecutor: Sendable {
    fileprivate final class Job: Sendable {
        let deadline: ContinuousClock.Instant
        /// Runs, and returns what tells the waiting caller of the result.
        let run: @Sendable () -> @Sendable () -> Void
        let giveUp: @Sendable () -> Void

        init(
            _ deadline: ContinuousClock.Instant, _ run: @escaping @Sendable () -> @Sendable () -> Void,
            giveUp: @escaping @Sendable () -> Void
        ) {
            self.deadline = deadline
            self.run = run
            self.giveUp = giveUp
        }
    }

    fileprivate struct State {
        /// Those that wait, and those that go before them.
        var usual = Line()
        var urgent = Line()
        var running: [Job] = []
        /// Threads that wait for a job.
        var idle: [Worker] = []
        /// Threads that may still be started.
        var unstarted: Int
        /// Threads that wait, work or may still be started, and those that hang.
        var workers: Int
        var hanging = 0
        /// When the limits are looked at next. One alarm serves many jobs, so that a job in time costs no timer.
        var alarm: ContinuousClock.Instant?
    }

    /// A thread of our own. A dispatch queue runs on another one each time, with cold caches and another memory pool.
    fileprivate final class Worker: Sendable {
        let isWanted = DispatchSemaphore(value: 0)
    }

    private static let patience = 4

    private let label: String
    private let width: Int
    private let limit: Duration
    private let idleLifetime: DispatchTimeInterval
    private let state: Mutex<State>
    private let alarms: DispatchQueue

    /// - Parameters:
    ///   - limit: for each job, from handing it in.
    ///   - idleLifetime: how long a thread waits for another job before it ends.
    init(label: String, width: Int, limit: Duration, idleLifetime: DispatchTimeInterval = .seconds(10)) {
        self.label = label
        self.width = width
        self.limit = limit
        self.idleLifetime = idleLifetime
        alarms = DispatchQueue(label: "\(label).alarm")
        state = Mutex(State(unstarted: width, workers: width))
    }

    /// Runs `body`, and hands its result to `deliver` on the same thread.
    ///
    /// - Parameters:
    ///   - isUrgent: goes before all that are not.
    ///   - giveUp: called instead of `deliver` when the limit passes first; must not block.
    func run<Result: Sendable>(
        isUrgent: Bool = false, _ body: @escaping @Sendable () throws -> Result,
        deliver: @escaping @Sendable (Swift.Result<Result, any Error>) -> Void, giveUp: @escaping @Sendable () -> Void
    ) {
        let job = Job(
            .now + limit,
            {
                let result = Swift.Result { try body() }
                return { deliver(result) }
            }, giveUp: giveUp)
        let (worker, mustStart, alarm) = state.withLock { state in
            if isUrgent { state.urgent.append(job) } else { state.usual.append(job) }
            var alarm: ContinuousClock.Instant?
            if state.alarm == nil {
                alarm = job.deadline
                state.alarm = alarm
            }
            let worker = state.idle.popLast()
            let mustStart = worker == nil && state.unstarted > 0
            if mustStart { state.unstarted -= 1 }
            return (worker, mustStart, alarm)
        }
        worker?.isWanted.signal()
        if mustStart { start() }
        if let alarm { set(alarm) }
    }

    private func start() {
        Thread.detachNewThread {
            // On Linux a thread can only be named once it runs.
            Thread.current.name = self.label
            self.work(Worker())
        }
    }

    private func work(_ worker: Worker) {
        while true {
            switch runNext(worker) {
            // Nothing that the job holds may outlive the moment its caller knows the result: the caller may let go of
            // the key store next and end the process. The job itself is gone by now.
            case .inTime(let deliver): deliver()
            case .late(isNeeded: true): continue
            case .late(isNeeded: false): return
            case nil: if !waits(worker) { return }
            }
        }
    }

    /// - Returns: whether there is a job.
    private func waits(_ worker: Worker) -> Bool {
        if worker.isWanted.wait(timeout: .now() + idleLifetime) == .success { return true }
        let ends = state.withLock { state in
            guard let index = state.idle.firstIndex(where: { $0 === worker }) else { return false }
            state.idle.remove(at: index)
            state.unstarted += 1
            return true
        }
        // Else somebody has just taken it.
        if !ends { worker.isWanted.wait() }
        return !ends
    }

    private enum Ending {
        case inTime(_ deliver: @Sendable () -> Void)
        /// The job was given up. Mostly another thread works in this one's place by now.
        case late(isNeeded: Bool)
    }

    /// - Returns: `nil` when there is nothing to do.
    private func runNext(_ worker: Worker) -> Ending? {
        guard let job = takeJob(worker) else { return nil }
        let deliver = job.run()
        return state.withLock { state in
            if let index = state.running.firstIndex(where: { $0 === job }) {
                state.running.remove(at: index)
                return .inTime(deliver)
            }
            state.hanging -= 1
            guard state.workers < width else { return .late(isNeeded: false) }
            state.workers += 1
            return .late(isNeeded: true)
        }
    }

    /// The next job, or `nil` when there is none and the thread waits from now on.
    private func takeJob(_ worker: Worker) -> Job? {
        state.withLock { state in
            guard let job = state.urgent.take() ?? state.usual.take() else {
                state.idle.append(worker)
                return nil
            }
            state.running.append(job)
            return job
        }
    }

    // MARK: The limit

    private func set(_ alarm: ContinuousClock.Instant) {
        let (seconds, attoseconds) = max(.zero, alarm - .now).components
        let wait = DispatchTimeInterval.milliseconds(
            Int(clamping: min(seconds, 1_000_000) * 1000 + attoseconds / 1_000_000_000_000_000 + 1))
        alarms.asyncAfter(deadline: .now() + wait) { [weak self] in self?.ring() }
    }

    private func ring() {
        let now = ContinuousClock.now
        let (late, fresh, next) = state.withLock { state in
            let waiting = state.urgent.take(until: now) + state.usual.take(until: now)
            let running = state.running.filter { $0.deadline <= now }
            state.running.removeAll { $0.deadline <= now }
            var fresh = 0
            for _ in running {
                state.hanging += 1
                state.workers -= 1
                guard state.hanging <= width * Self.patience else { continue }
                state.workers += 1
                fresh += 1
            }
            let next = [state.urgent.deadline, state.usual.deadline].compactMap(\.self)
            state.alarm = (state.running.map(\.deadline) + next).min()
            return (waiting + running, fresh, state.alarm)
        }
        for _ in 0..<fresh { start() }
        for job in late { job.giveUp() }
        if let next { set(next) }
    }
}

extension BlockingExecutor {
    /// Jobs that wait, first come first served: so they are in the order of their deadlines.
    fileprivate struct Line {
        /// Taken ones are `nil`, and dropped in bulk.
        private var jobs: [Job?] = []
        private var next = 0

        /// Of the first.
        var deadline: ContinuousClock.Instant? { next < jobs.count ? jobs[next]?.deadline : nil }

        mutating func append(_ job: Job) { jobs.append(job) }

        mutating func take() -> Job? {
            if next == jobs.count || next >= 64 {
                jobs.removeFirst(next)
                next = 0
            }
            guard next < jobs.count else { return nil }
            defer { next += 1 }
            return jobs[next].take()
        }

        mutating func take(until now: ContinuousClock.Instant) -> [Job] {
            var late: [Job] = []
            while let deadline, deadline <= now, let job = take() { late.append(job) }
            return late
        }
    }
}
