import Dispatch
import Synchronization

/// Runs blocking jobs on threads of its own, `width` at a time, so that the cooperative pool is never blocked.
final class BlockingExecutor: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        /// The next of `jobs` to run. Taken ones are dropped in bulk, not one by one.
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

    func run<Result: Sendable>(_ job: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let needsWorker = state.withLock { state in
                state.jobs.append { continuation.resume(with: Swift.Result { try job() }) }
                guard state.workers < width else { return false }
                state.workers += 1
                return true
            }
            if needsWorker { queue.async { self.work() } }
        }
    }

    private func work() {
        while let job = takeJob() { job() }
    }

    private func takeJob() -> (@Sendable () -> Void)? {
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
            return state.jobs[state.next]
        }
    }
}
