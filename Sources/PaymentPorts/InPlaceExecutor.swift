/// Runs each part of a task where it was resumed: on the thread of the HSM or of the ledger that had the answer.
///
/// For work that waits for several of them in turn and computes little between. To wake one of the pool's threads for a few
/// microseconds' work costs more than the work does (docs/performance.md).
///
/// Whoever resumes such a task waits until it waits again. So it must neither block nor compute for long nor wait by `Task.yield()`,
/// which lets nobody else on here, and nobody may resume it under a lock.
public final class InPlaceExecutor: TaskExecutor {
    public static let shared = InPlaceExecutor()

    private init() {}

    public func enqueue(_ job: consuming ExecutorJob) { job.runSynchronously(on: asUnownedTaskExecutor()) }
}
