import Dispatch
import Synchronization

/// Runs blocking jobs on threads of its own, `width` at a time, so that the cooperative pool is never blocked.
final class BlockingExecutor: Sendable {
    /// Runs, and returns what tells the waiting task of the result.
    private typealias Job = @Sendable () -> @Sendable () -> Void

    private struct State {
        /// Taken ones are `nil`, and dropped in bulk.
        var jobs: [Job?] = []
        /// The next of `jobs` to run.
        var next = 0
        /// Queues that nothing runs on.
        var idle: [DispatchQueue]
    }

    private let state: Mutex<State>

    init(label: String, width: Int) {
        // Serial queues, because each gets a thread at once; a concurrent one waits for seconds before it adds threads
        // to those that block.
        state = Mutex(State(idle: (0..<width).map { DispatchQueue(label: "\(label).\($0)") }))
    }

    func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let job: Job = {
                let result = Swift.Result { try body() }
                return { continuation.resume(with: result) }
            }
            let worker = state.withLock { state in
                state.jobs.append(job)
                return state.idle.popLast()
            }
            if let worker { worker.async { self.work(on: worker) } }
        }
    }

    private func work(on queue: DispatchQueue) {
        while true {
            var job = takeJob(for: queue)
            guard let deliver = job?() else { return }
            // Nothing that the job holds may outlive the moment its caller knows the result: the caller may let go of
            // the key store next and end the process.
            job = nil
            deliver()
        }
    }

    /// The next job, or `nil` when there is none and the queue has gone idle.
    private func takeJob(for queue: DispatchQueue) -> Job? {
        state.withLock { state in
            if state.next == state.jobs.count || state.next >= 64 {
                state.jobs.removeFirst(state.next)
                state.next = 0
            }
            guard state.next < state.jobs.count else {
                state.idle.append(queue)
                return nil
            }
            defer { state.next += 1 }
            return state.jobs[state.next].take()
        }
    }
}
