import Dispatch
import Foundation
public import Testing

/// Runs each test of a suite, and the tasks that it starts as its children, on a thread of its own.
///
/// The threads of the cooperative pool are as many as processors, and all tests begin at once: what is resumed there waits
/// behind all that have not had their turn yet, minutes on a busy machine. Tests that talk over sockets or with other
/// processes have time limits on both sides, and would meet them by that alone.
public struct OwnThread: SuiteTrait, TestTrait, TestScoping {
    public var isRecursive: Bool { true }

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        try await withTaskExecutorPreference(TestThread(name: test.name)) { try await function() }
    }
}

extension Trait where Self == OwnThread {
    /// Each test has a thread of its own.
    public static var ownThread: Self { Self() }
}

/// Runs what blocks on a thread of its own, so that the tests' threads are free for others, and for what it waits for.
public func onOwnThread<Value: Sendable, Failure: Error>(
    _ body: @escaping @Sendable () throws(Failure) -> Value
) async throws(Failure) -> Value {
    let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
        Thread.detachNewThread { continuation.resume(returning: Result(catching: body)) }
    }
    return try result.get()
}

/// A serial queue under no other: a thread while there is something to do.
private final class TestThread: TaskExecutor {
    private let queue: DispatchQueue

    init(name: String) { queue = DispatchQueue(label: name) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
