import Foundation

/// How the kernel shares processors among the server's threads.
enum BatchThreads {
    /// Linux's number (linux/sched.h), which the C library shows to GNU's C alone.
    private static let SCHED_BATCH: Int32 = 3

    /// None takes the processor from another in the middle of its work when it wakes (`SCHED_BATCH`, sched(7)): a payment wakes some
    /// ten threads one after the other, and whoever is interrupted finds its caches emptied. Threads that begin later inherit it.
    ///
    /// Where it is not allowed they stay as they are: all it costs is time.
    static func begin() {
        var parameters = sched_param()
        for thread in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? [] {
            guard let thread = pid_t(thread) else { continue }
            _ = sched_setscheduler(thread, SCHED_BATCH, &parameters)
        }
    }
}
