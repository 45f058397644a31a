import Synchronization

/// The ways to people, by what a message is addressed to, and is. Each has a gateway of its own, so none waits for another's.
public enum MessageChannel: String, Sendable, CaseIterable {
    /// To a telephone number.
    case sms
    /// To a mail address.
    case mail
    /// A prompt, to a telephone number: a dialogue that the network begins.
    case ussd

    public init(_ message: OutgoingMessage) {
        self =
            if message.kind == .prompt {
                .ussd
            } else {
                message.recipient.utf8.contains(UInt8(ascii: "@")) ? .mail : .sms
            }
    }
}

/// Rings when messages have become durable, so that whoever sends them is not late by the time between two looks.
public final class MessageBell: Sendable {
    private let listeners = Mutex<[@Sendable () -> Void]>([])

    public init() {}

    /// - Parameter action: called by whoever rings; it must not take long.
    public func listen(_ action: @escaping @Sendable () -> Void) { listeners.withLock { $0.append(action) } }

    public func ring() {
        for action in listeners.withLock({ $0 }) { action() }
    }

    /// Rings at some moment of that time from now, which nobody can know before.
    public func ring(within time: ClosedRange<Duration>) {
        let moment = time.lowerBound + (time.upperBound - time.lowerBound) * Double.random(in: 0...1)
        Task {
            // Cancelled or not: nothing depends on when it rings.
            try? await Task.sleep(for: moment)
            ring()
        }
    }
}
