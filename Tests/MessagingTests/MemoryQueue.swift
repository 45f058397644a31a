import PaymentPorts

/// A queue that keeps the port's promises in memory.
actor MemoryQueue: MessageQueueStore {
    struct Entry {
        let message: OutgoingMessage
        var dueAt: Timestamp
        var attempts = 0
        var isBegun = false
    }

    private(set) var waiting: [Entry] = []
    private(set) var sent: [String] = []
    private(set) var givenUp: [String: String] = [:]
    /// Every reason that was written down, in order.
    private(set) var reasons: [String] = []
    /// What the next calls of `messagesSent` throw.
    private var sentFailures = 0

    func add(_ message: OutgoingMessage, dueAt: Timestamp = Timestamp(milliseconds: 0)) {
        waiting.append(Entry(message: message, dueAt: dueAt))
    }

    func failNextSent() { sentFailures += 1 }

    func dueAt(_ reference: String) -> Timestamp? { waiting.first { $0.message.reference == reference }?.dueAt }

    nonisolated let bell = MessageBell()

    func messagesWaiting() -> [MessageChannel: Int] {
        Dictionary(waiting.map { (MessageChannel($0.message), 1) }, uniquingKeysWith: +)
    }

    func messagesDue(at time: Timestamp, limit: Int, by channel: MessageChannel?) -> [QueuedMessage] {
        waiting.filter { entry in
            entry.dueAt <= time && !entry.isBegun
                && (channel == nil || channel == MessageChannel(entry.message))
        }.sorted { $0.dueAt < $1.dueAt }.prefix(limit)
            .map { QueuedMessage(message: $0.message, attempts: $0.attempts) }
    }

    func messageBegun(_ reference: String, at time: Timestamp) throws {
        guard let index = index(reference), !waiting[index].isBegun else { throw StoreError(.conflict, reference) }
        waiting[index].isBegun = true
    }

    func messagesSent(_ references: [String], at time: Timestamp) throws {
        guard sentFailures == 0 else {
            sentFailures -= 1
            throw StoreError(.unavailable, "the disk is full")
        }
        waiting.removeAll { references.contains($0.message.reference) }
        sent += references
    }

    func messageFailed(_ reference: String, reason: String, retryAt: Timestamp?, at time: Timestamp) throws {
        guard let index = index(reference) else { throw StoreError(.notFound, reference) }
        reasons.append(reason)
        if let retryAt {
            waiting[index].attempts += 1
            waiting[index].dueAt = retryAt
            waiting[index].isBegun = false
        } else {
            waiting.remove(at: index)
            givenUp[reference] = reason
        }
    }

    private func index(_ reference: String) -> Int? { waiting.firstIndex { $0.message.reference == reference } }
}
