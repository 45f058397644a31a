import Synchronization

/// Runs asynchronous code to its end on the calling thread. What a target calls never waits for anything, so a hop to a
/// pool of threads, which costs more than most inputs do, would be for nothing.
func inline<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) throws -> Value {
    let outcome = Mutex<Result<Value, any Error>?>(nil)
    _ = Task(executorPreference: InlineExecutor.shared) {
        do {
            let value = try await body()
            outcome.withLock { $0 = .success(value) }
        } catch {
            outcome.withLock { $0 = .failure(error) }
        }
    }
    guard let outcome = outcome.withLock({ $0 }) else { throw Violation("the code under test waits for something") }
    return try outcome.get()
}

private final class InlineExecutor: TaskExecutor {
    static let shared = InlineExecutor()

    func enqueue(_ job: consuming ExecutorJob) {
        UnownedJob(job).runSynchronously(on: asUnownedTaskExecutor())
    }
}
