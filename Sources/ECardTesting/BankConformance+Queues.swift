import PaymentPorts
import Synchronization

/// What waits to leave, and dialogues.
extension BankConformance {
    static let queues = [
        Case("a notice waits from the commit of its payment, and none leads to nobody") { stores in
            let sample = try await BankSample(in: stores)
            let payment = try await sample.open()
            _ = try await sample.open(phone: nil)
            var capped = sample.opening(of: sample.payment())
            let prompts = Activity(.prompt, of: .phone(BankSample.phone))
            capped.noticeCaps = [ActivityCap(ActivityWindow(prompts, seconds: 3600), limit: 0)]
            try await stores.open(capped)
            let due = try await stores.messagesDue(at: BankSample.start, limit: 9)
            try expect(due.map(\.message.reference), ["\(payment.id).notice"], "due")
            let reference = "\(payment.id).notice"
            let later = BankSample.start.adding(seconds: 60)
            try await stores.messageFailed(reference, reason: "gateway down", retryAt: later, at: BankSample.start)
            try expect(try await stores.messagesDue(at: BankSample.start, limit: 9).count, 0, "after a failure")
            try expect(try await stores.messagesDue(at: later, limit: 9).map(\.attempts), [1], "later")
            try await stores.messagesSent([reference], at: later)
            try expect(try await stores.messagesDue(at: later, limit: 9).count, 0, "sent")
        },
        Case("SMS and mail wait apart, and whoever sends them hears of them") { stores in
            let sample = try await BankSample(in: stores)
            let rings = Mutex(0)
            stores.bell.listen { rings.withLock { $0 += 1 } }
            let payment = try await sample.open()
            try expect(rings.withLock { $0 }, 0, "rings")
            var step = PaymentStep(
                payment: payment.id, from: [payment.state], to: .awaitingHolder, role: .bank, reason: "shown",
                at: BankSample.start)
            step.messages = [
                OutgoingMessage(kind: .notice, recipient: "ama@example.com", body: "x", reference: "\(payment.id).mail")
            ]
            _ = try await stores.take(step)
            try expect(rings.withLock { $0 }, 1, "rings")
            for (channel, suffix) in [(MessageChannel.sms, "notice"), (.mail, "mail")] {
                let due = try await stores.messagesDue(at: BankSample.start, limit: 9, by: channel)
                try expect(due.map(\.message.reference), ["\(payment.id).\(suffix)"], channel.rawValue)
            }
            try expect(try await stores.messagesWaiting(), [.sms: 1, .mail: 1], "waiting")
            try await stores.messageBegun("\(payment.id).mail", at: BankSample.start)
            try expect(try await stores.messagesWaiting(), [.sms: 1], "waiting")
        },
        Case("a message that was begun is due to nobody, until it surely failed") { stores in
            let sample = try await BankSample(in: stores)
            let reference = "\(try await sample.open().id).notice"
            try await stores.messageBegun(reference, at: BankSample.start)
            try await expect(.conflict, "begun twice") {
                try await stores.messageBegun(reference, at: BankSample.start)
            }
            try expect(try await stores.messagesDue(at: BankSample.start, limit: 9).count, 0, "begun")
            try expect(try await stores.messagesGivenUp(since: BankSample.start), 0, "begun")
            try await stores.messageFailed(
                reference, reason: "refused", retryAt: BankSample.start, at: BankSample.start)
            let again = try await stores.messagesDue(at: BankSample.start, limit: 9)
            try expect(again.map(\.message.body), ["A payment waits for you"], "body")
            try expect(try await stores.messagesGivenUp(since: BankSample.start), 0, "tried again")
            try await stores.messageFailed(reference, reason: "no such number", retryAt: nil, at: BankSample.start)
            try expect(try await stores.messagesDue(at: BankSample.start, limit: 9).count, 0, "given up")
            try expect(try await stores.messagesGivenUp(since: BankSample.start), 1, "given up")
            try expect(try await stores.messagesGivenUp(since: BankSample.start.adding(seconds: 1)), 0, "long ago")
        },
        Case("each endpoint of the merchant and mode gets an event of each step that is told") { stores in
            let sample = try await BankSample(in: stores)
            let other = try await BankSample(in: stores)
            func endpoint(_ merchant: MerchantID, live: Bool) -> WebhookEndpoint {
                WebhookEndpoint(
                    id: .random(), merchant: merchant, isLive: live, url: "https://shop.example/hook",
                    sealedSecret: [1, 2], createdAt: BankSample.start)
            }
            let mine = endpoint(sample.merchant.id, live: true)
            let test = endpoint(sample.merchant.id, live: false)
            for endpoint in [mine, test, endpoint(other.merchant.id, live: true)] { try await stores.add(endpoint) }
            try expect(try await stores.endpoints(of: sample.merchant.id), [mine, test], "endpoints")
            let payment = try await sample.open()
            _ = try await sample.capture(payment.id)
            let due = try await stores.eventsDue(at: BankSample.start, limit: 9)
            try expect(due.map(\.type), ["payment.captured"], "types")
            try expect(due.map(\.endpoint), [mine], "endpoint")
            try expect(due.map(\.step), [5], "step")
            guard let event = due.first else { return }
            let later = BankSample.start.adding(seconds: 5)
            try await stores.eventFailed(event.id, reason: "500", retryAt: later, at: BankSample.start)
            try expect(try await stores.eventsDue(at: BankSample.start, limit: 9).count, 0, "after a failure")
            try expect(try await stores.eventsDue(at: later, limit: 9).map(\.attempts), [1], "later")
            try expect(try await stores.eventsGivenUp(since: BankSample.start), 0, "tried again")
            try await stores.eventFailed(event.id, reason: "410", retryAt: nil, at: later)
            try expect(try await stores.eventsGivenUp(since: BankSample.start), 1, "given up")
            try expect(try await stores.eventsGivenUp(since: later), 0, "long ago")
            func undelivered(_ merchant: MerchantID) async throws -> [UndeliveredEvent] {
                try await stores.undelivered(of: merchant, limit: 9)
            }
            try expect(try await undelivered(sample.merchant.id).map(\.reason), ["410"], "why")
            try expect(try await undelivered(sample.merchant.id).map(\.dueAt), [nil], "when")
            try expect(try await undelivered(.random()).count, 0, "another merchant's")
            try await expect(.notFound, "another merchant's") {
                _ = try await stores.resend([event.id], of: .random(), at: later)
            }
            try await expect(.notFound, "one of them is unknown") {
                _ = try await stores.resend([event.id, .inOrder(at: later)], of: sample.merchant.id, at: later)
            }
            try expect(try await stores.resend(nil, of: .random(), at: later), [], "another merchant's")
            try expect(try await stores.eventsDue(at: later, limit: 9).count, 0, "still given up")
            try expect(try await stores.resend(nil, of: sample.merchant.id, at: later), [event.id], "all")
            try expect(try await stores.resend(nil, of: sample.merchant.id, at: later), [], "none is given up")
            try expect(try await stores.eventsDue(at: later, limit: 9).map(\.attempts), [0], "anew")
            try expect(try await stores.eventsGivenUp(since: BankSample.start), 0, "sent again")
            try await stores.eventFailed(event.id, reason: "500", retryAt: later.adding(seconds: 5), at: later)
            try expect(try await stores.resend([event.id], of: sample.merchant.id, at: later), [event.id], "one")
            try expect(try await stores.eventsDue(at: later, limit: 9).count, 1, "before its time")
            try await stores.eventsDelivered([event.id], at: later)
            try expect(try await stores.eventsDue(at: later, limit: 9).count, 0, "delivered")
            try await stores.remove(mine.id, of: sample.merchant.id, at: later)
            try await expect(.notFound, "removed twice") {
                try await stores.remove(mine.id, of: sample.merchant.id, at: later)
            }
            try await expectVerified(stores)
        },
        Case("a dialogue's turn is taken once") { stores in
            func session(_ turn: Int) -> USSDSession {
                USSDSession(
                    gateway: "simulator", id: "s1", phone: BankSample.phone, position: [UInt8(turn)], turn: turn,
                    lastInput: [1], lastAnswer: [2], updatedAt: BankSample.start)
            }
            try await stores.save(session(1), afterTurn: 0)
            try await expect(.conflict, "begun twice") { try await stores.save(session(1), afterTurn: 0) }
            try await stores.save(session(2), afterTurn: 1)
            try await expect(.conflict, "the same turn") { try await stores.save(session(2), afterTurn: 1) }
            try expect(try await stores.session(gateway: "simulator", id: "s1")?.turn, 2, "turn")
            try expect(try await stores.session(gateway: "arkesel", id: "s1"), nil, "another gateway's")
            try await stores.endSessions(before: BankSample.start.adding(seconds: 1))
            try expect(try await stores.session(gateway: "simulator", id: "s1"), nil, "ended")
            try await expect(.conflict, "after its end") { try await stores.save(session(3), afterTurn: 2) }
        },
    ]
}
