public import SmartCard

/// What changed at the readers.
public enum ReaderEvent: Hashable, Sendable {
    /// A reader came, or was there when watching began. Its card has an event of its own.
    case readerAdded(ReaderState)
    /// A reader went; its card was reported removed before.
    case readerRemoved(String)
    /// A card came into a reader, with its answer to reset.
    case cardInserted(ReaderState)
    /// A card left the reader of this name.
    case cardRemoved(String)
    /// pcscd does not run (any more). Readers and cards were reported removed before; watching goes on.
    case serviceLost(CardError)
    /// pcscd is back.
    case serviceFound

    /// What happened between two looks at the readers. A card that left and came back between them is told by the count of
    /// events that pcscd keeps in the upper half of a reader's state.
    static func between(_ before: [WatchedReader], _ after: [WatchedReader]) -> [ReaderEvent] {
        var events: [ReaderEvent] = []
        for old in before {
            let new = after.first { $0.name == old.name }
            let stayed = new.map { $0.holdsCard && $0.eventCount == old.eventCount } ?? false
            if old.holdsCard, !stayed { events.append(.cardRemoved(old.name)) }
            if new == nil { events.append(.readerRemoved(old.name)) }
        }
        for new in after {
            let old = before.first { $0.name == new.name }
            if old == nil { events.append(.readerAdded(ReaderState(new))) }
            let stayed = old.map { $0.holdsCard && $0.eventCount == new.eventCount } ?? false
            if new.holdsCard, !stayed { events.append(.cardInserted(ReaderState(new))) }
        }
        return events
    }
}

extension WatchedReader {
    /// A card that was reported: pcscd names a card present before it has its answer to reset.
    var holdsCard: Bool { flags.contains(.present) && (!atr.bytes.isEmpty || flags.contains(.mute)) }
}

/// Changes at the readers, beginning with what is there. Each iteration watches on a context and a thread of its own,
/// which end when the consumer stops.
public struct ReaderEvents: AsyncSequence, Sendable {
    public typealias Element = ReaderEvent

    public func makeAsyncIterator() -> AsyncStream<ReaderEvent>.Iterator {
        AsyncStream<ReaderEvent> { continuation in
            let monitor = ReaderMonitor()
            continuation.onTermination = { _ in monitor.stop() }
            monitor.start { changes, _ in
                for change in changes { continuation.yield(change) }
                return true
            } onEnd: {
                continuation.finish()
            }
        }.makeAsyncIterator()
    }
}
