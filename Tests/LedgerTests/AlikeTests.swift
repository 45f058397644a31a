import ECardTesting
import GRDB
import PaymentPorts
import Synchronization
import Testing

@testable import Ledger

/// Whoever measures a decline learns nothing of the card: each takes the same statements and the same seals.
@Suite("Declines are alike in work") struct AlikeTests {
    enum Situation: CaseIterable {
        case unknownCard, wrongCode, lastGuess, lostGuesses, lockedCode, revokedCode, noCode, blockedCard, cappedCard,
            endedHold, manyApprovals, guessesInFlight
    }

    struct Work: Equatable {
        var statements = 0
        var seals = 0
    }

    @Test("the two commits of a decline", arguments: Situation.allCases)
    func declines(_ situation: Situation) async throws {
        let expected = try await Self.work(.wrongCode)
        #expect(expected.map(\.seals) == [1, 1])
        #expect(expected.allSatisfy { $0.statements > 5 })
        #expect(try await Self.work(situation) == expected)
    }

    /// What `begin` and `decide` do.
    private static func work(_ situation: Situation) async throws -> [Work] {
        let folder = try TemporaryFolder()
        let sealer = CountingSealer()
        let ledger = try LedgerDatabase(path: folder.ledgerFile, sealer: sealer, create: true)
        let start = LedgerSample.start
        let sample = try await LedgerSample(in: ledger)
        var attempt = sample.attempt(at: start.adding(seconds: 120))
        switch situation {
        case .wrongCode: break
        case .unknownCard: attempt.panIndex = [UInt8](repeating: 9, count: 32)
        case .lastGuess: for _ in 0..<2 { _ = try await sample.guessWrong() }
        case .lostGuesses: for _ in 0..<3 { _ = try await sample.begin(sample.attempt()) }
        case .guessesInFlight: for _ in 0..<3 { _ = try await sample.begin(sample.attempt(at: attempt.at)) }
        case .lockedCode: for _ in 0..<3 { _ = try await sample.guessWrong() }
        case .revokedCode: try await ledger.setState(.revoked, of: sample.card, from: [.active], at: start)
        case .noCode:
            attempt.panIndex = [UInt8](repeating: 8, count: 32)
            try await ledger.add(sample.sampleCard(.random(), panIndex: attempt.panIndex))
        case .blockedCard:
            try await ledger.setState(.blocked, of: sample.card, from: [.active], isExposed: false, at: start)
        case .cappedCard: attempt.caps.card = 0
        case .endedHold: _ = try await sample.pay(1, capture: .later(expires: start.adding(seconds: 60)))
        case .manyApprovals: for _ in 0..<20 { _ = try await sample.pay(1) }
        }
        // In a commit of its own, which no single card's payment pays for.
        _ = try await ledger.expireHolds(at: attempt.at)

        let statements = Mutex(0)
        try await ledger.pool.writeWithoutTransaction { db in
            db.trace(options: .statement) { _ in statements.withLock { $0 += 1 } }
        }
        func measured(_ body: () async throws -> Void) async throws -> Work {
            let before = Work(statements: statements.withLock { $0 }, seals: sealer.count.withLock { $0 })
            try await body()
            return Work(
                statements: statements.withLock { $0 } - before.statements,
                seals: sealer.count.withLock { $0 } - before.seals)
        }
        let payment = attempt.id
        let begun = attempt
        return [
            try await measured { _ = try await ledger.begin(begun) },
            try await measured { _ = try await ledger.decide(sample.decline(of: payment, at: begun.at)) },
        ]
    }
}

/// A merchant learns nothing of the card from the work that a payment takes before its holder answers.
@Suite("Payments that lead to somebody and to nobody are alike in work") struct OnlineAlikeTests {
    enum Situation: CaseIterable {
        case holder, nobody, cappedCard, secondOfCard
    }

    @Test("opening and expiring", arguments: Situation.allCases)
    func alike(_ situation: Situation) async throws {
        let expected = try await Self.work(.holder)
        #expect(expected.map(\.seals) == [2, 1])
        #expect(expected.allSatisfy { $0.statements > 3 })
        #expect(try await Self.work(situation) == expected)
    }

    private static func work(_ situation: Situation) async throws -> [AlikeTests.Work] {
        let folder = try TemporaryFolder()
        let sealer = CountingSealer()
        let bank = try BankDatabase(path: folder.path + "/bank.sqlite", sealer: sealer, create: true)
        let sample = try await BankSample(in: bank)
        if situation == .secondOfCard { _ = try await sample.open() }
        let payment = sample.payment(phone: situation == .nobody ? nil : BankSample.phone)
        var opening = sample.opening(of: payment)
        let prompts = Activity(.prompt, of: .card(payment.route.card))
        opening.counts = [prompts]
        opening.noticeCaps = [
            ActivityCap(ActivityWindow(prompts, seconds: 3600), limit: situation == .cappedCard ? 0 : 10)
        ]
        let statements = Mutex(0)
        try await bank.pool.writeWithoutTransaction { db in
            db.trace(options: .statement) { _ in statements.withLock { $0 += 1 } }
        }
        var work: [AlikeTests.Work] = []
        func measure(_ body: () async throws -> Void) async throws {
            let before = (statements.withLock { $0 }, sealer.count.withLock { $0 })
            try await body()
            work.append(
                AlikeTests.Work(
                    statements: statements.withLock { $0 } - before.0, seals: sealer.count.withLock { $0 } - before.1))
        }
        let opened = opening
        try await measure { try await bank.open(opened) }
        var expiry = sample.step(payment.id, from: [.prompting], to: .expired, .timer, at: payment.expiresAt)
        expiry.evidence = "e30.e30.AA"
        let step = expiry
        try await measure { _ = try await bank.take(step) }
        return work
    }
}

private final class CountingSealer: AuditSealer {
    let count = Mutex(0)
    private let inner = SoftwareAuditSealer()

    func seal(_ record: [UInt8], keyVersion: Int) throws -> [UInt8] {
        count.withLock { $0 += 1 }
        return try inner.seal(record, keyVersion: keyVersion)
    }
    func verify(_ seal: [UInt8], of record: [UInt8], keyVersion: Int) throws -> Bool {
        try inner.verify(seal, of: record, keyVersion: keyVersion)
    }
}
