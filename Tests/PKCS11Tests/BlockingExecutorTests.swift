import Dispatch
import Synchronization
import Testing

@testable import PKCS11

/// The threads of a store, with jobs that hang until they are told not to.
struct BlockingExecutorTests {
    private enum Outcome: Equatable, Sendable {
        case value(Int)
        case failed
        case givenUp
    }

    /// A job that occupies its thread until it is let go.
    private final class Hanging: Sendable {
        let hasBegun = Atomic(false)
        private let release = DispatchSemaphore(value: 0)
        private let ended = DispatchSemaphore(value: 0)

        func run() {
            hasBegun.store(true, ordering: .releasing)
            release.wait()
            ended.signal()
        }

        func end() {
            release.signal()
            ended.wait()
        }
    }

    private struct Failure: Error {}

    private func run(_ executor: BlockingExecutor, _ body: @escaping @Sendable () throws -> Int) async -> Outcome {
        await withCheckedContinuation { continuation in
            executor.run(body) {
                switch $0 {
                case .success(let value): continuation.resume(returning: .value(value))
                case .failure: continuation.resume(returning: .failed)
                }
            } giveUp: {
                continuation.resume(returning: .givenUp)
            }
        }
    }

    /// Has a thread hang; again where a busy machine lets the limit pass before the job begins.
    private func hang(_ executor: BlockingExecutor, _ hanging: Hanging) async {
        repeat {
            let outcome = await run(executor) {
                hanging.run()
                return 0
            }
            #expect(outcome == .givenUp)
        } while !hanging.hasBegun.load(ordering: .acquiring)
    }

    /// A job that does nothing, until one is in time.
    private func nextInTime(_ executor: BlockingExecutor) async -> Outcome {
        var outcome = Outcome.givenUp
        for _ in 0..<100 where outcome == .givenUp { outcome = await run(executor) { 1 } }
        return outcome
    }

    @Test("Results and errors come back, as many jobs as there may be")
    func manyJobs() async {
        let executor = BlockingExecutor(label: "test", width: 3, limit: .seconds(60))
        await withTaskGroup(of: (Int, Outcome).self) { group in
            for number in 0..<500 {
                group.addTask {
                    let outcome = await self.run(executor) {
                        guard number % 7 != 0 else { throw Failure() }
                        return number
                    }
                    return (number, outcome)
                }
            }
            for await (number, outcome) in group { #expect(outcome == (number % 7 == 0 ? .failed : .value(number))) }
        }
    }

    @Test("Threads that end because nothing comes are replaced when something does, at whatever moment")
    func idleThreadsEnd() async {
        let executor = BlockingExecutor(label: "test", width: 2, limit: .seconds(60), idleLifetime: .microseconds(20))
        for number in 0..<2000 { #expect(await run(executor) { number } == .value(number)) }
    }

    @Test("What is urgent goes before all that waits, and each kind is served in its order")
    func urgentJobs() async {
        let executor = BlockingExecutor(label: "test", width: 1, limit: .seconds(60))
        let order = Order()
        let first = Hanging()
        await withCheckedContinuation { done in
            executor.run {
                first.run()
            } deliver: { _ in
            } giveUp: {
            }
            for (name, isUrgent) in [("a", false), ("b", false), ("A", true), ("c", false), ("B", true)] {
                executor.run(isUrgent: isUrgent) {
                    order.add(name)
                } deliver: { _ in
                    if name == "c" { done.resume() }
                } giveUp: {
                }
            }
            first.end()
        }
        #expect(order.entries == ["A", "B", "a", "b", "c"])
    }

    @Test("Jobs that hang are given up, their places filled, and their late results dropped")
    func hangingJobs() async {
        let executor = BlockingExecutor(label: "test", width: 2, limit: .milliseconds(100))
        let hanging = (0..<5).map { _ in Hanging() }
        for one in hanging { await hang(executor, one) }
        #expect(await nextInTime(executor) == .value(1))
        for one in hanging { one.end() }
        #expect(await nextInTime(executor) == .value(1))
    }

    @Test("When too many hang no more take their place until some come back, and what waited too long is never run")
    func patienceEnds() async {
        let executor = BlockingExecutor(label: "test", width: 1, limit: .milliseconds(20))
        let hanging = (0..<5).map { _ in Hanging() }
        for one in hanging { await hang(executor, one) }
        let hasRun = Atomic(false)
        let late = await run(executor) {
            hasRun.store(true, ordering: .releasing)
            return 1
        }
        #expect(late == .givenUp)
        // The thread that comes back has its place again, as soon as it has said so.
        hanging[0].end()
        #expect(await nextInTime(executor) == .value(1))
        let wasRun = hasRun.load(ordering: .acquiring)
        #expect(!wasRun)
        for one in hanging.dropFirst() { one.end() }
    }
}
