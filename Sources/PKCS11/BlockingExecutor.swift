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
        var workers = 0
    }

    private let state = Mutex(State())
    private let width: Int
    private let queue: DispatchQueue

    init(label: String, width: Int) {
        self.width = width
        queue = DispatchQueue(label: label, attributes: .concurrent)
    }

    func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let job: Job = {
                let result = Swift.Result { try body() }
                return { continuation.resume(with: result) }
            }
            let needsWorker = state.withLock { state in
                state.jobs.append(job)
                guard state.workers < width else { return false }
                state.workers += 1
                return true
            }
            if needsWorker { queue.async { self.work() } }
        }
    }

    private func work() {
        while true {
            var job = takeJob()
            guard let deliver = job?() else { return }
            // Nothing that the job holds may outlive the moment its caller knows the result: the caller may let go of
            // the key store next and end the process.
            job = nil
            deliver()
        }
    }

    private func takeJob() -> Job? {
        state.withLock { state in
            if state.next == state.jobs.count || state.next >= 64 {
                state.jobs.removeFirst(state.next)
                state.next = 0
            }
            guard state.next < state.jobs.count else {
                state.workers -= 1
                return nil
            }
            defer { state.next += 1 }
            return state.jobs[state.next].take()
        }
    }
}
