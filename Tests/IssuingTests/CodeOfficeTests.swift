import ByteCoding
import Foundation
@testable import Issuing
import PaymentPorts
import Testing

/// The life of a code: given out once, locked, unlocked, replaced, ended.
@Suite("Code office") struct CodeOfficeTests {
    private func pay(_ issuer: TestIssuer, _ card: TestCard, _ code: SecretBytes) async throws -> Bool {
        try await issuer.authorizer().authorize(try issuer.request(card, 1_00, code: code)).isApproved
    }

    @Test(
        "right is approved, wrong is not, and exactly as many wrong ones as the limit lock it",
        arguments: [1, 2, 3, 5, 10])
    func locks(_ limit: Int) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let code = try await issuer.codes.rotate(card.record.id, .init(failureLimit: limit)).code
        let holder = TestCard(record: card.record, pan: card.pan, code: code, chip: nil)
        for attempt in 1...limit {
            #expect(!(try await pay(issuer, holder, holder.wrongCode)))
            let status = try await issuer.codes.status(card.record.id)
            #expect(status.record.failures == attempt)
            #expect(status.record.state == (attempt < limit ? .active : .locked))
        }
        #expect(!(try await pay(issuer, holder, code)))
        try await issuer.codes.unlock(card.record.id)
        #expect(try await issuer.codes.status(card.record.id).record.failures == 0)
        // Ten failures within the hour are the card's cap, whatever its code's limit.
        issuer.clock.turn(seconds: 2 * 3600)
        #expect(try await pay(issuer, holder, code))
    }

    @Test("a right code in time forgives the wrong ones before it")
    func forgives() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        for _ in 0..<3 {
            for _ in 0..<2 { #expect(!(try await pay(issuer, card, card.wrongCode))) }
            #expect(try await pay(issuer, card, card.code))
            #expect(try await issuer.codes.status(card.record.id).record.failures == 0)
        }
    }

    /// Wrong codes that are wrong in their form too.
    @Test(
        "a code of another form is wrong and counts",
        arguments: ["", "1", "12345", "1234567", "123456789012345678901234567890", "abcdef", "\0\0\0\0\0\0"])
    func otherForm(_ text: String) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        #expect(!(try await pay(issuer, card, SecretBytes(Array(text.utf8)))))
        #expect(try await issuer.codes.status(card.record.id).record.failures == 1)
    }

    @Test("the code with something before or behind it is wrong", arguments: [true, false])
    func padded(_ inFront: Bool) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let digits = card.code.exposedCopy()
        #expect(!(try await pay(issuer, card, SecretBytes(inFront ? [0x30] + digits : digits + [0x30]))))
        #expect(try await pay(issuer, card, card.code))
    }

    @Test("rotation ends the old code at once, locked or not", arguments: [false, true])
    func rotate(_ isLocked: Bool) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        if isLocked { for _ in 0..<3 { _ = try await pay(issuer, card, card.wrongCode) } }
        let new = try await issuer.codes.rotate(card.record.id, .init(digits: 8))
        #expect(new.record.version == 2 && new.record.state == .active && new.record.failures == 0)
        #expect(!(try await pay(issuer, card, card.code)))
        #expect(try await pay(issuer, card, new.code))
    }

    @Test("a revoked code is over for good: no unlock, only a new code")
    func revoke() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        try await issuer.codes.revoke(card.record.id)
        #expect(!(try await pay(issuer, card, card.code)))
        await #expect(throws: StoreError.self) { try await issuer.codes.unlock(card.record.id) }
        await #expect(throws: StoreError.self) { try await issuer.codes.revoke(card.record.id) }
        let new = try await issuer.codes.issue(card.record.id, .init())
        #expect(new.record.version == 2)
        #expect(try await pay(issuer, card, new.code))
    }

    @Test("a locked code can be revoked")
    func revokeLocked() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        for _ in 0..<3 { _ = try await pay(issuer, card, card.wrongCode) }
        try await issuer.codes.revoke(card.record.id)
        #expect(try await issuer.codes.status(card.record.id).record.state == .revoked)
    }

    @Test("a code expires when its time is over, not before")
    func expires() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let code = try await issuer.codes.rotate(card.record.id, .init(lifetime: 3600)).code
        issuer.clock.turn(seconds: 3599)
        #expect(try await pay(issuer, card, code))
        #expect(!(try await issuer.codes.status(card.record.id).isExpired))
        issuer.clock.turn(seconds: 1)
        #expect(!(try await pay(issuer, card, code)))
        #expect(try await issuer.codes.status(card.record.id).isExpired)
        let new = try await issuer.codes.rotate(card.record.id, .init()).code
        #expect(try await pay(issuer, card, new))
    }

    @Test("a second first code is refused, and says what to do")
    func issuedTwice() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let error = try await #require(throws: IssuingError.self) {
            try await issuer.codes.issue(card.record.id, .init())
        }
        #expect(error.kind == .conflict)
        #expect(error.advice.contains("ecard code rotate \(card.record.id)"))
        #expect(try await pay(issuer, card, card.code))
    }

    @Test("what a code is for must exist, and be usable")
    func noCard() async throws {
        let issuer = try await TestIssuer()
        let stranger = CardID.random()
        let unknown = try await #require(throws: StoreError.self) { try await issuer.codes.issue(stranger, .init()) }
        #expect(unknown.kind == .notFound)
        await #expect(throws: StoreError.self) { try await issuer.codes.rotate(stranger, .init()) }
        await #expect(throws: StoreError.self) { try await issuer.codes.status(stranger) }
        await #expect(throws: StoreError.self) { try await issuer.codes.unlock(stranger) }
        await #expect(throws: StoreError.self) { try await issuer.codes.revoke(stranger) }
        let card = try await issuer.activeCard()
        let none = try await #require(throws: IssuingError.self) { try await issuer.codes.rotate(card.id, .init()) }
        #expect(none.advice.contains("ecard code issue"))
        try await issuer.cards.block(card.id)
        let blocked = try await #require(throws: IssuingError.self) { try await issuer.codes.issue(card.id, .init()) }
        #expect(blocked.kind == .conflict)
    }

    @Test("only a locked code can be unlocked")
    func unlockActive() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let error = try await #require(throws: StoreError.self) { try await issuer.codes.unlock(card.record.id) }
        #expect(error.kind == .conflict)
    }

    @Test("of many issued at once for one card one is given out")
    func race() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.activeCard()
        let codes = issuer.codes
        let issued = await withTaskGroup(of: CodeOffice.Issued?.self) { group in
            for _ in 0..<8 { group.addTask { try? await codes.issue(card.id, .init()) } }
            return await group.reduce(into: [CodeOffice.Issued]()) { if let code = $1 { $0.append(code) } }
        }
        #expect(issued.count == 1)
        #expect(try await issuer.ledger.code(of: card.id) == issued.first?.record)
    }
}
