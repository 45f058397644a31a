import ByteCoding
import CardData
import EMV
import Foundation
@testable import Issuing
import KeyCustody
import PaymentPorts
import SmartCard
import Testing
import VirtualCard

@Suite("Decision, chip") struct ChipDecisionTests {
    @Test("chip, terminal and issuer agree: held, then captured when the chip confirms")
    func approved() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        var (terminal, evidence) = try await issuer.present(try #require(card.chip))
        let answer = try await issuer.authorizer().authorize(issuer.request(evidence, code: card.code))
        #expect(answer.isApproved)
        #expect(try await issuer.payment(answer).state == .authorized)
        #expect(try await issuer.funds() == [100_00, 25_00])
        let outcome = try await terminal.complete(IssuerResponse(answer))
        #expect(outcome.decision == .approved)
        #expect(outcome.tsi.contains(.issuerAuthenticationPerformed))
        let payment = try await issuer.authorizer().confirm(
            answer, chipApproved: outcome.isApproved, capturesLater: false)
        #expect(payment.state == .captured)
        #expect(try await issuer.funds() == [75_00, 0])
        #expect(try await issuer.reload(card.record).lastVerifiedATC == evidence.atc)
        // Confirming twice moves nothing.
        let again = try await issuer.authorizer().confirm(answer, chipApproved: true, capturesLater: false)
        #expect(again.state == .captured)
        #expect(try await issuer.funds() == [75_00, 0])
        #expect(try await issuer.ledger.verify(since: nil) == [])
    }

    @Test("many payments one after the other, each with its own ATC")
    func sequence() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        var counters: [UInt16] = []
        for _ in 0..<5 {
            var (terminal, evidence) = try await issuer.present(try #require(card.chip), 10_00)
            counters.append(evidence.atc)
            let answer = try await issuer.authorizer().authorize(issuer.request(evidence, 10_00, code: card.code))
            #expect(try await terminal.complete(IssuerResponse(answer)).isApproved)
            _ = try await issuer.authorizer().confirm(answer, chipApproved: true, capturesLater: false)
        }
        #expect(counters == counters.sorted() && Set(counters).count == 5)
        #expect(try await issuer.funds() == [50_00, 0])
    }

    enum Decline: String, CaseIterable, CustomTestStringConvertible {
        case wrongCode, noCode, lockedCode, revokedCode, expiredCode, blockedCard, noFunds, expiredCard
        var testDescription: String { rawValue }
    }

    @Test("the issuer's no reaches the chip, authenticated, and the chip gives an AAC", arguments: Decline.allCases)
    func declined(_ wrong: Decline) async throws {
        let issuer = try await TestIssuer(funds: wrong == .noFunds ? 0 : 100_00)
        let card = try await issuer.chipCard()
        let id = card.record.id
        var code: SecretBytes? = card.code
        switch wrong {
        case .wrongCode: code = card.wrongCode
        case .noCode: code = nil
        case .lockedCode: try await issuer.ledger.setState(.locked, of: id, from: [.active], at: issuer.clock.now())
        case .revokedCode: try await issuer.codes.revoke(id)
        case .expiredCode:
            code = try await issuer.codes.rotate(id, .init(lifetime: 60)).code
            issuer.clock.turn(seconds: 60)
        case .blockedCard: try await issuer.cards.block(id)
        case .noFunds, .expiredCard: break
        }
        var (terminal, evidence) = try await issuer.present(try #require(card.chip))
        if wrong == .expiredCard { issuer.clock.turn(days: 366 * 5) }
        let answer = try await issuer.authorizer().authorize(issuer.request(evidence, code: code))
        let expected: ResponseCode =
            wrong == .noFunds ? .insufficientFunds : wrong == .expiredCard ? .expiredCard : .doNotHonour
        #expect(answer.responseCode == expected.rawValue)
        #expect(answer.issuerAuthenticationData?.utf8.count == 16)
        let outcome = try await terminal.complete(IssuerResponse(answer))
        #expect(outcome.decision == .declinedByIssuer)
        // The ARPC was right: the chip knows that its issuer spoke, and said no.
        #expect(!outcome.tvr.contains(.issuerAuthenticationFailed))
        #expect(outcome.cid.type == .aac)
        #expect(try await issuer.funds()[1] == 0)
    }

    // MARK: The cryptogram

    @Test(
        "one bit turned in any element the ARQC covers",
        arguments: [
            BERTag(0x9F02), 0x9F03, 0x9F1A, 0x95, 0x5F2A, 0x9A, 0x9C, 0x9F37, 0x82, 0x9F36, 0x9F10,
        ])
    func tamperedElement(_ tag: BERTag) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        let (_, evidence) = try await issuer.present(try #require(card.chip))
        let value = try #require(evidence.elements[tag])
        for index in value.indices {
            var tampered = evidence
            tampered.elements[tag]?[index] ^= 0x01
            let answer = try await issuer.authorizer().authorize(issuer.request(tampered, code: card.code))
            #expect(answer.responseCode == "82", "byte \(index)")
            #expect(answer.issuerAuthenticationData == nil)
        }
        // No attempt on the code was counted, or a stranger with a broken cryptogram could lock it.
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 0)
        #expect(try await issuer.funds() == [100_00, 0])
        // The untouched one still passes.
        #expect(try await issuer.authorizer().authorize(issuer.request(evidence, code: card.code)).isApproved)
    }

    /// Evidence that lies about something other than one bit.
    static let lies: [(name: String, change: @Sendable (inout ChipEvidence) -> Void)] = [
        ("first byte of the ARQC", { $0.arqc[0] ^= 0x80 }),
        ("last byte of the ARQC", { $0.arqc[7] ^= 0x01 }),
        ("no ARQC", { $0.arqc = [] }),
        ("four bytes of ARQC", { $0.arqc = Array($0.arqc.prefix(4)) }),
        ("nine bytes of ARQC", { $0.arqc.append(0) }),
        ("another ATC", { $0.atc += 1 }),
        (
            "another ATC, in the element too",
            {
                $0.atc += 1; $0.elements[0x9F36] = $0.atc.bigEndianBytes
            }
        ),
        ("another sequence number", { $0.sequenceNumber += 1 }),
        ("an impossible sequence number", { $0.sequenceNumber = 100 }),
        ("a negative sequence number", { $0.sequenceNumber = -1 }),
        ("no elements", { $0.elements = [:] }),
        ("no unpredictable number", { $0.elements[0x9F37] = nil }),
        ("an unpredictable number of five bytes", { $0.elements[0x9F37]?.append(0) }),
        ("a byte moved from one element to the next", { $0.moveByte(from: 0x9F1A, to: 0x95) }),
        ("no IAD", { $0.elements[0x9F10] = [] }),
    ]

    @Test("evidence that does not hold is 82, whatever is wrong with it", arguments: lies.indices)
    func lie(_ index: Int) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        var (_, evidence) = try await issuer.present(try #require(card.chip))
        Self.lies[index].change(&evidence)
        let answer = try await issuer.authorizer().authorize(issuer.request(evidence, code: card.code))
        #expect(answer.responseCode == "82", "\(Self.lies[index].name)")
        #expect(try await issuer.reload(card.record).lastVerifiedATC == nil)
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 0)
    }

    @Test("an ARQC for another amount or currency proves nothing for this one")
    func otherAmount() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        let (_, evidence) = try await issuer.present(try #require(card.chip), 1_00)
        let more = try await issuer.authorizer().authorize(issuer.request(evidence, 99_00, code: card.code))
        #expect(more.responseCode == "82")
        var euros = issuer.request(evidence, 1_00, code: card.code)
        euros.amount = Money(minorUnits: 1_00, currency: try Currency("EUR"))
        #expect(try await issuer.authorizer().authorize(euros).responseCode == "82")
        #expect(try await issuer.authorizer().authorize(issuer.request(evidence, 1_00, code: card.code)).isApproved)
    }

    @Test("a replayed ARQC, under a new key, is 82 and moves nothing")
    func replayed() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        let (_, evidence) = try await issuer.present(try #require(card.chip))
        let first = try await issuer.authorizer().authorize(issuer.request(evidence, code: card.code))
        #expect(first.isApproved)
        let replay = try await issuer.authorizer().authorize(issuer.request(evidence, code: card.code))
        #expect(replay.responseCode == "82")
        #expect(try await issuer.payment(replay).reason == "ATC used before")
        #expect(try await issuer.funds() == [100_00, 25_00])
        #expect(try await issuer.ledger.code(of: card.record.id)?.state == .active)
    }

    @Test("an older ATC is 82 even if the issuer never saw it")
    func olderATC() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        let chip = try #require(card.chip)
        let (_, older) = try await issuer.present(chip)
        let (_, newer) = try await issuer.present(chip)
        #expect(older.atc < newer.atc)
        #expect(try await issuer.authorizer().authorize(issuer.request(newer, code: card.code)).isApproved)
        #expect(try await issuer.authorizer().authorize(issuer.request(older, code: card.code)).responseCode == "82")
    }

    @Test("of two that race with one ARQC one is approved")
    func raced() async throws {
        let issuer = try await TestIssuer(funds: 1000_00)
        let card = try await issuer.chipCard()
        for _ in 0..<10 {
            let (_, evidence) = try await issuer.present(try #require(card.chip))
            let authorizer = issuer.authorizer()
            async let one = authorizer.authorize(issuer.request(evidence, code: card.code))
            async let two = authorizer.authorize(issuer.request(evidence, code: card.code))
            #expect(try await [one.responseCode, two.responseCode].sorted() == ["00", "82"])
        }
        #expect(try await issuer.funds() == [1000_00, 250_00])
    }

    @Test("a card of our keys that the ledger does not know is declined")
    func notInLedger() async throws {
        let issuer = try await TestIssuer()
        let pan = try PAN(issuer: "993600", account: "000000001")
        let expiry = try ExpiryDate(year: 2029, month: 12)
        let amount = issuer.money(25_00)
        let evidence = try await issuer.keys.withSession {
            try SpeedWork.evidence(pan: pan, sequenceNumber: 1, expiry: expiry, amount: amount, atc: 7, in: $0)
        }
        let answer = try await issuer.authorizer().authorize(
            issuer.request(evidence, code: SecretBytes(Array("123456".utf8))))
        #expect(answer.responseCode == "05")
        #expect(try await issuer.payment(answer).reason == "unknown card")
    }

    /// What a chip may truly say and its issuer must not take for a request to pay: every MAC is right.
    static let noRequests: [(name: String, change: @Sendable (inout [BERTag: [UInt8]]) -> Void)] = [
        ("an AAC", { $0[0x9F10]?[4] = 0x80 }),
        ("a TC", { $0[0x9F10]?[4] = 0x90 }),
        ("a reserved first cryptogram", { $0[0x9F10]?[4] = 0xB0 }),
        ("a second cryptogram, AAC", { $0[0x9F10]?[4] = 0x20 }),
        ("a second cryptogram, TC", { $0[0x9F10]?[4] = 0x60 }),
        ("CVN 10", { $0[0x9F10]?[2] = 0x0A }),
        ("another derivation key index", { $0[0x9F10]?[1] = 2 }),
        ("an IAD of another scheme", { $0[0x9F10]?[0] = 0x0F }),
        ("a CVR of another length", { $0[0x9F10]?[3] = 0x04 }),
        ("no IAD", { $0[0x9F10] = [] }),
        ("a short IAD", { $0[0x9F10] = [0x06, 0x01, 0x12, 0x03, 0xA0, 0x00] }),
        ("a long IAD", { $0[0x9F10]? += [UInt8](repeating: 0, count: 26) }),
        ("a refund", { $0[0x9C] = [0x20] }),
        ("cash", { $0[0x9C] = [0x01] }),
        ("cashback", { $0[0x9F03] = [0, 0, 0, 0, 0x10, 0] }),
        ("no number as the other amount", { $0[0x9F03] = [0, 0, 0, 0, 0, 0x0A] }),
    ]

    @Test("a right MAC over something else than a request to pay is 82", arguments: noRequests.indices)
    func noRequest(_ index: Int) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        var (_, evidence) = try await issuer.present(try #require(card.chip))
        Self.noRequests[index].change(&evidence.elements)
        let remade = try await issuer.remade(evidence)
        let answer = try await issuer.authorizer().authorize(issuer.request(remade, code: card.code))
        #expect(answer.responseCode == "82", "\(Self.noRequests[index].name)")
        #expect(answer.issuerAuthenticationData == nil)
        #expect(try await issuer.ledger.code(of: card.record.id)?.failures == 0)
        #expect(try await issuer.funds() == [100_00, 0])
    }

    @Test("the same MAC over the request itself is approved")
    func remadeRequest() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        let (_, evidence) = try await issuer.present(try #require(card.chip))
        let remade = try await issuer.remade(evidence)
        #expect(remade.arqc == evidence.arqc)
        #expect(try await issuer.authorizer().authorize(issuer.request(remade, code: card.code)).isApproved)
    }

    // MARK: What the chip makes of it

    @Test("captured later: a short hold until the chip confirms, then the merchant's")
    func capturedLater() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        let policy = DecisionPolicy()
        let (_, evidence) = try await issuer.present(try #require(card.chip))
        let authorizer = issuer.authorizer()
        let answer = try await authorizer.authorize(issuer.request(evidence, code: card.code, later: true))
        let held = try await issuer.payment(answer)
        let now = issuer.clock.now()
        #expect(held.holdExpiresAt == now.adding(seconds: policy.chipConfirmationLifetime))
        await #expect(throws: StoreError.self) { try await issuer.ledger.capture(held.id, minorUnits: nil, at: now) }
        issuer.clock.turn(seconds: 1)
        let confirmed = try await authorizer.confirm(answer, chipApproved: true, capturesLater: true)
        #expect(confirmed.state == .authorized && confirmed.confirmedAt == issuer.clock.now())
        #expect(confirmed.holdExpiresAt == issuer.clock.now().adding(seconds: policy.holdLifetime))
        issuer.clock.turn(days: 3)
        let captured = try await issuer.ledger.capture(held.id, minorUnits: 5_00, at: issuer.clock.now())
        #expect(captured.state == .captured)
        #expect(try await issuer.funds() == [95_00, 0])
        #expect(try await issuer.ledger.verify(since: nil) == [])
    }

    @Test("captured later, and the terminal dies before the chip's word: nothing to capture, and soon nothing held")
    func neverConfirmedLater() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        let (_, evidence) = try await issuer.present(try #require(card.chip))
        let answer = try await issuer.authorizer().authorize(issuer.request(evidence, code: card.code, later: true))
        issuer.clock.turn(seconds: DecisionPolicy().chipConfirmationLifetime)
        #expect(try await issuer.ledger.expireHolds(at: issuer.clock.now()) == 1)
        #expect(try await issuer.payment(answer).state == .expired)
        #expect(try await issuer.funds() == [100_00, 0])
    }

    @Test("a wrong ARPC: the chip gives an AAC, and the hold is reversed")
    func wrongARPC() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        var (terminal, evidence) = try await issuer.present(try #require(card.chip))
        let answer = try await issuer.authorizer().authorize(issuer.request(evidence, code: card.code))
        var data = try #require(answer.issuerAuthenticationData.flatMap { [UInt8](hex: $0) })
        data[0] ^= 0x01
        let outcome = try await terminal.complete(IssuerResponse(responseCode: "00", issuerAuthenticationData: data))
        #expect(outcome.decision == .declinedByCard)
        #expect(outcome.tvr.contains(.issuerAuthenticationFailed))
        let payment = try await issuer.authorizer().confirm(
            answer, chipApproved: outcome.isApproved, capturesLater: false)
        #expect(payment.state == .reversed)
        #expect(try await issuer.funds() == [100_00, 0])
        #expect(try await issuer.ledger.verify(since: nil) == [])
    }

    @Test("a declining ARPC with an approving response code: the chip believes the ARPC")
    func forgedResponseCode() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        var (terminal, evidence) = try await issuer.present(try #require(card.chip))
        let answer = try await issuer.authorizer().authorize(issuer.request(evidence, code: card.wrongCode))
        #expect(!answer.isApproved)
        let outcome = try await terminal.complete(
            IssuerResponse(
                responseCode: "00", issuerAuthenticationData: [UInt8](hex: answer.issuerAuthenticationData ?? "")))
        #expect(outcome.decision == .declinedByCard)
    }

    @Test("the chip lost before the second GENERATE AC: the hold is reversed")
    func chipLost() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        // SELECT of the environment, its record, SELECT, GPO, three records, GENERATE AC: then it is pulled.
        let whole = BreakingChannel(try #require(card.chip).channel, at: .max, .before)
        var probe = try issuer.terminal(whole)
        _ = try await probe.begin(issuer.money(25_00))
        let channel = BreakingChannel(try #require(card.chip).channel, at: whole.count, .before)
        var terminal = try issuer.terminal(channel)
        guard case .online(let request) = try await terminal.begin(issuer.money(25_00)) else {
            throw TestFailure("the chip did not ask to go online")
        }
        let answer = try await issuer.authorizer().authorize(issuer.request(ChipEvidence(request), code: card.code))
        #expect(try await issuer.funds() == [100_00, 25_00])
        await #expect(throws: TerminalError.self) { try await terminal.complete(IssuerResponse(answer)) }
        let payment = try await issuer.authorizer().confirm(answer, chipApproved: false, capturesLater: false)
        #expect(payment.state == .reversed)
        #expect(try await issuer.funds() == [100_00, 0])
        // And again, for a merchant who did not hear that.
        #expect(
            try await issuer.authorizer().confirm(answer, chipApproved: false, capturesLater: false).state == .reversed)
    }

    @Test("a terminal that never comes back: the hold ends by itself")
    func neverConfirmed() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        let (_, evidence) = try await issuer.present(try #require(card.chip))
        let answer = try await issuer.authorizer().authorize(issuer.request(evidence, code: card.code))
        issuer.clock.turn(seconds: DecisionPolicy().chipConfirmationLifetime)
        #expect(try await issuer.ledger.expireHolds(at: issuer.clock.now()) == 1)
        #expect(try await issuer.funds() == [100_00, 0])
        await #expect(throws: StoreError.self) {
            try await issuer.authorizer().confirm(answer, chipApproved: true, capturesLater: false)
        }
    }

    @Test("a decline has nothing to confirm and stays one", arguments: [true, false])
    func confirmedDecline(_ chipApproved: Bool) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.chipCard()
        let (_, evidence) = try await issuer.present(try #require(card.chip))
        let answer = try await issuer.authorizer().authorize(issuer.request(evidence, code: card.wrongCode))
        let payment = try await issuer.authorizer().confirm(answer, chipApproved: chipApproved, capturesLater: false)
        #expect(payment.state == .declined)
        #expect(try await issuer.funds() == [100_00, 0])
    }
}

extension ChipEvidence {
    mutating func moveByte(from first: BERTag, to second: BERTag) {
        guard let byte = elements[first]?.popLast() else { return }
        elements[second]?.insert(byte, at: 0)
    }
}

extension TestIssuer {
    /// The same evidence with the MAC that the card's chip would give over its elements.
    fileprivate func remade(_ evidence: ChipEvidence) async throws -> ChipEvidence {
        let input = try CryptogramVersion.cvn18.input(evidence.elements)
        var remade = evidence
        remade.arqc = try await keys.withSession { session in
            try RetailMACKey.withSessionKey(
                issuerKey: try session.key(.imkAC, 1), pan: evidence.pan, sequenceNumber: evidence.sequenceNumber,
                counter: evidence.atc, in: session
            ) { key throws(KeyStoreError) in try key.mac(input, in: session) }
        }
        return remade
    }
}
