import ByteCoding
import CardData
import ECardTesting
import EMV
import Foundation
import GlobalPlatform
@testable import Issuing
import KeyCustody
import PaymentPorts
import PKCS11
import SmartCard
import Synchronization
import Testing
import VirtualCard

@Suite("Personalization") struct PersonalizerTests {
    @Test("a blank chip and an exposed one become cards that pay", arguments: [false, true])
    func becomesACard(_ exposed: Bool) async throws {
        let issuer = try await TestIssuer()
        let chip = try issuer.chip(exposed: exposed)
        let card = try await issuer.card(isExposed: exposed)
        let steps = Mutex<[Personalizer.Step]>([])
        try await issuer.personalizer.personalize(card, as: issuer.profile, over: chip.channel) { step in
            steps.withLock { $0.append(step) }
        }
        let environment = try #require(AID(Array("1PAY.SYS.DDF01".utf8)))
        let application = try #require(AID(issuer.profile.aid))
        let first: Personalizer.Step =
            exposed ? .replacePublicKeys : .manufacture(keyDiversificationData: chip.keyDiversificationData)
        #expect(
            steps.withLock { $0 } == [
                first, .secureChannel(keyVersion: exposed ? 2 : 1), .install(environment), .install(application),
                .store(environment),
                .store(application), .readBack(records: 4),
            ])
        let record = try await issuer.reload(card)
        #expect(record.state == .active)
        #expect(record.isExposed == exposed)
        #expect(!chip.isExposed)
        try await expectPays(issuer, card, chip)
    }

    @Test("a second personalization over a finished card is refused, and so is one of a blocked card")
    func notTwice() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        let chip = try #require(card.chip)
        let active = try await #require(throws: StoreError.self) {
            try await issuer.personalizer.personalize(card.record, as: issuer.profile, over: chip.channel)
        }
        #expect(active.kind == .conflict)
        #expect(active.place.contains("active"))
        try await issuer.cards.block(card.record.id)
        let blocked = try await #require(throws: StoreError.self) {
            try await issuer.personalizer.personalize(card.record, as: issuer.profile, over: chip.channel)
        }
        #expect(blocked.kind == .conflict)
        #expect(blocked.place.contains("blocked"))
        #expect(try await issuer.reload(card.record).state == .blocked)
    }

    @Test("a chip is one card for life", arguments: [false, true])
    func notAnotherCard(ownerIsBlocked: Bool) async throws {
        let issuer = try await TestIssuer()
        let owner = try await issuer.chipCard()
        let chip = try #require(owner.chip)
        if ownerIsBlocked { try await issuer.cards.block(owner.record.id) }
        let other = try await issuer.card()
        let error = try await #require(throws: StoreError.self) {
            try await issuer.personalizer.personalize(other, as: issuer.profile, over: chip.channel)
        }
        #expect(error.kind == .conflict)
        #expect(error.place.contains(owner.record.id.rawValue))
        if !ownerIsBlocked { try await expectPays(issuer, owner.record, chip, code: owner.code) }
        // And the card that was refused is not lost.
        let own = try issuer.chip()
        try await issuer.personalizer.personalize(try await issuer.reload(other), as: issuer.profile, over: own.channel)
        try await expectPays(issuer, other, own)
    }

    @Test("a card that was begun in one chip is not finished in another")
    func noClone() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.card()
        let first = try issuer.chip()
        await #expect(throws: CardError.self) {
            try await issuer.personalizer.personalize(
                card, as: issuer.profile, over: BreakingChannel(first.channel, at: 20, .after))
        }
        let error = try await #require(throws: StoreError.self) {
            try await issuer.personalizer.personalize(
                try await issuer.reload(card), as: issuer.profile, over: try issuer.chip().channel)
        }
        #expect(error.kind == .conflict)
        #expect(error.place.contains(first.keyDiversificationData.hex))
        try await issuer.personalizer.personalize(
            try await issuer.reload(card), as: issuer.profile, over: first.channel)
        try await expectPays(issuer, card, first)
    }

    @Test("a chip that gives another's diversification data gets no key of it")
    func borrowedDiversificationData() async throws {
        let issuer = try await TestIssuer()
        let victim = try #require(try await issuer.chipCard(exposed: false).chip)
        let blank = try issuer.chip(exposed: false)
        let own = blank.keyDiversificationData
        let sent = Mutex<[UInt8]>([])
        let liar = RewritingChannel(blank.channel) { command, answer in
            sent.withLock { $0.append(command[1]) }
            return replace(own, by: victim.keyDiversificationData, in: answer)
        }
        let card = try await issuer.card(isExposed: false)
        let error = try await #require(throws: StoreError.self) {
            try await issuer.personalizer.personalize(card, as: issuer.profile, over: liar)
        }
        #expect(error.kind == .conflict)
        #expect(sent.withLock { $0.contains(0x47) && !$0.contains(0xD8) }, "asked for its RSA key, and given nothing")
    }

    @Test("a chip with public keys is taken only for a card that was made for one")
    func publicKeysByConsentAlone() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.card(isExposed: false)
        let chip = try issuer.chip(exposed: true)
        let error = try await #require(throws: IssuingError.self) {
            try await issuer.personalizer.personalize(card, as: issuer.profile, over: chip.channel)
        }
        #expect(error.kind == .unsuitableChip)
        #expect(error.advice.contains("--exposed"))
        #expect(chip.isExposed)
    }

    @Test("another issuer's chip: a clear error, and the chip stays that issuer's")
    func otherIssuer() async throws {
        let owner = try await TestIssuer()
        let theirs = try await owner.chipCard(exposed: false)
        let chip = try #require(theirs.chip)
        let stranger = try await TestIssuer(keys: try StrangerToken.keys())
        let card = try await stranger.card()
        let error = try await #require(throws: GlobalPlatformError.self) {
            try await stranger.personalizer.personalize(card, as: stranger.profile, over: chip.channel)
        }
        #expect(error.kind == .cardNotAuthentic)
        #expect(try await stranger.reload(card).state == .personalizing)
        try await expectPays(owner, theirs.record, chip, code: theirs.code)
        // And the same call with a chip of ours is the way out.
        let ours = try stranger.chip()
        try await stranger.personalizer.personalize(card, as: stranger.profile, over: ours.channel)
        #expect(try await stranger.reload(card).state == .active)
    }

    @Test("a card made for one profile is not made into another")
    func otherProfile() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.card()
        let other = try CardProfile(
            yaml: try Profiles.classicText().replacing("name: classic", with: "name: gold"), file: "gold.yaml")
        let error = try await #require(throws: IssuingError.self) {
            try await issuer.personalizer.personalize(card, as: other, over: try issuer.chip().channel)
        }
        #expect(error.place.contains("'classic'") && error.place.contains("'gold'"))
        #expect(try await issuer.reload(card).state == .created)
    }

    @Test("a card of the stranger's ledger with no such card record is refused before the chip is touched")
    func unknownCard() async throws {
        let issuer = try await TestIssuer()
        let stranger = try await TestIssuer()
        let card = try await stranger.card()
        let channel = BreakingChannel(try issuer.chip().channel, at: .max, .before)
        await #expect(throws: StoreError.self) {
            try await issuer.personalizer.personalize(card, as: issuer.profile, over: channel)
        }
        #expect(channel.count == 0)
    }

    @Test("what is read back is compared: a chip that stored something else is not activated")
    func readBack() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.card()
        let lying = RewritingChannel(try issuer.chip().channel) { command, answer in
            // READ RECORD 2 of file 2.
            command.prefix(4) == [0x00, 0xB2, 0x02, 0x14] ? [answer[0] ^ 0x01] + answer.dropFirst() : answer
        }
        let error = try await #require(throws: IssuingError.self) {
            try await issuer.personalizer.personalize(card, as: issuer.profile, over: lying)
        }
        #expect(error.kind == .verificationFailed)
        #expect(error.place.contains("record 2 of SFI 2"))
        #expect(try await issuer.reload(card).state == .personalizing)
    }

    @Test(
        "a card that answers nonsense is an error, never a trap",
        arguments: [
            [], [0x90], [0x90, 0x00], [0x6F, 0x00], [0x12, 0x34], [0x61, 0x00], [0x6C, 0x00], [0x6F, 0x7F, 0x90, 0x00],
            [0x6F, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0x90, 0x00], [0x6F, 0x80, 0x00, 0x00, 0x90, 0x00],
        ])
    func nonsense(_ answer: [UInt8]) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.card()
        for skipped in 0..<4 {
            let count = Mutex(0)
            let channel = RewritingChannel(try issuer.chip().channel) { _, real in
                count.withLock { count in
                    defer { count += 1 }
                    return count < skipped ? real : answer
                }
            }
            await #expect(throws: (any Error).self) {
                try await issuer.personalizer.personalize(
                    try await issuer.reload(card), as: issuer.profile, over: channel)
            }
            #expect(try await issuer.reload(card).state == .personalizing)
        }
    }

    // MARK: Broken off

    @Test(
        "broken off at every command, before and after: never usable, and the same call ends it",
        arguments: BreakingChannel.Moment.allCases)
    func brokenOff(_ moment: BreakingChannel.Moment) async throws {
        let issuer = try await TestIssuer(funds: 10_000_00)
        let whole = BreakingChannel(try issuer.chip().channel, at: .max, .before)
        try await issuer.personalizer.personalize(try await issuer.card(), as: issuer.profile, over: whole)
        #expect(whole.count > 15)
        for number in 0..<whole.count {
            try await breakOff(issuer, issuer.chip(exposed: true), at: number, moment, exposed: true)
        }
    }

    @Test(
        "broken off during manufacture, before and after every command of it",
        arguments: BreakingChannel.Moment.allCases)
    func brokenManufacture(_ moment: BreakingChannel.Moment) async throws {
        let issuer = try await TestIssuer(funds: 10_000_00)
        // SELECT, GET DATA 00E0, GENERATE KEY PAIR (with its GET RESPONSE), PUT KEY, SELECT.
        for number in 0..<6 {
            try await breakOff(issuer, issuer.chip(exposed: false), at: number, moment, exposed: false)
        }
    }

    private func breakOff(
        _ issuer: TestIssuer, _ chip: VirtualChip, at number: Int, _ moment: BreakingChannel.Moment, exposed: Bool
    ) async throws {
        let place: Comment = "command \(number), \(moment)"
        let card = try await issuer.card(isExposed: exposed)
        let error = try await #require(throws: (any Error).self, place) {
            try await issuer.personalizer.personalize(
                card, as: issuer.profile, over: BreakingChannel(chip.channel, at: number, moment))
        }
        #expect(error is CardError, place)
        #expect(try await issuer.reload(card).state == .personalizing, place)
        let code = try await issuer.newCode(for: card)
        try await expectDoesNotPay(issuer, chip, code, place)

        try await issuer.personalizer.personalize(try await issuer.reload(card), as: issuer.profile, over: chip.channel)
        let record = try await issuer.reload(card)
        #expect(record.state == .active, place)
        #expect(record.isExposed == exposed, place)
        try await expectPays(issuer, card, chip, code: code)
    }

    @Test("broken off twice in a row, and once more in the middle")
    func brokenAgain() async throws {
        let issuer = try await TestIssuer()
        let chip = try issuer.chip()
        let card = try await issuer.card()
        for number in [20, 3, 12] {
            await #expect(throws: CardError.self) {
                try await issuer.personalizer.personalize(
                    try await issuer.reload(card), as: issuer.profile,
                    over: BreakingChannel(chip.channel, at: number, .after))
            }
        }
        try await issuer.personalizer.personalize(try await issuer.reload(card), as: issuer.profile, over: chip.channel)
        try await expectPays(issuer, card, chip)
    }

    @Test(
        "the HSM failing while keys are wrapped: the card stays in the making",
        arguments: ["wrap", "derive", "decrypt"])
    func failingHSM(_ call: String) async throws {
        let issuer = try await TestIssuer()
        let probe = ProbedKeyStore(issuer.keys)
        let card = try await issuer.card()
        let chip = try issuer.chip(exposed: false)
        probe.fail([call])
        let personalizer = Personalizer(keys: probe, cards: issuer.ledger, time: issuer.clock)
        await #expect(throws: KeyStoreError.self) {
            try await personalizer.personalize(card, as: issuer.profile, over: chip.channel)
        }
        #expect(try await issuer.reload(card).state == (call == "decrypt" ? .created : .personalizing))
        probe.fail([])
        try await personalizer.personalize(try await issuer.reload(card), as: issuer.profile, over: chip.channel)
        try await expectPays(issuer, card, chip)
    }

    // MARK: What it is good for

    /// The chip makes an ARQC that the issuer verifies, and takes the issuer's answer.
    private func expectPays(_ issuer: TestIssuer, _ card: Card, _ chip: VirtualChip, code: SecretBytes? = nil)
        async throws
    {
        let code = if let code { code } else { try await issuer.newCode(for: card) }
        var (terminal, evidence) = try await issuer.present(chip, 1_00)
        #expect(evidence.pan == (try await issuer.cards.pan(of: card)))
        let answer = try await issuer.authorizer().authorize(issuer.request(evidence, 1_00, code: code))
        #expect(answer.isApproved)
        #expect(try await terminal.complete(IssuerResponse(answer)).isApproved)
        _ = try await issuer.authorizer().confirm(answer, chipApproved: true, capturesLater: false)
    }

    /// Either the chip has no application that starts a transaction, or the issuer does not accept the card yet.
    private func expectDoesNotPay(
        _ issuer: TestIssuer, _ chip: VirtualChip, _ code: SecretBytes, _ place: Comment
    ) async throws {
        var terminal = try issuer.terminal(chip.channel)
        do {
            guard case .online(let request) = try await terminal.begin(issuer.money(1_00)) else { return }
            let answer = try await issuer.authorizer().authorize(
                issuer.request(ChipEvidence(request), 1_00, code: code))
            #expect(!answer.isApproved, place)
            #expect(try await issuer.payment(answer).reason == "card is personalizing", place)
        } catch {
            #expect(error is TerminalError, place)
        }
    }
}

/// A second issuer's token: other keys under the same labels.
enum StrangerToken {
    static func keys() throws -> any KeyStore { try opened.get() }

    private static let opened = Result<any KeyStore, any Error> {
        let keys = try TemporaryToken().open()
        try keys.withSessionBlocking { session in _ = try IssuerKey.createMissing(in: session) }
        return keys
    }
}

/// `bytes` with the first `old` in them made `new`, of the same length.
private func replace(_ old: [UInt8], by new: [UInt8], in bytes: [UInt8]) -> [UInt8] {
    guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: old) }) else { return bytes }
    return Array(bytes[..<start]) + new + bytes[(start + old.count)...]
}
