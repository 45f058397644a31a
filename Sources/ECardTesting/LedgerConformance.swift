import ByteCoding
public import PaymentPorts

/// What any ledger must do, whatever it keeps its records in. Each case runs on an empty ledger of its own.
public enum LedgerConformance {
    public struct Case: Sendable, CustomStringConvertible {
        public let description: String
        /// - Throws: ``Failure``, or whatever the ledger threw where it should not.
        public let run: @Sendable (any IssuerStores) async throws -> Void

        init(_ description: String, _ run: @escaping @Sendable (any IssuerStores) async throws -> Void) {
            self.description = description
            self.run = run
        }
    }

    public struct Failure: Error, CustomStringConvertible {
        public let description: String
        public init(_ description: String) { self.description = description }
    }

    public static var all: [Case] { records + deliveries + attempts + decisions + changes + lifeCycle + confirmations }

    static func expect<Value: Equatable>(
        _ found: Value, _ wanted: Value, _ what: String, line: UInt = #line
    ) throws {
        if found != wanted { throw Failure("\(what): \(found), \(wanted) expected (line \(line))") }
    }

    /// The call must throw a ``StoreError`` of this kind.
    static func expect(
        _ kind: StoreError.Kind, _ what: String, line: UInt = #line, _ call: () async throws -> Void
    ) async throws {
        do {
            try await call()
        } catch let error as StoreError where error.kind == kind {
            return
        } catch {
            throw Failure("\(what): \(error), '\(kind)' expected (line \(line))")
        }
        throw Failure("\(what): done, '\(kind)' expected (line \(line))")
    }

    static func expectVerified(_ stores: any IssuerStores, line: UInt = #line) async throws {
        try expect(try await stores.verify(since: nil), [], "verification", line: line)
    }
}

extension LedgerConformance {
    static let records = [
        Case("customers and accounts are kept, in order, once") { stores in
            let sample = try await LedgerSample(in: stores)
            let other = try await LedgerSample(in: stores, funds: 0)
            try expect(try await stores.customers().map(\.id), [sample.customer, other.customer], "customers")
            try expect(try await stores.accounts().map(\.id), [sample.account, other.account], "accounts")
            try expect(try await stores.customers(limit: 1).map(\.id), [other.customer], "newest customer")
            try expect(try await stores.accounts(limit: 1).map(\.id), [other.account], "newest account")
            try expect(try await stores.cards(limit: 1).map(\.id), [other.card], "newest card")
            try expect(try await stores.customer(CustomerID(rawValue: "cus_0")), nil, "unknown customer")
            guard let customer = try await stores.customer(sample.customer) else { throw Failure("customer lost") }
            try expect(customer.phone, "+233201234567", "phone")
            try await expect(.conflict, "same customer") { try await stores.add(customer) }
            try await expect(.notFound, "account of nobody") {
                try await stores.open(.random(), for: .random(), currency: sample.currency, at: LedgerSample.start)
            }
            try await expectVerified(stores)
        },
        Case("a deposit is booked once, by double entry") { stores in
            let sample = try await LedgerSample(in: stores, funds: 0)
            for _ in 0..<2 { try await sample.deposit(70_00, key: "d1") }
            try expect(try await sample.funds(), [70_00, 0], "funds")
            try expect(try await stores.postings(of: sample.account).map(\.minorUnits), [70_00], "postings")
            try await expect(.keyReused, "key for another amount") { try await sample.deposit(71_00, key: "d1") }
            try await expect(.conflict, "nothing") { try await sample.deposit(0) }
            try await expect(.conflict, "less than nothing") { try await sample.deposit(-1) }
            try await sample.deposit(.max - 70_00)
            try await expect(.conflict, "beyond 64 bits") { try await sample.deposit(1) }
            try await expectVerified(stores)
        },
        Case("a card moves only from the states named, and exposure stays") { stores in
            let sample = try await LedgerSample(in: stores)
            let card = sample.card
            let time = LedgerSample.start
            try await expect(.conflict, "not created") {
                try await stores.setState(.personalizing, of: card, from: [.created], isExposed: false, at: time)
            }
            try await stores.setState(.blocked, of: card, from: [.active, .created], isExposed: true, at: time)
            try await stores.setState(.active, of: card, from: [.blocked], isExposed: false, at: time)
            try expect(try await stores.card(card)?.isExposed, true, "exposure")
            try expect(try await stores.card(panIndices: [[1], sample.panIndex])?.id, card, "card by PAN index")
            try expect(try await stores.card(panIndices: [[], [1]])?.id, nil, "unknown PAN index")
            try await expect(.conflict, "same PAN") {
                try await stores.add(sample.sampleCard(.random(), panIndex: sample.panIndex))
            }
            try await expect(.notFound, "no such card") {
                try await stores.setState(.blocked, of: .random(), from: [.active], isExposed: false, at: time)
            }
            try await expectVerified(stores)
        },
        Case("a new code version replaces the one before") { stores in
            let sample = try await LedgerSample(in: stores)
            let time = LedgerSample.start
            try await expect(.conflict, "a version left out") { try await stores.add(sample.sampleCode(version: 3)) }
            try await stores.setState(.revoked, of: sample.card, from: [.active, .locked], at: time)
            try await expect(.conflict, "revoked stays") {
                try await stores.setState(.active, of: sample.card, from: [.locked], at: time)
            }
            try await stores.add(sample.sampleCode(version: 2))
            try expect(try await stores.code(of: sample.card), sample.sampleCode(version: 2), "newest code")
            try await expect(.notFound, "no code") {
                try await stores.setState(.active, of: .random(), from: [.locked], at: time)
            }
            try await expectVerified(stores)
        },
        Case("the audit chain grows without a gap, and nobody else writes the ledger's kinds") { stores in
            let sample = try await LedgerSample(in: stores)
            try await stores.append(
                kind: "card.refused", subject: sample.card.rawValue, detail: "{}", at: LedgerSample.start)
            try await expect(.conflict, "the ledger's own kind") {
                try await stores.append(kind: "payment.approved", subject: "x", detail: "{}", at: LedgerSample.start)
            }
            let records = try await stores.records(limit: nil)
            try expect(records.map(\.number), Array(1...Int64(records.count)), "numbers")
            try expect(
                records.map(\.kind),
                [
                    "customer.added", "account.opened", "account.deposited", "card.created", "code.issued",
                    "card.refused",
                ],
                "kinds")
            try expect(try await stores.records(limit: 2), Array(records.suffix(2)), "the newest two")
            let refused = try await stores.records(kind: "card.refused", subject: sample.card.rawValue)
            try expect(refused, Array(records.suffix(1)), "of one kind and subject")
            try expect(try await stores.records(kind: "card.refused", subject: "other"), [], "of another subject")
            let checkpoint = try await stores.checkpoint()
            try expect(checkpoint, AuditCheckpoint(count: 6, seal: records.last?.seal ?? []), "checkpoint")
            try expect(try await stores.verify(since: checkpoint), [], "verification since")
        },
        Case("no audit record holds a PAN, masked or as its index, nor anything of a code") { stores in
            let sample = try await LedgerSample(in: stores)
            _ = try await sample.pay(atc: 1)
            for _ in 0..<3 { _ = try await sample.guessWrong() }
            try await stores.add(sample.sampleCode(version: 2))
            let code = sample.sampleCode(version: 1)
            let secrets = ["999999", sample.panIndex.hex, code.salt.hex, code.digest.hex].map { $0.uppercased() }
            for record in try await stores.records(limit: nil) {
                let text = "\(record.subject) \(record.detail)".uppercased()
                for secret in secrets where text.contains(secret) { throw Failure("record \(record.number): \(text)") }
            }
        },
        Case("an empty ledger verifies and its checkpoint is zeros") { stores in
            try expect(
                try await stores.checkpoint(), AuditCheckpoint(count: 0, seal: [UInt8](repeating: 0, count: 32)),
                "start")
            try await expectVerified(stores)
        },
    ]

    static let attempts = [
        Case("an attempt is counted before it is decided") { stores in
            let sample = try await LedgerSample(in: stores)
            let first = try await sample.begin(sample.attempt())
            try expect(first.code?.failures, 1, "failures with this attempt")
            try expect(first.code?.state, .active, "state before")
            try expect(first.failures, FailureCounts(card: 0, customer: 0, merchant: 0, everywhere: 0), "this hour")
            let elsewhere = try await sample.begin(sample.attempt(merchant: "Other"))
            try expect(
                elsewhere.failures, FailureCounts(card: 1, customer: 1, merchant: 0, everywhere: 1),
                "this hour, at another merchant")
            let silent = try await sample.begin(sample.attempt(code: false))
            try expect(silent.code?.failures, 2, "failures without a code")
            try expect(silent.failures.card, 2, "this hour without a code")
            let other = try await LedgerSample(in: stores)
            let stranger = try await other.begin(other.attempt())
            try expect(
                stranger.failures, FailureCounts(card: 0, customer: 0, merchant: 1, everywhere: 2),
                "this hour, another customer")
            let later = try await sample.begin(
                sample.attempt(code: false, at: LedgerSample.start.adding(seconds: 3_660)))
            try expect(later.failures.everywhere, 0, "an hour later")
            try await expectVerified(stores)
        },
        Case("an unknown card is written down like a known one") { stores in
            let sample = try await LedgerSample(in: stores)
            var attempt = sample.attempt()
            attempt.panIndex = [UInt8](repeating: 9, count: 32)
            let snapshot = try await sample.begin(attempt)
            try expect(snapshot.card, nil, "card")
            try expect(snapshot.account, nil, "account")
            attempt.id = .random()
            attempt.idempotencyKey = "again"
            let again = try await sample.begin(attempt)
            try expect(
                again.failures, FailureCounts(card: 1, customer: 1, merchant: 1, everywhere: 1), "this hour")
            try await expect(.conflict, "approval") { _ = try await stores.decide(sample.approval(of: attempt.id)) }
            _ = try await stores.decide(sample.decline(of: attempt.id, .invalidCard))
            try expect(try await stores.payment(attempt.id)?.responseCode, .invalidCard, "decision")
            try await expectVerified(stores)
        },
        Case("the same request gets its stored answer, another one is refused") { stores in
            let sample = try await LedgerSample(in: stores)
            let attempt = sample.attempt(key: "k")
            _ = try await sample.begin(attempt)
            var again = attempt
            again.id = .random()
            let early = again
            try await expect(.conflict, "in progress") { _ = try await stores.begin(early) }
            again.at = again.at.adding(seconds: again.retryAfter)
            let undecided = try await sample.begin(again)
            try expect(undecided.payment, attempt.id, "the earlier payment")
            try expect(undecided.code?.failures, 2, "an undecided attempt is not given back")
            _ = try await stores.decide(sample.approval(of: attempt.id))
            let records = try await stores.checkpoint()
            guard case .alreadyDecided(let payment) = try await stores.begin(again) else {
                throw Failure("decided twice")
            }
            try expect(payment.storedAnswer, Array("00".utf8), "stored answer")
            try expect(try await stores.checkpoint(), records, "nothing written")
            again.requestDigest = [1]
            let changed = again
            try await expect(.keyReused, "another request") { _ = try await stores.begin(changed) }
            again.merchant = "Other"
            try expect(try await sample.begin(again).payment, again.id, "the same key of another merchant")
            try expect(try await sample.funds(), [75_00, 0], "funds")
            try await expectVerified(stores)
        },
        Case("as many wrong guesses as the limit, not one more") { stores in
            let sample = try await LedgerSample(in: stores)
            for count in 1...3 {
                let code = try await sample.guessWrong()
                try expect(code?.failures, count, "failures")
                try expect(code?.state, .active, "guess \(count)")
            }
            try expect(try await stores.code(of: sample.card)?.state, .locked, "after the third")
            try expect(try await sample.guessWrong()?.state, .locked, "the fourth is not checked")
            try await stores.setState(.active, of: sample.card, from: [.locked], at: LedgerSample.start)
            try expect(try await sample.guessWrong()?.failures, 1, "after the unlock")
            try await expectVerified(stores)
        },
        Case("attempts that a crash left undecided are not given back") { stores in
            let sample = try await LedgerSample(in: stores)
            for _ in 0..<3 { _ = try await sample.begin(sample.attempt()) }
            let lost = LedgerSample.start.adding(seconds: sample.attempt().retryAfter)
            let early = try await sample.begin(sample.attempt(at: lost.adding(seconds: -1)))
            try expect(early.code?.state, .locked, "for the fourth, while they may be on their way")
            try expect(
                try await stores.code(of: sample.card)?.state, .active, "the code, while they may be on their way")
            try expect(try await sample.begin(sample.attempt(at: lost)).code?.state, .locked, "the fifth")
            try expect(try await stores.code(of: sample.card)?.state, .locked, "the code")
            try await expectVerified(stores)
        },
        Case("attempts beyond the limit while others are on their way neither count nor lock") { stores in
            let sample = try await LedgerSample(in: stores)
            var begun: [PaymentID] = []
            for _ in 0..<3 { begun.append(try await sample.begin(sample.attempt()).payment) }
            let fourth = try await sample.begin(sample.attempt())
            try expect([fourth.code?.failures, fourth.failures.card], [3, 3], "what is counted")
            try expect(fourth.code?.state, .locked, "nothing may be checked")
            try expect(fourth.isCodeBusy, true, "busy")
            _ = try await stores.decide(sample.decline(of: fourth.payment))
            _ = try await stores.decide(sample.decline(of: begun[0]))
            try expect(try await stores.code(of: sample.card)?.state, .active, "after one wrong guess")
            _ = try await stores.decide(sample.approval(of: begun[1]))
            try expect(try await stores.code(of: sample.card)?.failures, 0, "after a right code")
            _ = try await stores.decide(sample.decline(of: begun[2]))
            try await expectVerified(stores)
        },
        Case("the last of the wrong guesses on their way locks, in whatever order they come") { stores in
            let sample = try await LedgerSample(in: stores)
            var begun: [PaymentID] = []
            for _ in 0..<3 { begun.append(try await sample.begin(sample.attempt()).payment) }
            for (index, payment) in begun.reversed().enumerated() {
                try expect(try await stores.code(of: sample.card)?.state, .active, "after \(index)")
                _ = try await stores.decide(sample.decline(of: payment))
            }
            try expect(try await stores.code(of: sample.card)?.state, .locked, "after the third")
            let fourth = try await sample.begin(sample.attempt())
            try expect(fourth.code?.state, .locked, "the fourth")
            try expect(fourth.isCodeBusy, false, "busy")
            try await expectVerified(stores)
        },
        Case("a right code takes the failures back, also at the limit and in a decline") { stores in
            let sample = try await LedgerSample(in: stores)
            for _ in 0..<2 { _ = try await sample.guessWrong() }
            let third = try await sample.begin(sample.attempt())
            _ = try await stores.decide(sample.decline(of: third.payment, .insufficientFunds, codeWasRight: true))
            try expect(try await stores.code(of: sample.card)?.failures, 0, "failures")
            let fourth = try await sample.begin(sample.attempt())
            try expect([fourth.code?.failures, fourth.failures.card], [1, 2], "the two wrong ones")
            try await expectVerified(stores)
        },
    ]
}
