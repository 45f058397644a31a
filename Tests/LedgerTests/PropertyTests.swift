import CardData
import ECardTesting
import GRDB
import Ledger
import PaymentPorts
import Testing

/// A small model of an account and its payments, beside which the ledger is run with random calls.
private struct Model {
    struct Paid {
        let id: PaymentID
        let amount: Int64
        var state: Payment.State
        var captured: Int64 = 0
        var refunded: Int64 = 0
        var end: Timestamp?
    }

    var deposits: Int64 = 0
    var paid: [Paid] = []

    var balance: Int64 { deposits - paid.reduce(0) { $0 + $1.captured - $1.refunded } }
    var held: Int64 { paid.reduce(0) { $0 + ($1.state == .authorized ? $1.amount : 0) } }

    mutating func expire(at time: Timestamp) {
        for index in paid.indices where paid[index].state == .authorized {
            if let end = paid[index].end, end <= time { paid[index].state = .expired }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed, the same calls.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}

@Suite("Money is neither made nor lost")
struct PropertyTests {
    /// Fixed seeds for repeatable runs, and one that is new each time. A failure names its seed.
    static let seeds: [UInt64] = [1, 2, 3, 4, .random(in: .min ... .max)]

    @Test("Random calls: the ledger is what the model says, and verifies", arguments: seeds)
    func randomCalls(seed: UInt64) async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        let sample = try await LedgerSample(in: ledger, funds: 0, failureLimit: 1_000)
        var generator = SeededGenerator(state: seed)
        var model = Model()
        var time = LedgerSample.start
        for step in 0..<200 {
            time = time.adding(seconds: .random(in: 0...20, using: &generator))
            try await call(sample, &model, at: time, using: &generator)
            #expect(try await sample.funds() == [model.balance, model.held], "seed \(seed), step \(step)")
        }
        #expect(try await ledger.verify(since: nil) == [], "seed \(seed)")
        let history = try await ledger.postings(of: sample.account).reduce(0) { $0 + $1.minorUnits }
        #expect(history == model.balance, "seed \(seed)")
        let total = try await DatabaseQueue(path: folder.ledgerFile).read { db in
            try Int64.fetchOne(db, sql: "SELECT sum(minor_units) FROM posting")
        }
        #expect(total ?? 0 == 0, "seed \(seed)")
        for paid in model.paid {
            let found = try await ledger.payment(paid.id)
            #expect(found?.state == paid.state, "seed \(seed), payment \(paid.id)")
            #expect(found?.capturedMinorUnits == paid.captured, "seed \(seed), payment \(paid.id)")
            #expect(found?.refundedMinorUnits == paid.refunded, "seed \(seed), payment \(paid.id)")
        }
    }

    private func call(
        _ sample: LedgerSample, _ model: inout Model, at time: Timestamp, using generator: inout SeededGenerator
    ) async throws {
        let amount = Int64.random(in: 1...100, using: &generator)
        switch Int.random(in: 0..<10, using: &generator) {
        case 0...1:
            try await sample.deposit(amount)
            model.deposits += amount
        case 2...5:
            let later = Bool.random(using: &generator)
            let end = later ? time.adding(seconds: .random(in: 1...100, using: &generator)) : nil
            try await pay(sample, &model, amount, until: end, at: time)
        case 6:
            model.expire(at: time)
            _ = try await sample.stores.expireHolds(at: time)
        default:
            guard let index = model.paid.indices.randomElement(using: &generator) else { return }
            try await change(sample, &model.paid[index], amount, Int.random(in: 0..<4, using: &generator), at: time)
        }
    }

    private func pay(
        _ sample: LedgerSample, _ model: inout Model, _ amount: Int64, until end: Timestamp?, at time: Timestamp
    ) async throws {
        model.expire(at: time)
        let snapshot = try await sample.begin(sample.attempt(amount, at: time))
        let capture: PaymentDecision.Capture = end.map { .later(expires: $0) } ?? .now
        let outcome = try await sample.stores.decide(sample.approval(of: snapshot.payment, capture: capture, at: time))
        let isFunded = model.balance - model.held >= amount
        var paid = Model.Paid(id: snapshot.payment, amount: amount, state: .attempted, end: end)
        if case .committed = outcome {
            #expect(isFunded)
            paid.state = end == nil ? .captured : .authorized
            paid.captured = end == nil ? amount : 0
        } else {
            #expect(!isFunded)
        }
        model.paid.append(paid)
    }

    /// One of capture, void, reversal, refund: done exactly when the model allows it.
    private func change(
        _ sample: LedgerSample, _ paid: inout Model.Paid, _ amount: Int64, _ what: Int, at time: Timestamp
    ) async throws {
        let stores = sample.stores
        let before = paid
        let isOpen = paid.state == .authorized
        let isRunning = isOpen && paid.end.map { $0 > time } == true
        do {
            switch what {
            case 0:
                let allowed =
                    isRunning && amount <= paid.amount
                    || (paid.state == .captured || paid.state == .refunded) && amount == paid.captured
                if isRunning && amount <= paid.amount { (paid.state, paid.captured) = (.captured, amount) }
                _ = try await stores.capture(paid.id, minorUnits: amount, at: time)
                #expect(allowed)
            case 1:
                if isOpen { paid.state = .voided }
                _ = try await stores.release(paid.id, to: .voided, reason: "", at: time)
                #expect(isOpen || before.state == .voided)
            case 2:
                if isOpen || paid.state == .captured { (paid.state, paid.refunded) = (.reversed, paid.captured) }
                _ = try await stores.release(paid.id, to: .reversed, reason: "", at: time)
                #expect(isOpen || before.state == .captured || before.state == .reversed)
            default:
                let allowed = paid.state == .captured && amount <= paid.captured - paid.refunded
                if allowed { paid.refunded += amount }
                if allowed && paid.refunded == paid.captured { paid.state = .refunded }
                _ = try await stores.refund(
                    paid.id, minorUnits: amount, idempotencyKey: PaymentID.random().rawValue, at: time)
                #expect(allowed)
            }
        } catch let error as StoreError {
            #expect(error.kind == .conflict)
            #expect(paid.state == before.state && paid.captured == before.captured && paid.refunded == before.refunded)
        }
    }
}
