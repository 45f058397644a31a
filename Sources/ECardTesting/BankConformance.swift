public import PaymentPorts

/// What the books of any bank must do, whatever they are kept in. Each case runs on empty books of its own.
public enum BankConformance {
    public struct Case: Sendable, CustomStringConvertible {
        public let description: String
        /// - Throws: ``LedgerConformance/Failure``, or whatever the books threw where they should not.
        public let run: @Sendable (any BankStores) async throws -> Void

        init(_ description: String, _ run: @escaping @Sendable (any BankStores) async throws -> Void) {
            self.description = description
            self.run = run
        }
    }

    public static var all: [Case] { merchants + payments + money + queues }

    static func expect<Value: Equatable>(
        _ found: Value, _ wanted: Value, _ what: String, line: UInt = #line
    ) throws {
        try LedgerConformance.expect(found, wanted, what, line: line)
    }

    static func expect(
        _ kind: StoreError.Kind, _ what: String, line: UInt = #line, _ call: () async throws -> Void
    ) async throws {
        try await LedgerConformance.expect(kind, what, line: line, call)
    }

    static func expectVerified(_ stores: any BankStores, line: UInt = #line) async throws {
        try expect(try await stores.verify(since: nil), [], "verification", line: line)
    }
}

extension BankConformance {
    static let merchants = [
        Case("merchants are kept, in order, each name and number once") { stores in
            let first = try await BankSample(in: stores)
            let second = try await BankSample(in: stores)
            try expect(
                try await stores.merchants(limit: nil).map(\.id), [first.merchant.id, second.merchant.id], "all")
            try expect(try await stores.merchants(limit: 1).map(\.id), [second.merchant.id], "newest")
            try expect(try await stores.merchant(.random()), nil, "unknown")
            try await expect(.conflict, "same name") {
                try await stores.add(
                    Merchant(
                        id: .random(), name: first.merchant.name, registration: "other", state: .registered,
                        verifiedBy: nil, createdAt: BankSample.start))
            }
            try await stores.setState(.verified, of: first.merchant.id, by: "Efua", at: BankSample.start)
            try await stores.setState(.suspended, of: first.merchant.id, by: "Yaw", at: BankSample.start)
            let found = try await stores.merchant(first.merchant.id)
            try expect(found?.state, .suspended, "state")
            try expect(found?.verifiedBy, "Efua", "who verified it")
            try await expect(.notFound, "nobody") {
                try await stores.setState(.verified, of: .random(), by: "Efua", at: BankSample.start)
            }
            try await expectVerified(stores)
        },
        Case("a key opens its merchant and mode until it is ended") { stores in
            let sample = try await BankSample(in: stores)
            let (live, test) = ([UInt8](repeating: 1, count: 32), [UInt8](repeating: 2, count: 32))
            try await stores.addKey(
                live, hint: "sk_live_…A", of: sample.merchant.id, isLive: true, at: BankSample.start)
            try await stores.addKey(
                test, hint: "sk_test_…B", of: sample.merchant.id, isLive: false, at: BankSample.start)
            try expect(try await stores.merchant(keyDigest: live)?.isLive, true, "live")
            try expect(try await stores.merchant(keyDigest: test)?.isLive, false, "test")
            try expect(try await stores.merchant(keyDigest: test)?.merchant.id, sample.merchant.id, "whose")
            try expect(try await stores.merchant(keyDigest: Array(live.dropLast()))?.isLive, nil, "a shorter one")
            try await stores.endKey(hint: "sk_live_…A", of: sample.merchant.id, at: BankSample.start)
            try expect(try await stores.merchant(keyDigest: live)?.isLive, nil, "ended")
            try await expect(.notFound, "ended twice") {
                try await stores.endKey(hint: "sk_live_…A", of: sample.merchant.id, at: BankSample.start)
            }
            let other = try await BankSample(in: stores)
            try await expect(.notFound, "another's key") {
                try await stores.endKey(hint: "sk_test_…B", of: other.merchant.id, at: BankSample.start)
            }
            try expect(
                try await stores.keys(of: sample.merchant.id).map { $0.endedAt == nil }, [false, true], "keys listed")
            try await expectVerified(stores)
        },
        Case("a signing key is one merchant's, once, until it is ended") { stores in
            let (sample, other) = (try await BankSample(in: stores), try await BankSample(in: stores))
            let key = MerchantSigningKey(
                id: "key-1", merchant: sample.merchant.id, isLive: true, point: [UInt8](repeating: 4, count: 65),
                createdAt: BankSample.start)
            try await expect(.conflict, "required before there is a key") {
                try await stores.requireSignatures(true, of: sample.merchant.id, by: "Efua", at: BankSample.start)
            }
            try await stores.add(key)
            try expect(try await stores.signingKey("key-1"), key, "by its name")
            try expect(try await stores.signingKey("key-2"), nil, "unknown")
            try await expect(.conflict, "another's, too") {
                try await stores.add(
                    MerchantSigningKey(
                        id: "key-1", merchant: other.merchant.id, isLive: false, point: key.point,
                        createdAt: BankSample.start))
            }
            for isRequired in [true, false, true] {
                try await stores.requireSignatures(
                    isRequired, of: sample.merchant.id, by: "Efua", at: BankSample.start)
                try expect(
                    try await stores.merchant(sample.merchant.id)?.requiresSignatures, isRequired, "required")
            }
            try expect(try await stores.merchant(other.merchant.id)?.requiresSignatures, false, "of another")
            try await expect(.notFound, "another's key") {
                try await stores.endSigningKey("key-1", of: other.merchant.id, at: BankSample.start)
            }
            try await stores.endSigningKey("key-1", of: sample.merchant.id, at: BankSample.start)
            try expect(try await stores.signingKey("key-1"), nil, "ended")
            try expect(
                try await stores.signingKeys(of: sample.merchant.id).map(\.endedAt), [BankSample.start], "listed")
            try await expect(.notFound, "ended twice") {
                try await stores.endSigningKey("key-1", of: sample.merchant.id, at: BankSample.start)
            }
            try await expectVerified(stores)
        },
    ]

    static let payments = [
        Case("a payment is kept as it was opened, with its steps") { stores in
            let sample = try await BankSample(in: stores)
            let payment = try await sample.open()
            try expect(try await stores.onlinePayment(payment.id), payment, "payment")
            try expect(try await stores.steps(of: payment.id).map(\.state), [.created, .prompting], "steps")
            try expect(try await stores.pending(phone: BankSample.phone, at: BankSample.start), [payment], "pending")
            try expect(
                try await stores.pending(phone: BankSample.phone, at: payment.expiresAt), [], "pending after its end")
            try expect(
                try await stores.pending(phone: "+233200000000", at: BankSample.start), [], "another's telephone")
            try await expect(.conflict, "the same once more") { try await stores.open(sample.opening(of: payment)) }
            try await expectVerified(stores)
        },
        Case("a step is taken from its states alone, and once") { stores in
            let sample = try await BankSample(in: stores)
            let payment = try await sample.open()
            try await sample.check(payment.id)
            let checking = try await stores.onlinePayment(payment.id)
            try expect(
                try await stores.uncollected(phone: BankSample.phone), checking.map { [$0] }, "answered, not collected")
            try expect(try await stores.uncollected(phone: "+233200000000"), [], "of another's telephone")
            try expect(checking?.state, .checking, "state")
            try expect(checking?.attempts, 1, "attempts")
            try expect(checking?.sealedCode?.count, 59, "sealed code")
            try expect(checking?.step, 4, "step")
            let late = try await sample.stands(sample.step(payment.id, from: [.prompting], to: .denied, .holder))
            try expect(late.state, .checking, "after a step that was not taken")
            var other = sample.step(payment.id, from: [.checking], to: .declined, .issuer)
            other.ofAttempt = 2
            _ = try await sample.stands(other)
            other.ofAttempt = 1
            other.purgesCode = true
            let declined = try await sample.taken(other)
            try expect(try await stores.uncollected(phone: BankSample.phone), [], "not collected at the end")
            try expect(declined.sealedCode, nil, "sealed code at the verdict")
            try expect(declined.dueAt, nil, "due at the end")
            try expect(
                try await stores.steps(of: payment.id).map(\.role), [.merchant, .bank, .bank, .holder, .issuer], "roles"
            )
            try await expect(.notFound, "nobody's payment") {
                _ = try await stores.take(sample.step(.random(), from: [.created], to: .expired))
            }
            try await expectVerified(stores)
        },
        Case("a signed request is kept with what it caused, once") { stores in
            let sample = try await BankSample(in: stores)
            func request(_ id: String, _ payment: OnlinePayment, signed: String? = nil) -> KeptRequest {
                KeptRequest(id: id, payment: payment.id, text: "{}", signed: signed, at: BankSample.start)
            }
            var payment = sample.payment()
            payment.request = "r1"
            var opening = sample.opening(of: payment)
            opening.request = request("r1", payment)
            try await stores.open(opening)
            try expect(try await stores.onlinePayment(payment.id)?.request, "r1", "of the payment")
            for _ in 0..<2 {
                try await stores.reschedule(
                    payment.id, afterStep: 2, at: nil, keeping: request("r2", payment, signed: "e30.e30.AA"))
            }
            var step = sample.step(payment.id, from: [.prompting], to: .cancelled, .merchant)
            step.request = request("r3", payment)
            _ = try await sample.taken(step)
            let kept = try await stores.requests(of: payment.id)
            try expect(kept.map(\.id), ["r1", "r2", "r3"], "in order")
            try expect(kept.map(\.signed), [nil, "e30.e30.AA", nil], "records")
            var second = sample.opening(of: sample.payment())
            second.request = request("r1", second.payment)
            let late = second
            try await expect(.conflict, "one signature, two payments") { try await stores.open(late) }
            try expect(try await stores.onlinePayment(late.payment.id), nil, "the second")
            try await expectVerified(stores)
        },
        Case("timers are data") { stores in
            let sample = try await BankSample(in: stores)
            let first = try await sample.open(at: BankSample.start.adding(seconds: 10))
            let second = try await sample.open()
            let ends = second.expiresAt
            try expect(try await stores.due(at: ends.adding(seconds: -1), limit: 9).map(\.id), [], "before")
            try expect(try await stores.due(at: ends, limit: 9).map(\.id), [second.id], "one")
            try expect(
                try await stores.due(at: ends.adding(seconds: 10), limit: 9).map(\.id), [second.id, first.id], "both")
            try await stores.reschedule(second.id, afterStep: 1, at: nil)
            try expect(try await stores.due(at: ends, limit: 9).map(\.id), [second.id], "by somebody late")
            try await stores.reschedule(second.id, afterStep: 2, at: nil)
            try expect(try await stores.due(at: ends, limit: 9).map(\.id), [], "never")
            try await expectVerified(stores)
        },
        Case("payments are listed for one merchant and mode, page by page") { stores in
            let sample = try await BankSample(in: stores)
            let other = try await BankSample(in: stores)
            var ids: [PaymentID] = []
            for _ in 0..<5 { ids.append(try await sample.open().id) }
            let test = try await sample.open(isLive: false)
            _ = try await other.open()
            let page = try await stores.onlinePayments(of: sample.merchant.id, isLive: true, after: nil, limit: 2)
            try expect(page.map(\.id), [ids[4], ids[3]], "first page")
            let next = try await stores.onlinePayments(
                of: sample.merchant.id, isLive: true, after: page.last?.id, limit: 9)
            try expect(next.map(\.id), [ids[2], ids[1], ids[0]], "the rest")
            let mode = try await stores.onlinePayments(of: sample.merchant.id, isLive: false, after: nil, limit: 9)
            try expect(mode.map(\.id), [test.id], "test payments")
            let foreign = try await stores.onlinePayments(
                of: other.merchant.id, isLive: true, after: ids[2], limit: 9)
            try expect(foreign.map(\.id), [], "after another's payment")
            try expect(try await stores.onlinePayments(limit: 3).count, 3, "of all")
        },
        Case("a request is remembered for 24 hours, and another one under its key is told") { stores in
            let sample = try await BankSample(in: stores)
            func open(_ key: String, at time: Timestamp) async throws {
                var opening = sample.opening(of: sample.payment(at: time))
                opening.remembered = RememberedRequest(
                    merchant: sample.merchant.id, key: key, digest: [1], status: 201, body: [2], at: time)
                try await stores.open(opening)
            }
            try await open("k", at: BankSample.start)
            let known = try await stores.remembered("k", of: sample.merchant.id, at: BankSample.start)
            try expect(known?.status, 201, "status")
            try await expect(.conflict, "meanwhile answered") { try await open("k", at: BankSample.start) }
            try expect(
                try await stores.onlinePayments(of: sample.merchant.id, isLive: true, after: nil, limit: 9).count, 1,
                "payments")
            let other = try await BankSample(in: stores)
            try expect(try await stores.remembered("k", of: other.merchant.id, at: BankSample.start), nil, "another's")
            let tomorrow = BankSample.start.adding(seconds: 86_400)
            try expect(try await stores.remembered("k", of: sample.merchant.id, at: tomorrow), nil, "a day later")
            try await open("k", at: tomorrow)
            try await expectVerified(stores)
        },
        Case("beyond a cap a step is not taken, and nothing is counted") { stores in
            let sample = try await BankSample(in: stores)
            let codes = Activity(.code, of: .phone(BankSample.phone))
            let window = ActivityWindow(codes, seconds: 3600)
            let cap = ActivityCap(window, limit: 2)
            for expected in [1, 2, 2] {
                let payment = try await sample.open()
                var step = sample.step(payment.id, from: [.prompting], to: .denied, .holder)
                step.counts = [codes]
                step.caps = [cap]
                _ = try await stores.take(step)
                try expect(try await stores.counts(of: [window], at: BankSample.start), [expected], "counted")
            }
            let hourLater = BankSample.start.adding(seconds: 3660)
            try expect(try await stores.counts(of: [window], at: hourLater), [0], "an hour later")
            try expect(
                try await stores.counts(of: [ActivityWindow(codes, seconds: 86_400)], at: hourLater), [2], "in a day")
            try await expectVerified(stores)
        },
    ]

    static let money = [
        Case("a capture is owed to the merchant, and test payments are kept apart") { stores in
            let sample = try await BankSample(in: stores)
            let payment = try await sample.open()
            let captured = try await sample.capture(payment.id)
            try expect(captured.capturedMinorUnits, 25_00, "captured")
            try expect(try await stores.owed(to: sample.merchant.id, isLive: true), [sample.money(25_00)], "owed")
            try expect(try await stores.receipts(phone: BankSample.phone, limit: 5).map(\.id), [payment.id], "receipts")
            try expect(try await stores.evidence(of: payment.id), "e30.e30.AA", "evidence")
            let test = try await sample.open(isLive: false)
            _ = try await sample.capture(test.id)
            try expect(try await stores.owed(to: sample.merchant.id, isLive: true), [sample.money(25_00)], "still")
            try expect(try await stores.owed(to: sample.merchant.id, isLive: false), [sample.money(25_00)], "in test")
            try await expectVerified(stores)
        },
        Case("what the issuer returned is booked once, whatever the order it is told in") { stores in
            let sample = try await BankSample(in: stores)
            let payment = try await sample.open()
            _ = try await sample.capture(payment.id)
            func refund(_ total: Int64, to state: OnlinePayment.State) async throws -> StepOutcome {
                var step = sample.step(payment.id, from: [.captured], to: state, .merchant)
                step.refunded = total
                return try await stores.take(step)
            }
            for (total, booked) in [(5_00, 5_00), (5_00, 5_00), (20_00, 20_00), (10_00, 20_00)] as [(Int64, Int64)] {
                let after = try await refund(total, to: .captured).payment
                try expect(after.refundedMinorUnits, booked, "refunded")
            }
            try expect(try await refund(25_00, to: .refunded).payment.state, .refunded, "all of it")
            try expect(try await refund(25_00, to: .refunded).payment.refundedMinorUnits, 25_00, "again")
            try expect(try await stores.owed(to: sample.merchant.id, isLive: true), [sample.money(0)], "owed")
            let lines = try await stores.statement(of: sample.merchant.id, isLive: true, currency: sample.currency)
            try expect(lines.map(\.minorUnits), [25_00, -5_00, -15_00, -5_00], "statement")
            try await expectVerified(stores)
        },
        Case("a payout is booked once, and never beyond what is owed") { stores in
            let sample = try await BankSample(in: stores)
            let merchant = sample.merchant.id
            _ = try await sample.capture(try await sample.open().id)
            func pay(_ amount: Int64, _ reference: String) async throws {
                try await stores.payOut(sample.money(amount), to: merchant, reference: reference, at: BankSample.start)
            }
            try await expect(.conflict, "more than is owed") { try await pay(25_01, "t1") }
            try await expect(.conflict, "nothing") { try await pay(0, "t1") }
            for _ in 0..<2 { try await pay(20_00, "t1") }
            try await expect(.keyReused, "same reference, another amount") { try await pay(5_00, "t1") }
            try expect(try await stores.owed(to: merchant, isLive: true), [sample.money(5_00)], "owed")
            try await expectVerified(stores)
        },
    ]
}
