public import VirtualCard
import Synchronization

/// A chip whose every command and answer is kept as the reader sent and got it.
public final class RecordingChip: Chip {
    private let inner: any Chip
    private let kept = Mutex<[(command: [UInt8], answer: [UInt8])]>([])

    public init(_ inner: any Chip) { self.inner = inner }

    /// Everything so far, in order.
    public var exchanges: [(command: [UInt8], answer: [UInt8])] { kept.withLock { $0 } }

    public var answerToReset: [UInt8] { inner.answerToReset }
    public func reset() { inner.reset() }
    public func powerOff() { inner.powerOff() }

    public func answer(_ command: [UInt8]) -> [UInt8] {
        let answer = inner.answer(command)
        kept.withLock { $0.append((command, answer)) }
        return answer
    }
}
