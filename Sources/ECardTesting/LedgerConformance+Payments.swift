import CardData
import PaymentPorts

extension LedgerConformance {
    static let decisions = [
        Case("an approval debits at once or holds") { stores in
            let sample = try await LedgerSample(in: stores)
            let now = try await sample.pay(30_00)
            try expect([now.state], [.captured], "captured at once")
            try expect(try await sample.funds(), [70_00, 0], "funds after the debit")
            let end = LedgerSample.start.adding(seconds: 60)
            let later = try await sample.pay(50_00, capture: .later(expires: end))
            try expect([later.state], [.authorized], "held")
            try expect(later.holdExpiresAt, end, "end of the hold")
            try expect(try await sample.funds(), [70_00, 50_00], "funds with the hold")
            let next = try await sample.begin(sample.attempt())
            try expect(next.spent, Spending(approvals: 2, minorUnits: 80_00), "approved in 24 hours")
            try expect(
                try await stores.payments(of: sample.card, limit: 2).map(\.id), [next.payment, later.id], "newest")
            try await expectVerified(stores)
        },
        Case("what is held or gone is not spent twice") { stores in
            let sample = try await LedgerSample(in: stores)
            _ = try await sample.pay(60_00, capture: .later(expires: LedgerSample.start.adding(seconds: 60)))
            let before = try await stores.begin(sample.attempt(40_01, key: "k"))
            guard case .proceed(let snapshot) = before else { throw Failure("decided before") }
            let checkpoint = try await stores.checkpoint()
            guard case .insufficientFunds = try await stores.decide(sample.approval(of: snapshot.payment)) else {
                throw Failure("40.01 of 40.00 was spent")
            }
            try expect(try await stores.checkpoint(), checkpoint, "nothing written")
            _ = try await stores.decide(sample.decline(of: snapshot.payment, .insufficientFunds, codeWasRight: true))
            let payment = try await sample.pay(40_00)
            try expect(try await stores.payment(payment.id), payment, "stored payment")
            try await expectVerified(stores)
        },
        Case("a decision stands, whatever is decided after it") { stores in
            let sample = try await LedgerSample(in: stores)
            let snapshot = try await sample.begin(sample.attempt())
            _ = try await stores.decide(sample.decline(of: snapshot.payment))
            guard case .committed(let payment) = try await stores.decide(sample.approval(of: snapshot.payment)) else {
                throw Failure("not the stored decision")
            }
            try expect(payment.state, .declined, "stored decision")
            try await expect(.notFound, "unknown payment") {
                _ = try await stores.decide(sample.approval(of: .random()))
            }
            try expect(try await sample.funds(), [100_00, 0], "funds")
            try await expectVerified(stores)
        },
        Case("an ATC counts once, and only upwards") { stores in
            let sample = try await LedgerSample(in: stores)
            _ = try await sample.pay(1_00, atc: 5)
            try expect(try await stores.card(sample.card)?.lastVerifiedATC, 5, "ATC")
            for atc: UInt16 in [5, 4, 0] {
                let snapshot = try await sample.begin(sample.attempt())
                guard case .staleATC = try await stores.decide(sample.approval(of: snapshot.payment, atc: atc)) else {
                    throw Failure("ATC \(atc) after 5 was taken")
                }
                _ = try await stores.decide(sample.decline(of: snapshot.payment, codeWasRight: true))
            }
            let declined = try await sample.begin(sample.attempt())
            _ = try await stores.decide(sample.decline(of: declined.payment, atc: 7, codeWasRight: true))
            try expect(try await stores.card(sample.card)?.lastVerifiedATC, 7, "ATC of a decline")
            _ = try await sample.pay(1_00, atc: .max)
            try await expectVerified(stores)
        },
        Case("no approval without money, or of another currency") { stores in
            let sample = try await LedgerSample(in: stores)
            for amount: Int64 in [0, -5] {
                let snapshot = try await sample.begin(sample.attempt(amount))
                try await expect(.conflict, "amount \(amount)") {
                    _ = try await stores.decide(sample.approval(of: snapshot.payment))
                }
                _ = try await stores.decide(sample.decline(of: snapshot.payment, .invalidAmount, codeWasRight: true))
            }
            var foreign = sample.attempt(1)
            foreign.amount = try Money(minorUnits: 1, currency: Currency("EUR"))
            _ = try await sample.begin(foreign)
            guard case .insufficientFunds = try await stores.decide(sample.approval(of: foreign.id)) else {
                throw Failure("EUR taken from GHS")
            }
            try expect(try await sample.funds(), [100_00, 0], "funds")
            try await expectVerified(stores)
        },
    ]

    static let lifeCycle = [
        Case("a capture takes a part once and releases the rest") { stores in
            let sample = try await LedgerSample(in: stores)
            let start = LedgerSample.start
            let payment = try await sample.pay(50_00, capture: .later(expires: start.adding(seconds: 60)))
            for amount: Int64 in [0, -1, 50_01] {
                try await expect(.conflict, "capture of \(amount)") {
                    _ = try await stores.capture(payment.id, minorUnits: amount, at: start)
                }
            }
            for _ in 0..<2 {
                let captured = try await stores.capture(payment.id, minorUnits: 20_00, at: start)
                try expect([captured.capturedMinorUnits], [20_00], "captured")
                try expect(captured.holdExpiresAt, nil, "no hold left")
            }
            try expect(try await sample.funds(), [80_00, 0], "funds")
            try await expect(.conflict, "another amount") {
                _ = try await stores.capture(payment.id, minorUnits: nil, at: start)
            }
            try await expect(.conflict, "void") {
                _ = try await stores.release(payment.id, to: .voided, reason: "", at: start)
            }
            try await expectVerified(stores)
        },
        Case("a release gives the hold back once", releases),
        Case("a captured payment is booked back by a reversal only") { stores in
            let sample = try await LedgerSample(in: stores)
            let payment = try await sample.pay(40_00)
            _ = try await stores.refund(payment.id, minorUnits: 10_00, idempotencyKey: "r", at: LedgerSample.start)
            for _ in 0..<2 {
                let reversed = try await stores.release(
                    payment.id, to: .reversed, reason: "chip lost", at: LedgerSample.start)
                try expect(reversed.state, .reversed, "state")
                try expect(reversed.reason, "chip lost", "reason")
            }
            try expect(try await sample.funds(), [100_00, 0], "funds")
            try await expect(.conflict, "refund") {
                _ = try await stores.refund(payment.id, minorUnits: 1, idempotencyKey: "r2", at: LedgerSample.start)
            }
            try await expectVerified(stores)
        },
        Case("refunds return what was captured, in parts, and no more", refunds),
        Case("holds end by time, by the sweep or before the next payment") { stores in
            let sample = try await LedgerSample(in: stores)
            let end = LedgerSample.start.adding(seconds: 60)
            let first = try await sample.pay(60_00, capture: .later(expires: end))
            try expect(try await stores.expireHolds(at: end.adding(seconds: -1)), 0, "too early")
            try await expect(.conflict, "late capture") {
                _ = try await stores.capture(first.id, minorUnits: nil, at: end)
            }
            let second = try await sample.pay(90_00, capture: .later(expires: end.adding(seconds: 60)), at: end)
            try expect(try await stores.payment(first.id)?.state, .expired, "released by the next attempt")
            try expect(try await stores.expireHolds(at: end.adding(seconds: 60)), 1, "released by time")
            try expect(try await stores.expireHolds(at: end.adding(seconds: 60)), 0, "once")
            try expect(try await stores.payment(second.id)?.state, .expired, "second")
            try expect(try await sample.funds(), [100_00, 0], "funds")
            try await expectVerified(stores)
        },
    ]

    @Sendable private static func releases(_ stores: any IssuerStores) async throws {
        let sample = try await LedgerSample(in: stores)
        let start = LedgerSample.start
        let end = start.adding(seconds: 60)
        for state in [Payment.State.voided, .reversed, .expired] {
            let payment = try await sample.pay(50_00, capture: .later(expires: end))
            if state == .expired {
                try await expect(.conflict, "expired before its time") {
                    _ = try await stores.release(payment.id, to: .expired, reason: "", at: start)
                }
            }
            for _ in 0..<2 {
                let released = try await stores.release(payment.id, to: state, reason: "why", at: end)
                try expect(released.state, state, "state")
            }
            try expect(try await sample.funds(), [100_00, 0], "funds")
            try await expect(.conflict, "capture after \(state)") {
                _ = try await stores.capture(payment.id, minorUnits: nil, at: start)
            }
        }
        let undecided = try await sample.begin(sample.attempt())
        try await expect(.conflict, "undecided") {
            _ = try await stores.release(undecided.payment, to: .voided, reason: "", at: start)
        }
        try await expect(.conflict, "to a state that is no release") {
            _ = try await stores.release(undecided.payment, to: .captured, reason: "", at: start)
        }
        try await expect(.notFound, "unknown") {
            _ = try await stores.release(.random(), to: .voided, reason: "", at: start)
        }
        try await expectVerified(stores)
    }

    @Sendable private static func refunds(_ stores: any IssuerStores) async throws {
        let sample = try await LedgerSample(in: stores)
        let start = LedgerSample.start
        let payment = try await sample.pay(40_00)
        for _ in 0..<2 {
            let part = try await stores.refund(payment.id, minorUnits: 15_00, idempotencyKey: "r1", at: start)
            try expect(part.refundedMinorUnits, 15_00, "refunded")
            try expect(part.state, .captured, "state")
        }
        try await expect(.keyReused, "key for another amount") {
            _ = try await stores.refund(payment.id, minorUnits: 1, idempotencyKey: "r1", at: start)
        }
        for amount: Int64 in [0, -1, 25_01] {
            try await expect(.conflict, "refund of \(amount)") {
                _ = try await stores.refund(payment.id, minorUnits: amount, idempotencyKey: "r\(amount)", at: start)
            }
        }
        for _ in 0..<2 {
            let rest = try await stores.refund(payment.id, minorUnits: nil, idempotencyKey: "rest", at: start)
            try expect(rest.state, .refunded, "state")
        }
        try await expect(.conflict, "once more") {
            _ = try await stores.refund(payment.id, minorUnits: nil, idempotencyKey: "again", at: start)
        }
        try expect(try await sample.funds(), [100_00, 0], "funds")
        try expect(
            try await stores.postings(of: sample.account).map(\.kind), ["deposit", "capture", "refund", "refund"],
            "kinds")
        let held = try await sample.pay(1_00, capture: .later(expires: start.adding(seconds: 1)))
        try await expect(.conflict, "refund of a hold") {
            _ = try await stores.refund(held.id, minorUnits: nil, idempotencyKey: "h", at: start)
        }
        try await expectVerified(stores)
    }
}
