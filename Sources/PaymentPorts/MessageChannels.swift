import Synchronization

/// The two ways to people, by what a message is addressed to. Each has a gateway of its own, so neither waits for the other's.
public enum MessageChannel: String, Sendable, CaseIterable {
    /// To a telephone number.
    case sms
    /// To a mail address.
    case mail

    /// - Parameter recipient: E.164 number or mail address.
    public init(recipient: String) { self = recipient.utf8.contains(UInt8(ascii: "@")) ? .mail : .sms }
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
}
