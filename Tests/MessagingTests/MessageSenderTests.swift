import ECardTesting
import Logging
import PaymentPorts
import Synchronization
import Testing

@testable import Messaging

/// A clock that a test turns.
final class TurnedClock: TimeSource {
    private let milliseconds = Mutex<Int64>(1_700_000_000_000)
    func now() -> Timestamp { Timestamp(milliseconds: milliseconds.withLock { $0 }) }
    func turn(by duration: Duration) { milliseconds.withLock { $0 += duration.components.seconds * 1000 } }
}

/// A gateway that does with the n-th try of each message what the test says.
private final class ScriptedGateway: MessageDelivery {
    let tries = Mutex<[String]>([])
    private let script: @Sendable (_ reference: String, _ attempt: Int) async throws -> Void

    init(_ script: @escaping @Sendable (String, Int) async throws -> Void = { _, _ in }) { self.script = script }

    func deliver(_ message: OutgoingMessage) async throws {
        let attempt = tries.withLock { tries in
            tries.append(message.reference)
            return tries.count { $0 == message.reference }
        }
        try await script(message.reference, attempt)
    }
}

private func message(_ reference: String, _ kind: OutgoingMessage.Kind = .receipt) -> OutgoingMessage {
    OutgoingMessage(kind: kind, recipient: "+233201234567", body: "SECRET-BODY", reference: reference)
}

private let down = DeliveryError(.unreachable, place: "gateway", reason: "down")
private let silent = DeliveryError(.noAnswer, place: "gateway", reason: "silent")
private let refused = DeliveryError(.refused, place: "gateway", reason: "no such number")

/// A queue whose second reader gets what it read when the test says so.
private actor LateReads: MessageQueueStore {
    nonisolated let bell = MessageBell()
    private let queue: MemoryQueue
    private var reads = 0
    private let isRead: AsyncStream<Void>.Continuation
    private let mayReturn: AsyncStream<Void>

    init(_ queue: MemoryQueue, isRead: AsyncStream<Void>.Continuation, mayReturn: AsyncStream<Void>) {
        self.queue = queue
        self.isRead = isRead
        self.mayReturn = mayReturn
    }

    func messagesDue(at time: Timestamp, limit: Int, by channel: MessageChannel?) async -> [QueuedMessage] {
        let due = await queue.messagesDue(at: time, limit: limit, by: channel)
        reads += 1
        if reads == 2 {
            isRead.yield()
            for await _ in mayReturn { break }
        }
        return due
    }

    func messagesWaiting() async -> [MessageChannel: Int] { await queue.messagesWaiting() }

    func messageBegun(_ reference: String, at time: Timestamp) async throws {
        try await queue.messageBegun(reference, at: time)
    }

    func messagesSent(_ references: [String], at time: Timestamp) async throws {
        try await queue.messagesSent(references, at: time)
    }

    func messageFailed(_ reference: String, reason: String, retryAt: Timestamp?, at time: Timestamp) async throws {
        try await queue.messageFailed(reference, reason: reason, retryAt: retryAt, at: time)
    }
}

@Suite(.ownThread) struct MessageSenderTests {
    private let queue = MemoryQueue()
    private let clock = TurnedClock()

    private func sender(_ gateway: ScriptedGateway, _ change: (inout MessageSender.Policy) -> Void = { _ in })
        -> MessageSender
    {
        var policy = MessageSender.Policy()
        change(&policy)
        return MessageSender(
            queue: queue, delivery: gateway, clock: clock, policy: policy, logger: Logger(label: "test"))
    }

    @Test("What is due leaves and is done with; what is not waits")
    func due() async throws {
        await queue.add(message("a"))
        await queue.add(message("b", .code))
        await queue.add(message("later"), dueAt: Timestamp(milliseconds: clock.now().milliseconds + 60_000))
        let gateway = ScriptedGateway()
        let sender = sender(gateway)
        #expect(try await sender.sendDue() == 2)
        #expect(gateway.tries.withLock { Set($0) } == ["a", "b"])
        #expect(await Set(queue.sent) == ["a", "b"])
        #expect(try await sender.sendDue() == 0)
        clock.turn(by: .seconds(60))
        #expect(try await sender.sendDue() == 1)
        #expect(await queue.sent.contains("later"))
    }

    @Test("A receipt is tried until it arrives, later each time", arguments: [down, silent])
    func retries(failure: DeliveryError) async throws {
        await queue.add(message("r"))
        let gateway = ScriptedGateway { _, attempt in if attempt < 5 { throw failure } }
        let sender = sender(gateway)
        var last = Duration.zero
        for round in 1...4 {
            #expect(try await sender.sendDue() == 1)
            #expect(try await sender.sendDue() == 0, "it is not due again at once")
            let due = try #require(await queue.dueAt("r"))
            let wait = Duration.milliseconds(due.milliseconds - clock.now().milliseconds)
            // 5 s, doubled each time, the upper half of it.
            let longest = Duration.seconds(5 << (round - 1))
            #expect(wait <= longest && wait >= longest / 2, "after \(round) failures")
            #expect(wait >= last / 2)
            last = wait
            clock.turn(by: longest)
        }
        #expect(try await sender.sendDue() == 1)
        #expect(await queue.sent == ["r"])
        #expect(await queue.reasons == Array(repeating: "\(failure)", count: 4))
    }

    @Test("What cannot arrive is given up at once, all else after the last try")
    func givenUp() async throws {
        await queue.add(message("refused"))
        await queue.add(message("down"))
        let gateway = ScriptedGateway { reference, _ in throw reference == "refused" ? refused : down }
        let sender = sender(gateway) { $0.tries = 3 }
        for _ in 1...4 {
            _ = try await sender.sendDue()
            clock.turn(by: .seconds(3600))
        }
        #expect(gateway.tries.withLock { $0.count { $0 == "refused" } } == 1)
        #expect(gateway.tries.withLock { $0.count { $0 == "down" } } == 3)
        #expect(await queue.givenUp == ["refused": "\(refused)", "down": "\(down)"])
    }

    @Test("A code that may have arrived never leaves again")
    func codeOnce() async throws {
        await queue.add(message("c", .code))
        let gateway = ScriptedGateway { _, _ in throw silent }
        let sender = sender(gateway)
        _ = try await sender.sendDue()
        clock.turn(by: .seconds(86_400))
        _ = try await sender.sendDue()
        #expect(gateway.tries.withLock { $0 } == ["c"])
        #expect(await queue.givenUp == ["c": "\(silent)"])
    }

    @Test("A code of which nothing left is tried again, a few times")
    func codeAgain() async throws {
        await queue.add(message("c", .code))
        await queue.add(message("d", .code))
        let gateway = ScriptedGateway { reference, attempt in if reference == "d" || attempt < 3 { throw down } }
        let sender = sender(gateway)
        for _ in 0..<8 {
            _ = try await sender.sendDue()
            clock.turn(by: .seconds(3600))
        }
        #expect(gateway.tries.withLock { $0.count { $0 == "c" } } == 3)
        #expect(gateway.tries.withLock { $0.count { $0 == "d" } } == 5)
        #expect(await queue.sent == ["c"])
        #expect(await queue.givenUp == ["d": "\(down)"])
    }

    @Test("A code whose gateway fails in a way of its own is not tried again")
    func codeUnknownFailure() async throws {
        struct Odd: Error {}
        await queue.add(message("c", .code))
        _ = try await sender(ScriptedGateway { _, _ in throw Odd() }).sendDue()
        #expect(await queue.givenUp == ["c": "Odd"])
    }

    @Test("A code that a dead process had begun never leaves")
    func codeBegun() async throws {
        await queue.add(message("c", .code))
        try await queue.messageBegun("c", at: clock.now())
        let gateway = ScriptedGateway()
        #expect(try await sender(gateway).sendDue() == 0)
        #expect(gateway.tries.withLock { $0 } == [])
    }

    @Test("Two processes at one queue: one of them sends a code")
    func twoSenders() async throws {
        for number in 0..<50 { await queue.add(message("c\(number)", .code)) }
        let gateway = ScriptedGateway()
        let (one, other) = (sender(gateway), sender(gateway))
        async let first = one.sendDue()
        async let second = other.sendDue()
        _ = try await (first, second)
        #expect(gateway.tries.withLock { $0.count } == 50)
        #expect(await Set(queue.sent).count == 50)
    }

    @Test("What was handed over and not written down is written down, not handed over again")
    func unrecorded() async throws {
        await queue.add(message("r"))
        await queue.failNextSent()
        let gateway = ScriptedGateway()
        let sender = sender(gateway)
        await #expect(throws: StoreError.self) { try await sender.sendDue() }
        #expect(try await sender.sendDue() == 0)
        #expect(gateway.tries.withLock { $0 } == ["r"])
        #expect(await queue.sent == ["r"])
    }

    @Test("No more are on their way at once than allowed, and one that is stuck holds up no other")
    func concurrency() async throws {
        for number in 0..<40 { await queue.add(message("\(number)")) }
        let running = Mutex(0)
        let most = Mutex(0)
        let gateway = ScriptedGateway { reference, _ in
            let now = running.withLock {
                $0 += 1; return $0
            }
            most.withLock { $0 = max($0, now) }
            // The first one waits for all others: with a place less it would wait for ever.
            if reference == "0" { while await self.queue.sent.count < 39 { await Task.yield() } }
            running.withLock { $0 -= 1 }
        }
        #expect(try await sender(gateway) { $0.concurrency = 4 }.sendDue() == 40)
        #expect(most.withLock { $0 } <= 4)
        #expect(await queue.sent.count == 40)
    }

    @Test("The loop wakes when the queue rings, and ends when what it began is done")
    func loop() async throws {
        let (arrived, arrive) = AsyncStream.makeStream(of: String.self)
        let mayEnd = Mutex(false)
        let gateway = ScriptedGateway { reference, _ in
            arrive.yield(reference)
            if reference == "slow" { while !mayEnd.withLock({ $0 }) { await Task.yield() } }
        }
        // The timer alone would take an hour.
        let sender = sender(gateway) { $0.interval = .seconds(3600) }
        let loop = Task { try await sender.run() }
        var arrivals = arrived.makeAsyncIterator()
        await queue.add(message("first"))
        queue.bell.ring()
        // Perhaps the loop had not begun to listen; then it has seen the message by itself.
        #expect(await arrivals.next() == "first")
        await queue.add(message("slow"))
        queue.bell.ring()
        #expect(await arrivals.next() == "slow")
        loop.cancel()
        await queue.add(message("never"))
        queue.bell.ring()
        mayEnd.withLock { $0 = true }
        try await loop.value
        #expect(await queue.sent == ["first", "slow"])
        #expect(gateway.tries.withLock { $0 } == ["first", "slow"])
    }

    @Test("While an answer is waited for, what comes meanwhile leaves")
    func rounds() async throws {
        let (arrived, arrive) = AsyncStream.makeStream(of: String.self)
        let mayEnd = Mutex(false)
        let sender = sender(
            ScriptedGateway { reference, _ in
                arrive.yield(reference)
                if reference == "slow" { while !mayEnd.withLock({ $0 }) { await Task.yield() } }
            }
        ) { $0.interval = .milliseconds(5) }
        await queue.add(message("slow"))
        let loop = Task { try await sender.run() }
        var arrivals = arrived.makeAsyncIterator()
        #expect(await arrivals.next() == "slow")
        for number in 1...3 {
            await queue.add(message("\(number)"))
            queue.bell.ring()
            #expect(await arrivals.next() == "\(number)")
        }
        mayEnd.withLock { $0 = true }
        while await queue.sent.count < 4 { try await Task.sleep(for: .milliseconds(1)) }
        loop.cancel()
        try await loop.value
    }

    @Test("What one round has read, and another has sent meanwhile, does not leave again")
    func lateRead() async throws {
        let (arrivals, arrive) = AsyncStream.makeStream(of: Void.self)
        let (reads, isRead) = AsyncStream.makeStream(of: Void.self)
        let (returns, mayReturn) = AsyncStream.makeStream(of: Void.self)
        let mayEnd = Mutex(false)
        let gateway = ScriptedGateway { _, _ in
            arrive.yield()
            while !mayEnd.withLock({ $0 }) { await Task.yield() }
        }
        await queue.add(message("r"))
        let sender = MessageSender(
            queue: LateReads(queue, isRead: isRead, mayReturn: returns), delivery: gateway, clock: clock,
            logger: Logger(label: "test"))
        async let first = sender.sendDue()
        for await _ in arrivals { break }
        async let second = sender.sendDue()
        for await _ in reads { break }
        mayEnd.withLock { $0 = true }
        #expect(try await first == 1)
        mayReturn.yield()
        #expect(try await second == 0)
        #expect(gateway.tries.withLock { $0 } == ["r"])
    }

    @Test("A sender of SMS leaves mail alone")
    func channels() async throws {
        await queue.add(message("sms"))
        await queue.add(
            OutgoingMessage(kind: .receipt, recipient: "ama@example.com", body: "x", reference: "mail"))
        for (channel, reference) in [(MessageChannel.mail, "mail"), (.sms, "sms")] {
            let gateway = ScriptedGateway()
            let sender = MessageSender(
                queue: queue, channel: channel, delivery: gateway, clock: clock, logger: Logger(label: "test"))
            #expect(try await sender.sendDue() == 1)
            #expect(gateway.tries.withLock { $0 } == [reference])
        }
    }

    @Test("The loop wakes by its timer, and a queue that fails does not end it")
    func timer() async throws {
        await queue.add(message("a"))
        await queue.failNextSent()
        let (arrived, arrive) = AsyncStream.makeStream(of: String.self)
        let sender = sender(ScriptedGateway { reference, _ in arrive.yield(reference) }) {
            $0.interval = .milliseconds(5)
        }
        let loop = Task { try await sender.run() }
        var arrivals = arrived.makeAsyncIterator()
        #expect(await arrivals.next() == "a")
        while await queue.sent != ["a"] { try await Task.sleep(for: .milliseconds(1)) }
        loop.cancel()
        try await loop.value
    }

    @Test("Delays double to the longest, and are drawn from their upper half")
    func delays() {
        for failures in [1, 2, 3, 10, 40, 1_000_000] {
            let whole = failures > 9 ? 1800.0 : Double(5 << (failures - 1))
            for _ in 0..<100 {
                let delay = MessageSender.delay(failures, first: .seconds(5), longest: .seconds(1800))
                #expect(delay >= .seconds(whole / 2) && delay <= .seconds(whole))
            }
        }
    }
}
