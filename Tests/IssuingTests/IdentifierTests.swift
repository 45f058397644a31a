import ECardTesting
import Glibc
import PaymentPorts
import Synchronization
import Testing

/// Identifiers, and tasks that go on where they were resumed.
struct IdentifierTests {
    /// As the interface's description has it.
    private static func isWellFormed(_ identifier: PaymentID) -> Bool {
        identifier.rawValue.wholeMatch(of: #/pay_[0-9A-HJKMNP-TV-Z]{16}/#) != nil
    }

    @Test("an identifier in order sorts behind those of every millisecond before, until 2054")
    func order() throws {
        let first: Int64 = 1_577_836_800_000
        let times = [0, 1, 31, 32, 217_000_000_000, 217_000_000_001, 1 << 40 - 1].map { first + $0 }
        let identifiers = times.map { PaymentID.inOrder(at: Timestamp(milliseconds: $0)) }
        #expect(identifiers.map(\.rawValue) == identifiers.map(\.rawValue).sorted())
        #expect(identifiers.allSatisfy(Self.isWellFormed))
        #expect(identifiers.first?.rawValue.hasPrefix("pay_00000000") == true)
        #expect(identifiers.last?.rawValue.hasPrefix("pay_ZZZZZZZZ") == true)
    }

    @Test("identifiers of one millisecond, and random ones, differ")
    func unique() throws {
        let now = Timestamp(milliseconds: 1_795_000_000_000)
        #expect(Set((0..<10_000).map { _ in PaymentID.inOrder(at: now) }).count == 10_000)
        #expect(Set((0..<10_000).map { _ in PaymentID.random() }).count == 10_000)
        #expect(Self.isWellFormed(.random()))
    }

    @Test("clocks before 2020 or far ahead make identifiers all the same", arguments: [Int64.min, -1, 0, .max])
    func strangeClocks(milliseconds: Int64) throws {
        #expect(Self.isWellFormed(.inOrder(at: Timestamp(milliseconds: milliseconds))))
    }

    @Test("a task in place goes on where it is resumed, and ends before whoever resumed it goes on")
    func inPlace() async throws {
        let waiting = Mutex<CheckedContinuation<Int, Never>?>(nil)
        let thread = Mutex<pthread_t?>(nil)
        // It has run to where it waits when this returns: here too it is in place.
        let task = Task(executorPreference: InPlaceExecutor.shared) {
            let value = await withCheckedContinuation { continuation in waiting.withLock { $0 = continuation } }
            thread.withLock { $0 = pthread_self() }
            return value
        }
        let isWhereItWasResumed = await onOwnThread {
            waiting.withLock { $0.take() }?.resume(returning: 7)
            return thread.withLock { $0 } == pthread_self()
        }
        #expect(isWhereItWasResumed)
        #expect(await task.value == 7)
    }
}
