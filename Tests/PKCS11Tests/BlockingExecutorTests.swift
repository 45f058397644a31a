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
        let begun = DispatchSemaphore(value: 0)
        let release = DispatchSemaphore(value: 0)
        let ended = DispatchSemaphore(value: 0)
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

    private func hang(_ executor: BlockingExecutor, _ hanging: Hanging) async -> Outcome {
        await run(executor) {
            hanging.begun.signal()
            hanging.release.wait()
            hanging.ended.signal()
            return 0
        }
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

    @Test("Jobs that hang are given up, their places filled, and their late results dropped")
    func hangingJobs() async {
        let executor = BlockingExecutor(label: "test", width: 2, limit: .milliseconds(100))
        let hanging = (0..<5).map { _ in Hanging() }
        for one in hanging { #expect(await hang(executor, one) == .givenUp) }
        #expect(await run(executor) { 1 } == .value(1))
        for one in hanging {
            one.release.signal()
            one.ended.wait()
        }
        #expect(await run(executor) { 2 } == .value(2))
    }

    @Test("A job that waits behind one that hangs is not begun after its time")
    func waitingJobs() async {
        let executor = BlockingExecutor(label: "test", width: 1, limit: .milliseconds(100))
        let hanging = Hanging()
        let hasRun = Atomic(false)
        async let first = hang(executor, hanging)
        hanging.begun.wait()
        // Both are of the same moment, so both are late when the first is given up or shortly after.
        let second = await run(executor) {
            hasRun.store(true, ordering: .relaxed)
            return 1
        }
        #expect(await first == .givenUp)
        #expect(second == (hasRun.load(ordering: .relaxed) ? .value(1) : .givenUp))
        hanging.release.signal()
    }

    @Test("When too many hang no more take their place, until some come back")
    func patienceEnds() async {
        let executor = BlockingExecutor(label: "test", width: 1, limit: .milliseconds(20))
        let hanging = (0..<5).map { _ in Hanging() }
        for one in hanging { #expect(await hang(executor, one) == .givenUp) }
        #expect(await run(executor) { 1 } == .givenUp)
        #expect(await run(executor) { 1 } == .givenUp)
        for one in hanging.prefix(1) {
            one.release.signal()
            one.ended.wait()
        }
        // The thread that came back has its place again, as soon as it has said so.
        var outcome = Outcome.givenUp
        for _ in 0..<50 where outcome == .givenUp { outcome = await run(executor) { 1 } }
        #expect(outcome == .value(1))
        for one in hanging.dropFirst() { one.release.signal() }
    }
}
