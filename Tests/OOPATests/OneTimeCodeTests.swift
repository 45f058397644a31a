import ByteCoding
import CardData
import ECardTesting
import Issuing
import Ledger
import OOPA
import PaymentPorts
import Testing

@Suite("Profile D: a code for one payment") struct OneTimeCodeTests {
    @Test("It is sent at the announcement, at most once, and good for its payment alone")
    func oneTime() async throws {
        let bench = try await IssuerBench(profiles: [.sealed, .oneTime])
        let (first, second) = (try await bench.announced(), try await bench.announced())
        #expect(try await bench.desk.checkFunds(first).profiles == [.sealed, .oneTime])
        let due = try await bench.messages.messagesDue(at: bench.clock.now(), limit: 10)
        #expect(due.map(\.message.recipient) == [IssuerBench.phone, IssuerBench.phone])
        #expect(
            due.allSatisfy { $0.message.kind == .code && $0.message.body.hasPrefix("GHS 25.00 to Makola Books: code ") }
        )
        let code = try Self.code(in: due[0].message)
        // Of another payment, then right, then once more.
        let foreign = try await bench.desk.authorize(bench.attempt(1, of: second, code, profile: .oneTime))
        #expect(foreign.outcome == .wrongCode && foreign.triesLeft == 2)
        let right = try await bench.attempt(of: first, code, profile: .oneTime)
        #expect(try await bench.desk.authorize(right).outcome == .approved)
        #expect(try await bench.desk.authorize(right).outcome == .approved)
        let again = try await bench.desk.authorize(bench.attempt(2, of: first, code, profile: .oneTime))
        #expect(again.outcome == .declined)
        #expect(try await bench.funds() == [75_00, 0])
        // The holder's own code is untouched, and no one-time code.
        #expect(try await bench.failures() == 0)
        #expect(try await bench.desk.authorize(bench.attempt(2, of: second, profile: .oneTime)).outcome == .wrongCode)
        #expect(try await bench.desk.authorize(bench.attempt(3, of: second, profile: .sealed)).outcome == .approved)
        try await bench.expectVerified()
    }

    @Test("Three wrong guesses end the payment and leave the holder's own code alone")
    func guesses() async throws {
        let bench = try await IssuerBench(profiles: [.oneTime])
        let inquiry = try await bench.announced()
        let code = try Self.code(
            in: try #require(await bench.messages.messagesDue(at: bench.clock.now(), limit: 1).first).message)
        for number in 1...3 {
            var digits = code.exposedCopy()
            digits[0] = 0x30 + (digits[0] - 0x30 + UInt8(number)) % 10
            let verdict = try await bench.desk.authorize(
                bench.attempt(number, of: inquiry, SecretBytes(wiping: &digits), profile: .oneTime))
            #expect(verdict.outcome == (number < 3 ? .wrongCode : .declined))
        }
        #expect(
            try await bench.desk.authorize(bench.attempt(4, of: inquiry, code, profile: .oneTime)).outcome == .declined)
        #expect(try await bench.failures() == 0)
        #expect(try #require(try await bench.ledger.code(of: bench.card.id)).state == .active)
        // Nothing waits for anybody any more.
        #expect(try await bench.messages.messagesDue(at: bench.clock.now(), limit: 10).isEmpty)
        try await bench.expectVerified()
    }

    @Test("A code that was handed over, or whose payment ended, is never sent")
    func atMostOnce() async throws {
        let bench = try await IssuerBench(profiles: [.oneTime])
        let now = bench.clock.now()
        let begun = try await bench.announced()
        let reference = try #require(await bench.messages.messagesDue(at: now, limit: 1).first).message.reference
        try await bench.messages.messageBegun(reference, at: now)
        #expect(try await bench.messages.messagesDue(at: now, limit: 10).isEmpty)
        await #expect(throws: StoreError.self) { try await bench.messages.messageBegun(reference, at: now) }
        // Nobody knows whether it arrived: its body goes.
        try await bench.messages.messageFailed(reference, reason: "no answer", retryAt: nil, at: now)
        #expect(try await bench.messages.messagesDue(at: now, limit: 10).isEmpty)

        let reversed = try await bench.announced()
        _ = try await bench.desk.reverse(reversed.payment, reason: "cancelled")
        #expect(try await bench.messages.messagesDue(at: now, limit: 10).isEmpty)

        // One that surely failed is tried again, until its time is over.
        _ = try await bench.announced()
        let waiting = try #require(await bench.messages.messagesDue(at: now, limit: 1).first).message.reference
        try await bench.messages.messageBegun(waiting, at: now)
        try await bench.messages.messageFailed(
            waiting, reason: "gateway down", retryAt: now.adding(seconds: 30), at: now)
        #expect(try await bench.messages.messagesDue(at: now.adding(seconds: 29), limit: 10).isEmpty)
        #expect(try await bench.messages.messagesDue(at: now.adding(seconds: 30), limit: 10).map(\.attempts) == [1])
        #expect(try await bench.messages.messagesDue(at: now.adding(seconds: 600), limit: 10).isEmpty)
        #expect(try await bench.messages.messagesDue(at: now.adding(seconds: 30), limit: 10).isEmpty)
        _ = begun
        try await bench.expectVerified()
    }

    @Test("A card that takes none gets none")
    func none() async throws {
        let bench = try await IssuerBench()
        let inquiry = try await bench.announced()
        #expect(try await bench.messages.messagesDue(at: bench.clock.now(), limit: 10).isEmpty)
        #expect(try await bench.desk.authorize(bench.attempt(of: inquiry, profile: .oneTime)).outcome == .declined)
    }

    /// The six digits in a message.
    static func code(in message: OutgoingMessage) throws -> SecretBytes {
        let digits = message.body.split { !$0.isNumber }.first { $0.count == OneTimeCode.digits }.map(String.init)
        return SecretBytes(Array(try #require(digits).utf8))
    }
}
