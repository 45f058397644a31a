import ByteCoding
import CardData
import ECardTesting
import Foundation
@testable import Issuing
import KeyCustody
import PaymentPorts
import Synchronization
import Testing
import VirtualCard

@Suite("Card office") struct CardOfficeTests {
    @Test("a new card has a number of its own, of the profile's issuer and length, sealed and indexed")
    func create() async throws {
        let issuer = try await TestIssuer()
        var numbers: Set<String> = []
        for _ in 0..<20 {
            let card = try await issuer.card(isExposed: false)
            let pan = try await issuer.cards.pan(of: card)
            #expect(pan.digits.hasPrefix("993600") && pan.digits.utf8.count == 16)
            #expect(card.panMasked == pan.masked)
            #expect(
                card.panIndex
                    == (try await issuer.keys.withSession { try PANVault.index(of: pan, keyVersion: 1, in: $0) }))
            #expect(card.state == .created && card.lastVerifiedATC == nil && !card.isExposed)
            #expect(try await issuer.ledger.card(panIndices: [card.panIndex]) == card)
            numbers.insert(pan.digits)
        }
        #expect(numbers.count == 20)
    }

    @Test("numbers of every length a profile may ask for", arguments: ["993600", "99360012"], 12...19)
    func lengths(_ prefix: String, _ length: Int) async throws {
        let text = try Profiles.classicText().replacing("\"993600\"", with: "\"\(prefix)\"")
            .replacing("length: 16", with: "length: \(length)")
        let issuer = try await TestIssuer()
        let card = try await issuer.cards.create(
            for: issuer.account, name: CardholderName("Ama"), profile: try CardProfile(yaml: text, file: "x"))
        let pan = try await issuer.cards.pan(of: card)
        #expect(pan.digits.hasPrefix(prefix) && pan.digits.utf8.count == length)
    }

    /// Day of issue (days after 2026-01-02), months, and the last month of validity.
    @Test(
        "valid through the month that many months ahead",
        arguments: [
            (0, 48, "01/30"), (0, 1, "02/26"), (0, 11, "12/26"), (0, 12, "01/27"), (0, 240, "01/46"), (363, 1, "01/27"),
            (333, 12, "12/27"),
        ] as [(Int64, Int, String)])
    func expiry(_ vector: (days: Int64, months: Int, printed: String)) async throws {
        let issuer = try await TestIssuer()
        issuer.clock.turn(days: vector.days)
        let text = try Profiles.classicText().replacing(
            "validity-months: 48", with: "validity-months: \(vector.months)")
        let card = try await issuer.cards.create(
            for: issuer.account, name: CardholderName("Ama"), profile: try CardProfile(yaml: text, file: "x"))
        #expect(card.expiry.printed == vector.printed)
    }

    @Test("a date no card can carry is an error", arguments: [27_000, -20_000] as [Int64])
    func impossibleDate(_ days: Int64) async throws {
        let issuer = try await TestIssuer()
        issuer.clock.turn(days: days)
        await #expect(throws: CardDataError.self) { try await issuer.card() }
        #expect(try await issuer.ledger.cards().isEmpty)
    }

    @Test(
        "a sequence number is two digits",
        arguments: [(-1, false), (0, true), (99, true), (100, false), (Int.min, false)])
    func sequenceNumber(_ number: Int, _ isGood: Bool) async throws {
        let issuer = try await TestIssuer()
        let name = try CardholderName("Ama")
        if isGood {
            let card = try await issuer.cards.create(
                for: issuer.account, name: name, profile: issuer.profile, sequenceNumber: number)
            #expect(card.sequenceNumber == number)
        } else {
            let error = try await #require(throws: IssuingError.self) {
                try await issuer.cards.create(
                    for: issuer.account, name: name, profile: issuer.profile, sequenceNumber: number)
            }
            #expect(error.kind == .invalidRequest)
        }
    }

    @Test("an account that is not there has no cards")
    func noAccount() async throws {
        let issuer = try await TestIssuer()
        let error = try await #require(throws: StoreError.self) {
            try await issuer.cards.create(for: .random(), name: CardholderName("Ama"), profile: issuer.profile)
        }
        #expect(error.kind == .notFound)
    }

    @Test("blocked from every state, and once")
    func block() async throws {
        let issuer = try await TestIssuer()
        for card in [try await issuer.card(), try await issuer.activeCard()] {
            try await issuer.cards.block(card.id)
            #expect(try await issuer.reload(card).state == .blocked)
            await #expect(throws: StoreError.self) { try await issuer.cards.block(card.id) }
        }
        await #expect(throws: StoreError.self) { try await issuer.cards.block(.random()) }
    }

    @Test("a sealed PAN of another card's record does not open")
    func swapped() async throws {
        let issuer = try await TestIssuer()
        let (one, two) = (try await issuer.card(), try await issuer.card())
        let swapped = Card(
            id: one.id, account: one.account, panIndex: one.panIndex, panSealed: two.panSealed,
            panMasked: one.panMasked,
            sequenceNumber: 1, expiry: one.expiry, name: one.name, profile: one.profile, state: .active,
            isExposed: false,
            lastVerifiedATC: nil, createdAt: one.createdAt)
        await #expect(throws: KeyStoreError.self) { try await issuer.cards.pan(of: swapped) }
        await #expect(throws: KeyStoreError.self) {
            try await issuer.personalizer.personalize(swapped, as: issuer.profile, over: try issuer.chip().channel)
        }
    }
}

@Suite("Audit seals") struct AuditKeySealerTests {
    @Test("a seal fits its record and no other")
    func seal() throws {
        let sealer = AuditKeySealer(try SharedToken.keys())
        let record = Array("a record".utf8)
        let seal = try sealer.seal(record, keyVersion: 1)
        #expect(seal.count == 32)
        #expect(try sealer.verify(seal, of: record, keyVersion: 1))
        #expect(!(try sealer.verify(seal, of: record + [0], keyVersion: 1)))
        for index in [0, 15, 31] {
            var changed = seal
            changed[index] ^= 1
            #expect(!(try sealer.verify(changed, of: record, keyVersion: 1)))
        }
        for length in [0, 1, 31] {
            #expect(!(try sealer.verify(Array(seal.prefix(length)), of: record, keyVersion: 1)))
        }
        #expect(!(try sealer.verify(seal + [0], of: record, keyVersion: 1)))
    }
}

@Suite("Speed work") struct SpeedWorkTests {
    @Test("each path runs as often as asked and leaves no key behind", arguments: SpeedWork.allCases)
    func runs(_ work: SpeedWork) throws {
        let probe = ProbedKeyStore(try SharedToken.keys())
        let sample = try probe.withSessionBlocking { try SpeedSample(in: $0) }
        func calls(_ count: Int) throws -> [String] {
            probe.forget()
            try probe.withSessionBlocking { try work.run(count, with: sample, in: $0) }
            return probe.calls
        }
        let (none, one, five) = (try calls(0), try calls(1), try calls(5))
        #expect(one.count > none.count)
        #expect(five.count - none.count == 5 * (one.count - none.count))
        #expect(five.filter { $0 == "derive" }.count == five.filter { $0 == "destroy" }.count)
        #expect(!five.contains("generate") && !five.contains("import"))
    }
}
