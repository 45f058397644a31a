public import Logging
public import PaymentPorts
public import ServiceLifecycle
import Synchronization

/// Takes messages from a queue whose time has come and hands them to a gateway, until it is cancelled.
///
/// What a message is decides how often it leaves. A code: at most once, because a second is a second secret on its way;
/// that it is begun is durable before it leaves, and it is due again only when the gateway surely has nothing of it. All
/// else: at least once, with its reference, until the gateway took it.
public final class MessageSender: Service {
    /// How patient the sender is.
    public struct Policy: Sendable {
        /// Messages taken from the queue in one round, and how many of them are on their way at the same time.
        public var batch = 128
        public var concurrency = 16
        /// Rounds at the same time: while a slow answer is waited for, another round sends what came meanwhile.
        public var rounds = 4
        /// When nobody signals: how often the queue is looked at.
        public var interval = Duration.seconds(2)
        /// After the first failure; each further one doubles it.
        public var firstDelay = Duration.seconds(5)
        public var longestDelay = Duration.seconds(1800)
        /// Tries before a message is given up; with the delays above about a day.
        public var tries = 60
        /// Tries of a code, of which nothing can have arrived: later than a minute or two nobody waits for it.
        public var codeTries = 5

        public init() {}
    }

    private let queue: any MessageQueueStore
    private let channel: MessageChannel?
    private let delivery: any MessageDelivery
    private let clock: any TimeSource
    private let policy: Policy
    private let logger: Logger
    private let state = Mutex(State())

    private struct State {
        var bell: AsyncStream<Void>.Continuation?
        /// Rounds that run, and whether the bell rang while there was no place for one more.
        var rounds = 0
        var isMissed = false
        /// On their way now, so that no second look at the queue takes them again.
        var underway: Set<String> = []
        /// Rounds that read the queue now, and what has ended since the first of them began: they may have read it before.
        var readers = 0
        var ended: Set<String> = []
        /// Handed over, but the queue could not write it down: written down before anything else, never handed over again.
        var unrecorded: Set<String> = []
    }

    /// - Parameter channel: sends what goes this way; `nil`: all.
    public init(
        queue: any MessageQueueStore, channel: MessageChannel? = nil, delivery: any MessageDelivery,
        clock: any TimeSource, policy: Policy = Policy(), logger: Logger
    ) {
        self.queue = queue
        self.channel = channel
        self.delivery = delivery
        self.clock = clock
        self.policy = policy
        self.logger = logger
        // Who puts a message into the queue rings; it need not wait for the interval.
        queue.bell.listen { [weak self] in self?.wake() }
    }

    private func wake() {
        _ = state.withLock { $0.bell }?.yield()
    }

    /// Sends what is due, again and again. When its task is cancelled or its service group shuts down, it begins nothing
    /// new, finishes what is on its way, and returns.
    public func run() async throws {
        let (bells, bell) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        state.withLock { $0.bell = bell }
        bell.yield()
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { [interval = self.policy.interval] in
                    while (try? await Task.sleep(for: interval)) != nil { bell.yield() }
                }
                for await _ in bells where self.beginsRound() {
                    group.addTask {
                        await self.sendAll()
                        if self.endsRound() { bell.yield() }
                    }
                }
                group.cancelAll()
            }
        }
        state.withLock { $0.bell = nil }
    }

    private func beginsRound() -> Bool {
        state.withLock { state in
            state.isMissed = state.rounds >= policy.rounds
            if !state.isMissed { state.rounds += 1 }
            return !state.isMissed
        }
    }

    /// - Returns: whether another should begin.
    private func endsRound() -> Bool {
        state.withLock { state in
            state.rounds -= 1
            defer { state.isMissed = false }
            return state.isMissed
        }
    }

    /// Until nothing is due. A queue that cannot be read is tried again at the next bell.
    private func sendAll() async {
        do {
            while !Task.isCancelled, try await sendDue() > 0 {}
        } catch  where Task.isCancelled {
            // Its queue was not read to the end: the next process does.
        } catch {
            logger.error("The message queue cannot be used; trying again", metadata: ["error": "\(error)"])
        }
    }

    /// Sends what is due now, once.
    /// - Returns: how many messages were tried.
    /// - Throws: what the queue throws; what a gateway throws is written into the queue.
    public func sendDue() async throws -> Int {
        try await record()
        let due = try await claimDue()
        let (begun, failure) = await withTaskGroup(of: (any Error)?.self) { group in
            var begun = 0
            var failure: (any Error)?
            for message in due {
                if begun >= policy.concurrency { failure = await group.next() ?? nil ?? failure }
                // Who is stopped, or cannot write down what happens, leaves the rest for the next one.
                guard !Task.isCancelled, failure == nil else {
                    release(message)
                    continue
                }
                begun += 1
                // A task of its own: what has begun is not cut off by the end of the loop, but by the gateway's time limit.
                let handover = Task { () -> (any Error)? in
                    defer { self.release(message) }
                    do { try await self.handOver(message) } catch { return error }
                    return nil
                }
                group.addTask { await handover.value }
            }
            for await error in group { failure = failure ?? error }
            return (begun, failure)
        }
        if let failure { throw failure }
        return begun
    }

    /// What is due and on its way by no other round.
    private func claimDue() async throws -> [QueuedMessage] {
        let limit = state.withLock { state in
            state.readers += 1
            // Those that other rounds have begun come first in the queue, and again.
            return state.underway.count + policy.batch
        }
        defer {
            state.withLock { state in
                state.readers -= 1
                if state.readers == 0 { state.ended = [] }
            }
        }
        return try await queue.messagesDue(at: clock.now(), limit: limit, by: channel).filter { queued in
            let reference = queued.message.reference
            return state.withLock { !$0.ended.contains(reference) && $0.underway.insert(reference).inserted }
        }
    }

    private func release(_ queued: QueuedMessage) {
        state.withLock { state in
            state.underway.remove(queued.message.reference)
            if state.readers > 0 { state.ended.insert(queued.message.reference) }
        }
    }

    private func handOver(_ queued: QueuedMessage) async throws {
        let message = queued.message
        if message.kind == .code {
            do {
                try await queue.messageBegun(message.reference, at: clock.now())
            } catch let error as StoreError where error.kind == .conflict {
                return  // Another process has begun it.
            }
        }
        do {
            try await delivery.deliver(message)
        } catch {
            return try await fail(queued, error)
        }
        do {
            try await queue.messagesSent([message.reference], at: clock.now())
        } catch {
            _ = state.withLock { $0.unrecorded.insert(message.reference) }
            throw error
        }
        logger.debug("Message handed over", metadata: ["message": "\(message.reference)"])
    }

    private func fail(_ queued: QueuedMessage, _ error: any Error) async throws {
        let now = clock.now()
        let tries = queued.attempts + 1
        let failure = error as? any DeliveryFailure
        let isCode = queued.message.kind == .code
        let isGivenUp =
            failure?.isFinal == true || tries >= (isCode ? policy.codeTries : policy.tries)
            || isCode && failure?.mayHaveArrived != false
        let delay = Self.delay(tries, first: policy.firstDelay, longest: policy.longestDelay)
        let retryAt = isGivenUp ? nil : Timestamp(milliseconds: now.milliseconds + delay.milliseconds)
        // Of an error that is not ours only the type is sure to hold no secret.
        let reason = failure?.description ?? "\(type(of: error))"
        logger.warning(
            isGivenUp ? "Message given up" : "Message not taken; trying again",
            metadata: [
                "message": "\(queued.message.reference)", "kind": "\(queued.message.kind.rawValue)",
                "tries": "\(tries)", "reason": "\(reason)",
            ])
        try await queue.messageFailed(queued.message.reference, reason: reason, retryAt: retryAt, at: now)
    }

    /// Writes down what was handed over while the queue could not be written.
    private func record() async throws {
        let references = state.withLock { $0.unrecorded }
        guard !references.isEmpty else { return }
        try await queue.messagesSent(references.sorted(), at: clock.now())
        state.withLock { $0.unrecorded.subtract(references) }
    }

    /// Doubles with each failure, to a limit, and is drawn from its upper half, so that what failed together does not come
    /// back together.
    static func delay(_ failures: Int, first: Duration, longest: Duration) -> Duration {
        let doubled = first * (1 << min(max(failures - 1, 0), 30))
        return min(doubled, longest) * Double.random(in: 0.5...1)
    }
}

extension Duration {
    fileprivate var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
