import ByteCoding
import ECardTesting
import Issuing
import Ledger
import OOPA
import PaymentPorts
import Testing

@Suite("Telephones are changed with proof") struct TelephoneTests {
    private static let new = "+233244000111"

    private static func office(_ bench: IssuerBench) -> TelephoneOffice {
        TelephoneOffice(keys: bench.keys, stores: bench.ledger, time: bench.clock)
    }

    private static func code(_ bench: IssuerBench) async throws -> SecretBytes {
        let due = try await bench.messages.messagesDue(at: bench.clock.now(), limit: 10)
        let message = try #require(due.last { $0.message.kind == .code }).message
        #expect(message.recipient == new)
        return try OneTimeCodeTests.code(in: message)
    }

    @Test("The code that went to the new telephone proves it; the old one is told, and trust begins anew")
    func proved() async throws {
        let bench = try await IssuerBench()
        let office = Self.office(bench)
        let waiting = try await bench.announced()
        _ = try await office.begin(Self.new, of: bench.customer)
        #expect(try await bench.desk.checkFunds(bench.inquiry()).phone == IssuerBench.phone)
        let code = try await Self.code(bench)
        bench.clock.turn(seconds: 60)
        #expect(try await office.confirm(code, of: bench.customer).phone == Self.new)
        let route = try await bench.desk.checkFunds(bench.inquiry())
        #expect(route.phone == Self.new && route.phoneSince == LedgerSample.start.adding(seconds: 60))
        let notices = try await bench.messages.messagesDue(at: bench.clock.now(), limit: 10).filter {
            $0.message.kind == .notice
        }
        #expect(notices.map(\.message.recipient) == [IssuerBench.phone])
        // A payment that was asked on the old telephone is not answered from it any more.
        #expect(try await bench.desk.authorize(bench.attempt(of: waiting)).outcome == .declined)
        // The code is good once.
        await #expect(throws: IssuingError.self) { try await office.confirm(code, of: bench.customer) }
        try await bench.expectVerified()
    }

    @Test("Three wrong codes, or half an hour, end the challenge; nothing changes")
    func guessed() async throws {
        let bench = try await IssuerBench()
        let office = Self.office(bench)
        _ = try await office.begin(Self.new, of: bench.customer)
        let code = try await Self.code(bench)
        for number in 1...3 {
            var digits = code.exposedCopy()
            digits[0] = 0x30 + (digits[0] - 0x30 + UInt8(number)) % 10
            let wrong = SecretBytes(wiping: &digits)
            await #expect {
                _ = try await office.confirm(wrong, of: bench.customer)
            } throws: {
                ($0 as? IssuingError)?.kind == .verificationFailed
            }
        }
        await #expect(throws: IssuingError.self) { try await office.confirm(code, of: bench.customer) }
        _ = try await office.begin(Self.new, of: bench.customer)
        let second = try await Self.code(bench)
        bench.clock.turn(seconds: TelephoneOffice.lifetime)
        await #expect(throws: IssuingError.self) { try await office.confirm(second, of: bench.customer) }
        #expect(try await bench.ledger.customer(bench.customer)?.phone == IssuerBench.phone)
        try await bench.expectVerified()
    }

    @Test("A person's word changes it and stands in the audit chain, without the number")
    func verified() async throws {
        let bench = try await IssuerBench()
        let office = Self.office(bench)
        _ = try await office.set(Self.new, of: bench.customer, verifiedBy: "Esi", reason: "came with a passport")
        #expect(try await bench.ledger.customer(bench.customer)?.phone == Self.new)
        let records = try await bench.ledger.records(kind: "customer.phone", subject: bench.customer.rawValue)
        let detail = try #require(records.first).detail
        #expect(detail.contains("came with a passport") && detail.contains("Esi"))
        #expect(!detail.contains(Self.new) && !detail.contains(IssuerBench.phone))
        await #expect(throws: IssuingError.self) {
            try await office.set("+23324400011a", of: bench.customer, verifiedBy: "Esi", reason: "x")
        }
        await #expect(throws: StoreError.self) {
            try await office.set(IssuerBench.phone, of: .random(), verifiedBy: "Esi", reason: "x")
        }
        try await bench.expectVerified()
    }

    @Test("A message that was changed in the ledger is given up, and keeps no other from leaving")
    func damaged() async throws {
        let bench = try await IssuerBench()
        let office = Self.office(bench)
        let now = bench.clock.now()
        let (reference, _) = try await office.begin(Self.new, of: bench.customer)
        let sealed = try #require(try await bench.ledger.sealedMessagesDue(at: now, limit: 1).first).message
        try await bench.ledger.messagesSent([reference], at: now)
        let moved = SealedMessage(
            reference: "phone-other", kind: .code, recipient: "+233209999999", language: "en", text: sealed.text,
            expiresAt: sealed.expiresAt)
        let challenge = PhoneChallenge(
            customer: bench.customer, phone: Self.new,
            code: OneTimeCode(salt: [1], digest: [2], keyVersion: 1), expiresAt: sealed.expiresAt)
        try await bench.ledger.open(challenge, message: moved, at: now)
        _ = try await office.begin(Self.new, of: bench.customer)
        let due = try await bench.messages.messagesDue(at: now, limit: 10)
        #expect(due.map(\.message.recipient) == [Self.new])
        #expect(try await bench.ledger.sealedMessagesDue(at: now, limit: 10).count == 1)
    }
}
