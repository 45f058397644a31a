import Dispatch
@testable import PKCS11
import Testing

struct BlockingExecutorTests {
    @Test("What is urgent goes before all that waits, and each kind is served in its order")
    func order() async {
        let executor = BlockingExecutor(label: "test", width: 1, limit: .seconds(30))
        let order = Order()
        let gate = DispatchSemaphore(value: 0)
        await withCheckedContinuation { done in
            executor.run {
                gate.wait()
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
            gate.signal()
        }
        #expect(order.entries == ["A", "B", "a", "b", "c"])
    }
}
