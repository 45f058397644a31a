import ByteCoding
import CardData
import ECardTesting
import Foundation
@testable import Issuing
import PaymentPorts
import Testing
import VirtualCard

/// Whoever asks cannot tell an unknown card from a locked or a wrong code: not by the answer, not by the work.
@Suite("Declines are alike") struct AlikeTests {
    enum Situation: String, CaseIterable, CustomTestStringConvertible {
        case wrongCode, unknownCard, lockedCode, revokedCode, expiredCode, noCodeIssued, blockedCard, cappedCard,
            codeInFlight
        var testDescription: String { rawValue }
    }

    /// What can be seen of one decision.
    struct Trace: Equatable {
        let answer: [String]
        let hsmCalls: [String]
        let commits: [String]
    }

    @Test("without a chip", arguments: Situation.allCases)
    func withoutChip(_ situation: Situation) async throws {
        let expected = try await Self.trace(.wrongCode, chip: false)
        #expect(try await Self.trace(situation, chip: false) == expected)
        #expect(expected.hsmCalls.filter { $0 == "verify" }.count == 1)
        #expect(expected.commits == ["begin", "decide"])
    }

    @Test("with a chip", arguments: Situation.allCases.filter { $0 != .unknownCard })
    func withChip(_ situation: Situation) async throws {
        let expected = try await Self.trace(.wrongCode, chip: true)
        #expect(try await Self.trace(situation, chip: true) == expected)
    }

    @Test("the trace does differ where it may: no code, and an approval")
    func control() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        let wrong = try await Self.trace(.wrongCode, chip: false)
        let right = try await Self.trace(try issuer.request(card, code: card.code), issuer, DecisionPolicy())
        #expect(right.answer != wrong.answer)
        let none = try await Self.trace(try issuer.request(card, code: nil), issuer, DecisionPolicy())
        #expect(none.hsmCalls != wrong.hsmCalls)
        #expect(none.answer == wrong.answer)
    }

    @Test("an answer leaves at a whole step after its request, whatever it is")
    func step() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.plainCard()
        var policy = DecisionPolicy()
        policy.answerStep = .milliseconds(200)
        for code in [card.code, card.wrongCode] {
            let start = ContinuousClock.now
            _ = try await issuer.authorizer(policy).authorize(issuer.request(card, code: code))
            let steps = (ContinuousClock.now - start) / policy.answerStep
            #expect(steps >= 1)
        }
        // A request that makes no sense is refused no sooner.
        var empty = try issuer.request(card, code: card.code)
        empty.merchant = ""
        let start = ContinuousClock.now
        await #expect(throws: IssuingError.self) { try await issuer.authorizer(policy).authorize(empty) }
        #expect(ContinuousClock.now - start >= policy.answerStep)
    }

    private static func trace(_ situation: Situation, chip: Bool) async throws -> Trace {
        let issuer = try await TestIssuer()
        let card = try await chip ? issuer.chipCard() : issuer.plainCard()
        let id = card.record.id
        var policy = DecisionPolicy()
        var code = card.code
        var request: AuthorizationRequest?
        switch situation {
        case .wrongCode: code = card.wrongCode
        case .unknownCard:
            var unknown = try issuer.request(card, code: code)
            unknown.presentation = .cardNotPresent(
                pan: try PAN(issuer: "993600", account: "000000000"), expiry: card.record.expiry, name: nil)
            request = unknown
        case .lockedCode: try await issuer.ledger.setState(.locked, of: id, from: [.active], at: issuer.clock.now())
        case .revokedCode: try await issuer.codes.revoke(id)
        case .expiredCode:
            code = try await issuer.codes.rotate(id, .init(lifetime: 1)).code
            issuer.clock.turn(seconds: 1)
        case .noCodeIssued:
            let other = try await chip ? issuer.chipCardWithoutCode() : issuer.plainCardWithoutCode()
            return try await trace(
                try await issuer.anyRequest(other, code: code, chip: chip), issuer, policy)
        case .blockedCard: try await issuer.cards.block(id)
        case .cappedCard: policy.caps.card = 0
        case .codeInFlight:
            let stores = ProbedStores(issuer.ledger)
            stores.beforeDecision { _ in throw CancellationError() }
            for _ in 0..<3 {
                let begun = try issuer.request(card, code: card.code)
                await #expect(throws: CancellationError.self) {
                    try await Authorizer(keys: issuer.keys, stores: stores, time: issuer.clock).authorize(begun)
                }
            }
        }
        if request == nil { request = try await issuer.anyRequest(card, code: code, chip: chip) }
        return try await trace(try #require(request), issuer, policy)
    }

    private static func trace(
        _ request: AuthorizationRequest, _ issuer: TestIssuer, _ policy: DecisionPolicy
    ) async throws -> Trace {
        let probe = ProbedKeyStore(issuer.keys)
        let stores = ProbedStores(issuer.ledger)
        let answer = try await Authorizer(keys: probe, stores: stores, time: issuer.clock, policy: policy).authorize(
            request)
        return Trace(
            // All but the payment's number and the ARPC, which is another for every ARQC; its length is not.
            answer: [
                answer.responseCode, answer.message, answer.nameMatch.rawValue,
                "\(answer.issuerAuthenticationData?.utf8.count ?? 0)", "\(try answer.encoded().count)",
            ], hsmCalls: probe.calls, commits: stores.commits)
    }
}

extension TestIssuer {
    fileprivate func anyRequest(_ card: TestCard, code: SecretBytes, chip: Bool) async throws -> AuthorizationRequest {
        guard chip else { return try request(card, code: code) }
        let (_, evidence) = try await present(try #require(card.chip))
        return request(evidence, code: code)
    }

    fileprivate func plainCardWithoutCode() async throws -> TestCard {
        let record = try await activeCard()
        return TestCard(record: record, pan: try await cards.pan(of: record), code: SecretBytes([]), chip: nil)
    }

    fileprivate func chipCardWithoutCode() async throws -> TestCard {
        let chip = try chip()
        let record = try await card()
        try await personalizer.personalize(record, as: profile, over: chip.channel)
        return TestCard(
            record: try await reload(record), pan: try await cards.pan(of: record), code: SecretBytes([]), chip: chip)
    }
}
