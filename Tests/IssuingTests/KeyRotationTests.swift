import ByteCoding
import CardData
import ECardTesting
import EMV
@testable import Issuing
import KeyCustody
import PKCS11
import PaymentPorts
import PKCS11
import SmartCard
import Testing
import VirtualCard

/// Every key has versions, and what was made under an old one goes on.
@Suite("Key rotation") struct KeyRotationTests {
    /// An issuer with a token of its own, and an authorizer that was there before anything was rotated.
    private struct Rotating {
        let issuer: TestIssuer
        let authorizer: Authorizer
        let rotation: KeyRotation

        init(funds: Int64 = 10_000_00) async throws {
            let keys = try TemporaryToken().open()
            try keys.withSessionBlocking { session in _ = try IssuerKey.createMissing(in: session) }
            issuer = try await TestIssuer(funds: funds, keys: keys)
            authorizer = issuer.authorizer()
            rotation = KeyRotation(keys: keys, stores: issuer.ledger, time: issuer.clock)
        }

        func pays(_ card: TestCard, code: SecretBytes? = nil) async throws -> Bool {
            try await authorizer.authorize(issuer.request(card, 1_00, code: code ?? card.code)).isApproved
        }

        /// A whole payment at a terminal, to the chip's second cryptogram.
        func paysByChip(_ card: TestCard) async throws -> Bool {
            var (terminal, evidence) = try await issuer.present(try #require(card.chip), 1_00)
            let answer = try await authorizer.authorize(issuer.request(evidence, 1_00, code: card.code))
            let outcome = try await terminal.complete(IssuerResponse(answer))
            return answer.isApproved && outcome.isApproved
        }

        func use(_ key: IssuerKey, _ version: Int) async throws -> KeyVersionUse {
            try #require(
                try await issuer.ledger.keyUses(at: issuer.clock.now()).first { $0.key == key && $0.version == version }
            )
        }

        func isWhole() async throws -> Bool { try await issuer.ledger.verify(since: nil) == [] }
    }

    @Test("every key, one after another: cards of every version pay by chip, and the ledger verifies")
    func everyKey() async throws {
        let rotating = try await Rotating()
        var cards = [try await rotating.issuer.chipCard()]
        #expect(try await rotating.paysByChip(cards[0]))
        var moved = 0
        for key in IssuerKey.allCases {
            let begun = try await rotating.rotation.begin(key)
            #expect(begun.isNew)
            #expect(begun.version == 2)
            // In the middle of it, and after it.
            #expect(try await rotating.pays(cards[0]))
            moved += try await rotating.rotation.rewrap()
            #expect(try await rotating.rotation.remaining() == 0)
            cards.append(try await rotating.issuer.chipCard())
            #expect(try await rotating.isWhole(), "\(key)")
        }
        var paying = 0
        for card in cards where try await rotating.paysByChip(card) { paying += 1 }
        #expect(paying == cards.count)
        let masters = cards.map { $0.record.keys.chip?.imkAC }
        #expect(masters.first == 1)
        #expect(masters.last == 2)
        #expect(try await rotating.isWhole())
        let versions = try await rotating.issuer.ledger.keyVersions()
        #expect(IssuerKey.allCases.allSatisfy { versions.live($0) == [1, 2] })
        let rotated = IssuerKey.allCases.filter { versions.current($0) == 2 }.count
        print(
            "claim: keys rotated while cards pay | \(rotated) of \(IssuerKey.allCases.count) | all | "
                + (rotated == IssuerKey.allCases.count ? "holds" : "fails"))
        print(
            "claim: cards of every key version that pay by chip after all rotations | \(paying) of \(cards.count) | all | "
                + (paying == cards.count ? "holds" : "fails"))
        #expect(moved > 0)
    }

    @Test("rows of three versions in one table: every card is found, pays, and is moved; then the old ones can go")
    func mixedTable() async throws {
        let rotating = try await Rotating()
        let issuer = rotating.issuer
        var cards = [try await issuer.plainCard(), try await issuer.plainCard()]
        #expect(try await rotating.pays(cards[0]))
        for key in [IssuerKey.pan, .panIndex, .code] {
            _ = try await rotating.rotation.begin(key)
            cards += [try await issuer.plainCard(), try await issuer.plainCard()]
        }
        let rows = try await issuer.ledger.cards().map(\.keys)
        #expect(Set(rows).count == 3)
        for card in cards {
            #expect(try await rotating.pays(card))
            #expect(try await issuer.cards.pan(of: issuer.reload(card.record)) == card.pan)
        }
        #expect(try await rotating.isWhole())
        #expect(try await rotating.use(.pan, 1).movable == 2)
        #expect(try await rotating.use(.panIndex, 1).movable == 4)

        // What is not finished goes on, and makes no third version.
        let again = try await rotating.rotation.begin(.panIndex)
        #expect(!again.isNew)
        #expect(again.version == 2)
        #expect(try await rotating.rotation.rewrap() == 4)
        #expect(try await rotating.rotation.rewrap() == 0)
        #expect(Set(try await issuer.ledger.cards().map(\.keys.pan)) == [2])
        for card in cards {
            #expect(try await rotating.pays(card))
            #expect(try await issuer.cards.pan(of: issuer.reload(card.record)) == card.pan)
        }
        #expect(try await rotating.isWhole())

        // A payment can be repeated for a week, and is recognised by the key it was made under.
        #expect(try await rotating.rotation.retire(.pan, 1))
        #expect(try await !rotating.rotation.retire(.pan, 1))
        await #expect(throws: StoreError.self) { try await rotating.rotation.retire(.panIndex, 1) }
        issuer.clock.turn(days: 8)
        #expect(try await rotating.rotation.retire(.panIndex, 1))
        for card in cards { #expect(try await rotating.pays(card)) }
        #expect(try await rotating.isWhole())
    }

    @Test("a code is hashed anew at its next right use, and by no wrong one")
    func codes() async throws {
        let rotating = try await Rotating()
        let card = try await rotating.issuer.plainCard()
        _ = try await rotating.rotation.begin(.code)
        let before = try await rotating.issuer.codes.status(card.record.id).record
        #expect(try await !rotating.pays(card, code: card.wrongCode))
        #expect(try await rotating.issuer.codes.status(card.record.id).record.digest == before.digest)
        await #expect(throws: StoreError.self) { try await rotating.rotation.retire(.code, 1) }
        #expect(try await rotating.pays(card))
        let after = try await rotating.issuer.codes.status(card.record.id).record
        #expect(after.keyVersion == 2)
        #expect(after.digest != before.digest)
        #expect(after.failures == 0)
        #expect(try await rotating.isWhole())
        #expect(try await rotating.rotation.retire(.code, 1))
        #expect(try await rotating.pays(card))
        #expect(try await !rotating.pays(card, code: card.wrongCode))
        #expect(try await rotating.isWhole())
    }

    @Test("codes on their way to a rotated key pair still open: its old version goes a day later, both halves of it")
    func codeSeal() async throws {
        let rotating = try await Rotating()
        let label = IssuerKey.codeSeal.label(1)
        let store = rotating.issuer.keys
        let old = try await store.withSession { try $0.provenPublicKey(of: $0.key(label)) }
        _ = try await rotating.rotation.begin(.codeSeal)
        let new = try await store.withSession { try $0.provenPublicKey(of: $0.key(.codeSeal, 2)) }
        #expect(new != old)
        #expect(try await rotating.use(.codeSeal, 1).dependants == 1)
        let error = await #expect(throws: StoreError.self) { try await rotating.rotation.retire(.codeSeal, 1) }
        #expect(error?.kind == .conflict)
        #expect(try await store.withSession { try $0.publicKey(of: $0.key(label)) } == old)
        rotating.issuer.clock.turn(days: 1)
        #expect(try await rotating.rotation.retire(.codeSeal, 1))
        #expect(try await rotating.use(.codeSeal, 1).isRetired)
        try await store.withSession { session in
            // A half that was left would be found beside the next pair of that label.
            let again = try session.generate(IssuerKey.codeSeal.template(1))
            #expect(try session.provenPublicKey(of: again) != old)
            try session.destroy(again)
        }
        #expect(try await rotating.isWhole())
    }

    @Test("a repeat of a payment gets its answer of before, whatever was rotated since", arguments: IssuerKey.allCases)
    func repeats(_ key: IssuerKey) async throws {
        let rotating = try await Rotating()
        let card = try await rotating.issuer.plainCard()
        let request = try rotating.issuer.request(card, code: card.code)
        let first = try await rotating.authorizer.authorize(request)
        _ = try await rotating.rotation.begin(key)
        _ = try await rotating.rotation.rewrap()
        let funds = try await rotating.issuer.funds()
        for authorizer in [rotating.authorizer, rotating.issuer.authorizer()] {
            let again = try await authorizer.authorize(request)
            #expect(again.isRepeat)
            #expect(again.payment == first.payment)
        }
        #expect(try await rotating.issuer.funds() == funds)
        var other = request
        other.amount = rotating.issuer.money(26_00)
        let error = await #expect(throws: StoreError.self) { try await rotating.authorizer.authorize(other) }
        #expect(error?.kind == .keyReused)
    }

    /// That is what a rotation is for: whoever got an old master key can make no cryptogram for a newer card.
    @Test("an old master key makes cryptograms for its own cards alone, and one that never was for none")
    func oldMasterKey() async throws {
        let rotating = try await Rotating()
        let issuer = rotating.issuer
        let old = try await issuer.chipCard()
        _ = try await rotating.rotation.begin(.imkAC)
        let new = try await issuer.chipCard()
        // Under version 1, whatever the DKI says.
        func forgery(_ card: TestCard, dki: UInt8, atc: UInt16 = 900) async throws -> ChipEvidence {
            var evidence = try await issuer.keys.withSession { session in
                try SpeedWork.evidence(
                    pan: card.pan, sequenceNumber: card.record.sequenceNumber, expiry: card.record.expiry,
                    amount: issuer.money(1_00), atc: atc, in: session)
            }
            evidence.elements[0x9F10]?[1] = dki
            return evidence
        }
        func answer(_ evidence: ChipEvidence, _ card: TestCard) async throws -> AuthorizationAnswer {
            try await rotating.authorizer.authorize(issuer.request(evidence, 1_00, code: card.code))
        }
        #expect(try await answer(forgery(old, dki: 1), old).isApproved)
        for (card, dki) in [(new, 1), (new, 2), (new, 3), (new, 0), (new, 255), (old, 2)] as [(TestCard, UInt8)] {
            let answer = try await answer(forgery(card, dki: dki), card)
            #expect(answer.responseCode == ResponseCode.cryptogramFailed.rawValue, "DKI \(dki)")
            // A cryptogram that proves nothing counts against no code.
            #expect(try await issuer.codes.status(card.record.id).record.failures == 0)
        }
        #expect(try await rotating.paysByChip(new))
        let late = try await forgery(old, dki: 1, atc: 901)
        await #expect(throws: StoreError.self) { try await rotating.rotation.retire(.imkAC, 1) }
        try await issuer.cards.block(old.record.id)
        #expect(try await rotating.rotation.retire(.imkAC, 1))
        #expect(try await answer(late, old).responseCode == ResponseCode.cryptogramFailed.rawValue)
        #expect(try await rotating.paysByChip(new))
        #expect(try await rotating.isWhole())
    }

    @Test("a chip keeps the KMC of its first keys, though its personalization ends after a rotation")
    func interruptedPersonalization() async throws {
        let rotating = try await Rotating()
        let issuer = rotating.issuer
        let chip = try issuer.chip(exposed: false)
        let card = try await issuer.card(isExposed: false)
        // After PUT KEY: the chip has its keys.
        let broken = BreakingChannel(chip.channel, at: 8, .after)
        await #expect(throws: (any Error).self) {
            try await issuer.personalizer.personalize(card, as: issuer.profile, over: broken)
        }
        #expect(try await issuer.ledger.kmcVersion(of: card.id) == 1)
        for key in [IssuerKey.kmc, .imkAC] { _ = try await rotating.rotation.begin(key) }
        let again = try await issuer.reload(card)
        try await issuer.personalizer.personalize(again, as: issuer.profile, over: chip.channel)
        #expect(try await issuer.ledger.kmcVersion(of: card.id) == 1)
        #expect(try await issuer.reload(card).keys.chip == ChipKeys(imkAC: 2, imkSMI: 1, imkSMC: 1))
        let whole = TestCard(
            record: try await issuer.reload(card), pan: try await issuer.cards.pan(of: card),
            code: try await issuer.newCode(for: card), chip: chip)
        #expect(try await rotating.paysByChip(whole))
        let next = try await issuer.chipCard(exposed: false)
        #expect(try await issuer.ledger.kmcVersion(of: next.record.id) == 2)
        await #expect(throws: StoreError.self) { try await rotating.rotation.retire(.kmc, 1) }
        #expect(try await rotating.isWhole())
    }

    @Test("killed after the key was made: it is taken. A key of another kind in its place is refused")
    func keyIsThere() async throws {
        let rotating = try await Rotating()
        try await rotating.issuer.keys.withSession { session in
            _ = try session.generate(IssuerKey.pan.template(2))
            _ = try session.generate(
                KeyTemplate(persistent: IssuerKey.kmc.label(2), .aes(bytes: 16), [.derive, .encrypt]))
        }
        let kept = try await rotating.issuer.keys.withSession {
            try $0.checkValue(of: $0.key(.pan, 2), .aesZeros).hex
        }
        #expect(try await rotating.rotation.begin(.pan).checkValue == kept)
        let error = await #expect(throws: IssuingError.self) { try await rotating.rotation.begin(.kmc) }
        #expect(error?.description.contains("ecard.kmc.2") == true)
        #expect(try await rotating.issuer.ledger.keyVersions().current(.kmc) == 1)
    }

    @Test(
        "a key that somebody put into the place of the next version is taken only when a ceremony's transcript tells of it"
    )
    func keyFromElsewhere() async throws {
        let rotating = try await Rotating()
        for (key, length) in [(IssuerKey.imkAC, 16), (.code, 32)] {
            let value = SecretBytes((0..<length).map { UInt8($0) * 2 + 1 })
            _ = try await rotating.issuer.keys.withSession { try $0.importSecret(key.template(2), value: value) }
            let error = await #expect(throws: IssuingError.self) { try await rotating.rotation.begin(key) }
            #expect(error?.description.contains("\(key.label(2))' was not made in the token") == true)
            #expect(try await rotating.issuer.ledger.keyVersions().current(key) == 1)
        }
        let begun = try await rotating.rotation.begin(.imkAC, ceremonies: [IssuerKey.imkAC.label(2)])
        #expect(begun.isImported && begun.version == 2)
        #expect(try await rotating.issuer.ledger.keyVersions().current(.imkAC) == 2)
    }

    @Test("nothing is made under a version that was retired, whoever still knows it")
    func retiredForGood() async throws {
        let rotating = try await Rotating()
        let issuer = rotating.issuer
        let card = try await issuer.plainCard()
        let stale = try #require(try await issuer.ledger.code(of: card.record.id))
        for key in [IssuerKey.pan, .code, .cvkSeed, .kmc, .imkSMI] { _ = try await rotating.rotation.begin(key) }
        _ = try await rotating.rotation.rewrap()
        #expect(try await rotating.pays(card))
        for key in [IssuerKey.pan, .code, .kmc] {
            #expect(try await rotating.rotation.retire(key, 1), "\(key)")
        }
        await #expect(throws: StoreError.self) {
            try await issuer.ledger.add(
                Card(
                    id: .random(), account: issuer.account, panIndex: [1], panSealed: [1], panMasked: "*",
                    sequenceNumber: 1, expiry: card.record.expiry, name: card.record.name, profile: "classic",
                    state: .created, isExposed: false, lastVerifiedATC: nil, createdAt: issuer.clock.now()))
        }
        await #expect(throws: StoreError.self) {
            try await issuer.ledger.add(
                CodeRecord(
                    card: card.record.id, version: 2, salt: stale.salt, digest: stale.digest, digits: 6,
                    state: .active, failures: 0, failureLimit: 3, expiresAt: nil, issuedAt: issuer.clock.now()))
        }
        await #expect(throws: StoreError.self) {
            try await issuer.ledger.bind(
                chip: [UInt8](repeating: 1, count: 10), to: card.record.id, kmc: 1, at: issuer.clock.now())
        }
        // The current version, one that never was, and one that something needs.
        for (key, version) in [(IssuerKey.pan, 2), (.pan, 3), (.pan, 0), (.storage, 1), (.cvkSeed, 1), (.audit, 1)] {
            let error = await #expect(throws: StoreError.self) { try await rotating.rotation.retire(key, version) }
            #expect(error?.kind == .conflict)
        }
        let labels = Set(try await issuer.keys.withSession { try $0.keys(prefix: "ecard.").map(\.label) })
        #expect(!labels.contains("ecard.pan.1"))
        #expect(labels.isSuperset(of: ["ecard.pan.2", "ecard.cvk-seed.1", "ecard.imk-smi.1", "ecard.audit.1"]))
    }
}
