import ByteCoding
import CardData
import Foundation
@testable import Issuing
import PaymentPorts
import Testing

/// What becomes of an approval: captured at once or later, whole or in part, voided, refunded, or ended by time.
@Suite("After the approval") struct PaymentLifeCycleTests {
    let issuer: TestIssuer
    let card: TestCard

    init() async throws {
        issuer = try await TestIssuer(funds: 100_00)
        card = try await issuer.plainCard()
    }

    private func hold() async throws -> PaymentID {
        PaymentID(rawValue: try await issuer.approve(card, later: true).payment)
    }

    private var now: Timestamp { issuer.clock.now() }

    @Test("captured later, whole")
    func captureWhole() async throws {
        let id = try await hold()
        #expect(try await issuer.funds() == [100_00, 25_00])
        #expect(try await issuer.ledger.capture(id, minorUnits: nil, at: now).state == .captured)
        #expect(try await issuer.funds() == [75_00, 0])
        #expect(try await issuer.ledger.verify(since: nil) == [])
    }

    @Test("captured later, in part: the rest is free again")
    func capturePart() async throws {
        let id = try await hold()
        let payment = try await issuer.ledger.capture(id, minorUnits: 10_00, at: now)
        #expect(payment.capturedMinorUnits == 10_00)
        #expect(try await issuer.funds() == [90_00, 0])
    }

    @Test("more than was held, or nothing, cannot be captured", arguments: [0, -1, 25_01, Int64.max, .min])
    func captureTooMuch(_ minorUnits: Int64) async throws {
        let id = try await hold()
        await #expect(throws: StoreError.self) { try await issuer.ledger.capture(id, minorUnits: minorUnits, at: now) }
        #expect(try await issuer.funds() == [100_00, 25_00])
    }

    @Test("a void frees the hold, and what is void stays void")
    func void() async throws {
        let id = try await hold()
        #expect(try await issuer.ledger.release(id, to: .voided, reason: "the customer left", at: now).state == .voided)
        #expect(try await issuer.funds() == [100_00, 0])
        await #expect(throws: StoreError.self) { try await issuer.ledger.capture(id, minorUnits: nil, at: now) }
        #expect(try await issuer.funds() == [100_00, 0])
    }

    @Test("a hold that nobody captures ends on its day")
    func expires() async throws {
        let id = try await hold()
        issuer.clock.turn(seconds: DecisionPolicy().holdLifetime - 1)
        #expect(try await issuer.ledger.expireHolds(at: now) == 0)
        issuer.clock.turn(seconds: 1)
        await #expect(throws: StoreError.self) { try await issuer.ledger.capture(id, minorUnits: nil, at: now) }
        #expect(try await issuer.ledger.expireHolds(at: now) == 1)
        #expect(try await issuer.ledger.payment(id)?.state == .expired)
        #expect(try await issuer.funds() == [100_00, 0])
    }

    @Test("a hold that ended stands in no payment's way, though nobody cleaned up")
    func expiredFunds() async throws {
        _ = try await issuer.approve(card, 100_00, later: true)
        let declined = try await issuer.authorizer().authorize(try issuer.request(card, code: card.code))
        #expect(declined.responseCode == "51")
        issuer.clock.turn(seconds: DecisionPolicy().holdLifetime)
        #expect(try await issuer.authorizer().authorize(try issuer.request(card, code: card.code)).isApproved)
        #expect(try await issuer.funds() == [75_00, 0])
    }

    @Test("a refund gives back, in parts, and not more than was taken")
    func refund() async throws {
        let id = PaymentID(rawValue: try await issuer.approve(card).payment)
        let part = try await issuer.ledger.refund(id, minorUnits: 10_00, idempotencyKey: "r1", at: now)
        #expect(part.state == .captured && part.refundedMinorUnits == 10_00)
        // The same refund again gives nothing again.
        _ = try await issuer.ledger.refund(id, minorUnits: 10_00, idempotencyKey: "r1", at: now)
        #expect(try await issuer.funds() == [85_00, 0])
        await #expect(throws: StoreError.self) {
            try await issuer.ledger.refund(id, minorUnits: 15_01, idempotencyKey: "r2", at: now)
        }
        #expect(try await issuer.ledger.refund(id, minorUnits: nil, idempotencyKey: "r3", at: now).state == .refunded)
        #expect(try await issuer.funds() == [100_00, 0])
        #expect(try await issuer.ledger.verify(since: nil) == [])
    }

    @Test("a decline holds nothing that could be captured, voided or refunded")
    func decline() async throws {
        let answer = try await issuer.authorizer().authorize(try issuer.request(card, code: card.wrongCode))
        let id = PaymentID(rawValue: answer.payment)
        await #expect(throws: StoreError.self) { try await issuer.ledger.capture(id, minorUnits: nil, at: now) }
        await #expect(throws: StoreError.self) { try await issuer.ledger.release(id, to: .voided, reason: "", at: now) }
        await #expect(throws: StoreError.self) {
            try await issuer.ledger.refund(id, minorUnits: nil, idempotencyKey: "r", at: now)
        }
        #expect(try await issuer.funds() == [100_00, 0])
    }
}
