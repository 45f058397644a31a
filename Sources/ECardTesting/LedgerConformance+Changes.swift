import CardData
import PaymentPorts

/// What may change between the two commits of a decision, and what a chip adds after them.
extension LedgerConformance {
    static let changes = [
        Case("at a cap nothing is counted: no try is lost, and the cap does not keep itself up") { stores in
            let sample = try await LedgerSample(in: stores)
            var caps = LedgerSample.noCaps
            caps.card = 1
            _ = try await sample.begin(sample.attempt(caps: caps))
            for _ in 0..<5 {
                let capped = try await sample.begin(sample.attempt(caps: caps))
                try expect(capped.exceededCap, .card, "cap")
                try expect(capped.code?.failures, 1, "failures")
                try expect(capped.failures.card, 1, "this hour")
                _ = try await stores.decide(sample.decline(of: capped.payment, .doNotHonour))
            }
            try expect(try await stores.code(of: sample.card)?.state, .active, "code")
            let later = LedgerSample.start.adding(seconds: 3_660)
            let free = try await sample.begin(sample.attempt(caps: caps, at: later))
            try expect(free.exceededCap, nil, "an hour later")
            try expect(free.code?.failures, 2, "failures an hour later")
            try await expectVerified(stores)
        },
        Case(
            "every scope has its cap, the narrowest is named",
            { stores in
                let sample = try await LedgerSample(in: stores)
                _ = try await sample.guessWrong()
                for (caps, scope) in [
                    (AttemptCaps(card: 1, customer: 1), AttemptCaps.Scope.card), (AttemptCaps(customer: 1), .customer),
                    (AttemptCaps(merchant: 1), .merchant), (AttemptCaps(everywhere: 1), .everywhere),
                ] {
                    try expect(try await sample.begin(sample.attempt(caps: caps)).exceededCap, scope, "cap")
                }
                try expect(try await sample.begin(sample.attempt()).exceededCap, nil, "no cap")
            }),
        Case("all cards of a customer share a cap") { stores in
            let sample = try await LedgerSample(in: stores)
            let index = [UInt8](repeating: 5, count: 32)
            try await stores.add(sample.sampleCard(.random(), panIndex: index))
            _ = try await sample.guessWrong()
            var other = sample.attempt(caps: AttemptCaps(customer: 1))
            other.panIndex = index
            try expect(try await sample.begin(other).exceededCap, .customer, "cap of the other card")
        },
        Case("a card that is not active loses no tries") { stores in
            let sample = try await LedgerSample(in: stores)
            try await stores.setState(
                .blocked, of: sample.card, from: [.active], isExposed: false, at: LedgerSample.start)
            for _ in 0..<4 { _ = try await sample.guessWrong() }
            try expect(try await stores.code(of: sample.card)?.failures, 0, "failures")
            try expect(
                try await sample.begin(sample.attempt()).failures,
                FailureCounts(card: 0, customer: 0, merchant: 0, everywhere: 0), "this hour")
            try await expectVerified(stores)
        },
        Case("limits hold at the decision, whatever the snapshots said") { stores in
            let sample = try await LedgerSample(in: stores)
            let begun = try await [
                sample.begin(sample.attempt()), sample.begin(sample.attempt()), sample.begin(sample.attempt()),
            ].map(\.payment)
            let few = SpendingLimits(payment: 25_00, approvals: 1, day: 100_00)
            try expect(try await outcome(stores, sample.approval(of: begun[0], limits: few)), "committed", "first")
            try expect(try await outcome(stores, sample.approval(of: begun[1], limits: few)), "approvals", "second")
            let little = SpendingLimits(payment: 25_00, approvals: 9, day: 49_99)
            try expect(try await outcome(stores, sample.approval(of: begun[1], limits: little)), "day", "sum")
            let small = SpendingLimits(payment: 24_99, approvals: 9, day: 100_00)
            try expect(try await outcome(stores, sample.approval(of: begun[1], limits: small)), "payment", "size")
            let enough = SpendingLimits(payment: 25_00, approvals: 2, day: 50_00)
            try expect(try await outcome(stores, sample.approval(of: begun[1], limits: enough)), "committed", "within")
            let tomorrow = LedgerSample.start.adding(seconds: 86_400)
            try expect(
                try await outcome(stores, sample.approval(of: begun[2], limits: few, at: tomorrow)), "committed",
                "a day later")
            try await expectVerified(stores)
        },
        Case("a card or code that was active at the attempt and is not at the decision pays nothing") { stores in
            let start = LedgerSample.start
            for deed in ["block", "revoke", "lock", "rotate"] {
                let sample = try await LedgerSample(in: stores)
                let snapshot = try await sample.begin(sample.attempt())
                switch deed {
                case "block":
                    try await stores.setState(.blocked, of: sample.card, from: [.active], isExposed: false, at: start)
                case "revoke": try await stores.setState(.revoked, of: sample.card, from: [.active], at: start)
                case "lock": try await stores.setState(.locked, of: sample.card, from: [.active], at: start)
                default: try await stores.add(sample.sampleCode(version: 2))
                }
                let checkpoint = try await stores.checkpoint()
                try expect(
                    try await outcome(stores, sample.approval(of: snapshot.payment)), deed == "block" ? "card" : "code",
                    deed)
                try expect(try await stores.checkpoint(), checkpoint, "nothing written")
                _ = try await stores.decide(sample.decline(of: snapshot.payment))
                try expect(try await stores.payment(snapshot.payment)?.state, .declined, "decision")
                try expect(try await sample.funds(), [100_00, 0], "funds")
            }
            try await expectVerified(stores)
        },
        Case("a payment left undecided is declined after an hour, and its try is not given back") { stores in
            let sample = try await LedgerSample(in: stores, failureLimit: 1)
            let lost = sample.attempt(key: "k")
            _ = try await sample.begin(lost)
            let hour = LedgerSample.start.adding(seconds: 3_600)
            try expect(try await stores.expireHolds(at: hour.adding(seconds: -1)), 0, "too early")
            try expect(try await stores.expireHolds(at: hour), 1, "ended")
            let payment = try await stores.payment(lost.id)
            try expect(payment?.state, .declined, "state")
            try expect(payment?.responseCode, .issuerInoperative, "response")
            try expect(try await stores.code(of: sample.card)?.state, .locked, "the code that had one guess")
            var again = lost
            again.at = hour
            guard case .alreadyDecided = try await stores.begin(again) else { throw Failure("decided again") }
            try expect(try await stores.expireHolds(at: hour), 0, "once")
            try await expectVerified(stores)
        },
    ]

    static let confirmations = [
        Case("a chip's approval cannot be captured before the chip confirms it") { stores in
            let sample = try await LedgerSample(in: stores)
            let start = LedgerSample.start
            let end = start.adding(seconds: 600)
            let atOnce = try await sample.begin(sample.attempt(channel: .chip))
            try await expect(.conflict, "debit before the chip's word") {
                _ = try await stores.decide(sample.approval(of: atOnce.payment))
            }
            _ = try await stores.decide(sample.decline(of: atOnce.payment, codeWasRight: true))
            let payment = try await sample.pay(25_00, capture: .later(expires: end), channel: .chip, atc: 1)
            try await expect(.conflict, "capture") {
                _ = try await stores.capture(payment.id, minorUnits: nil, at: start)
            }
            try expect(try await sample.funds(), [100_00, 25_00], "held")
            for _ in 0..<2 {
                let confirmed = try await stores.confirm(payment.id, capture: .now, at: start)
                try expect(confirmed.state, .captured, "captured")
                try expect(confirmed.confirmedAt, start, "confirmed")
            }
            try expect(try await sample.funds(), [75_00, 0], "debited once")
            try expect(try await stores.records(limit: 1).map(\.kind), ["payment.confirmed"], "audit")
            try await expectVerified(stores)
        },
        Case("confirmed and captured later: the hold lasts as long as the merchant's") { stores in
            let sample = try await LedgerSample(in: stores)
            let start = LedgerSample.start
            let (end, week) = (start.adding(seconds: 600), start.adding(seconds: 604_800))
            let payment = try await sample.pay(25_00, capture: .later(expires: end), channel: .chip)
            for _ in 0..<2 {
                let confirmed = try await stores.confirm(payment.id, capture: .later(expires: week), at: start)
                try expect(confirmed.state, .authorized, "held")
                try expect(confirmed.holdExpiresAt, week, "end of the hold")
            }
            try expect(try await stores.expireHolds(at: end), 0, "still held")
            try await expectVerified(stores)
            try expect(try await stores.capture(payment.id, minorUnits: 10_00, at: end).state, .captured, "captured")
            try expect(try await sample.funds(), [90_00, 0], "funds")
            try await expectVerified(stores)
        },
        Case("a chip that confirms too late, or what is no hold, confirms nothing") { stores in
            let sample = try await LedgerSample(in: stores)
            let end = LedgerSample.start.adding(seconds: 600)
            let late = try await sample.pay(25_00, capture: .later(expires: end), channel: .chip)
            try await expect(.conflict, "late") { _ = try await stores.confirm(late.id, capture: .now, at: end) }
            _ = try await stores.release(late.id, to: .reversed, reason: "lost", at: LedgerSample.start)
            let declined = try await sample.begin(sample.attempt(channel: .chip))
            _ = try await stores.decide(sample.decline(of: declined.payment))
            for id in [late.id, declined.payment] {
                try await expect(.conflict, "no hold") {
                    _ = try await stores.confirm(id, capture: .now, at: LedgerSample.start)
                }
            }
            try expect(try await sample.funds(), [100_00, 0], "funds")
        },
    ]

    private static func outcome(_ stores: any IssuerStores, _ decision: PaymentDecision) async throws -> String {
        switch try await stores.decide(decision) {
        case .committed: "committed"
        case .insufficientFunds: "funds"
        case .limitExceeded(let limit): limit.rawValue
        case .staleATC: "atc"
        case .cardNotActive: "card"
        case .codeNotActive: "code"
        case .announcementEnded(let state): state.rawValue
        }
    }
}
