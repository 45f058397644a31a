import CardData
public import PaymentPorts

/// Enrollments and code mailers.
extension LedgerConformance {
    static let deliveries = [
        Case("an enrollment adds all or nothing, and once") { stores in
            let sample = try await LedgerSample(in: stores)
            let first = try sample.enrollment("C-1")
            let record = try await stores.enroll(first)
            try expect(record.card, first.card.id, "card")
            try expect(try await stores.account(first.account)?.balance.minorUnits, 500_00, "deposit")
            let repeated = try await stores.enroll(sample.enrollment("C-1"))
            try expect(repeated, record, "a repeat")
            try await expect(.keyReused, "other values") {
                _ = try await stores.enroll(sample.enrollment("C-1", digest: 2))
            }
            // The PAN is in use: nothing of the row may stay.
            try await expect(.conflict, "a PAN in use") {
                _ = try await stores.enroll(sample.enrollment("C-2", panIndex: sample.panIndex))
            }
            try expect(try await stores.customers().count, 2, "customers")
            try expect(try await stores.cards().count, 2, "cards")
            try expect(try await stores.enrollment("C-1"), record, "by reference")
            try expect(try await stores.enrollment(of: record.card), record, "by card")
            try expect(try await stores.enrollment("C-2"), nil, "unknown")
            let chip = [UInt8](repeating: 9, count: 10)
            try await stores.bind(chip: chip, to: record.card, kmc: 1, at: LedgerSample.start)
            try expect(try await stores.chip(of: record.card), chip, "chip of the card")
            try expect(try await stores.card(chip: chip)?.id, record.card, "card of the chip")
            try expect(try await stores.card(chip: [0]), nil, "unknown chip")
            try await expectVerified(stores)
        },
        Case("a mailer waits, is begun at one place, and ends once") { stores in
            let sample = try await LedgerSample(in: stores)
            let mailer = sample.mailer(version: 2)
            try await expect(.conflict, "of another version") {
                try await stores.add(sample.sampleCode(version: 2), mailer: sample.mailer(version: 3))
            }
            try await stores.add(sample.sampleCode(version: 2), mailer: mailer)
            try expect(try await stores.mailers(), [mailer], "waiting")
            let start = LedgerSample.start
            try await stores.begin(mailer.id, at: "/a", isAgain: false, time: start)
            try await stores.begin(mailer.id, at: "/a", isAgain: false, time: start)
            try await expect(.conflict, "elsewhere") {
                try await stores.begin(mailer.id, at: Mailer.stream, isAgain: false, time: start)
            }
            try await stores.begin(mailer.id, at: Mailer.stream, isAgain: true, time: start)
            try await expect(.conflict, "a stream twice") {
                try await stores.begin(mailer.id, at: Mailer.stream, isAgain: false, time: start)
            }
            try expect(try await stores.mailers().map(\.place), [Mailer.stream], "place")
            try await expectVerified(stores)
            for _ in 0..<2 { try await stores.end([mailer.id], at: start) }
            try await stores.eraseLog()
            try expect(try await stores.mailers(), [], "ended")
            try await expect(.notFound, "ended") {
                try await stores.begin(mailer.id, at: "/a", isAgain: true, time: start)
            }
            try expect(
                try await stores.records(limit: nil).count { $0.kind == "code.delivered" }, 1, "records of the end")
            try await expectVerified(stores)
        },
        Case("a mailer goes with its code") { stores in
            let sample = try await LedgerSample(in: stores)
            try await stores.add(sample.sampleCode(version: 2), mailer: sample.mailer(version: 2))
            try await stores.add(sample.sampleCode(version: 3), mailer: sample.mailer(version: 3))
            try expect(try await stores.mailers().map(\.version), [3], "replaced")
            try await stores.setState(.revoked, of: sample.card, from: [.active], at: LedgerSample.start)
            try expect(try await stores.mailers(), [], "revoked")
            try await expectVerified(stores)
        },
        Case("a receipt is due from its approval until somebody has handed it over") { stores in
            let sample = try await LedgerSample(in: stores)
            try expect(try await stores.receiptsDue(limit: 9).payments, [], "before any payment")
            let first = try await sample.pay(1_00)
            let chip = try await sample.pay(
                2_00, capture: .later(expires: LedgerSample.start.adding(seconds: 600)), channel: .chip, atc: 1)
            _ = try await sample.guessWrong()
            let held = try await sample.pay(3_00, capture: .later(expires: LedgerSample.start.adding(seconds: 600)))
            try expect(
                try await stores.receiptsDue(limit: 9).payments, [first.id, held.id], "unconfirmed: not the chip's")
            _ = try await stores.confirm(chip.id, capture: .now, at: LedgerSample.start)
            let all = try await stores.receiptsDue(limit: 9)
            try expect(all.payments, [first.id, held.id, chip.id], "confirmed")
            try expect(all.record, try await stores.checkpoint().count, "all of the chain")
            let some = try await stores.receiptsDue(limit: 2)
            try expect(some.payments, [first.id, held.id], "the oldest two")
            try await stores.endReceipts(upTo: some.record)
            try expect(try await stores.receiptsDue(limit: 2).payments, [chip.id], "the rest")
            try await stores.endReceipts(upTo: all.record)
            try await stores.endReceipts(upTo: some.record)
            try expect(try await stores.receiptsDue(limit: 9).payments, [], "handed over, once and for all")
            _ = try await stores.capture(held.id, minorUnits: nil, at: LedgerSample.start)
            try expect(try await stores.receiptsDue(limit: 9).payments, [], "a capture is no approval")
            try await expectVerified(stores)
        },
    ]
}

extension LedgerSample {
    public func enrollment(
        _ reference: String, digest: UInt8 = 1, panIndex: [UInt8]? = nil
    ) throws -> Enrollment {
        let index = panIndex ?? (0..<32).map { _ in UInt8.random(in: 0...255) }
        let account = AccountID.random()
        let card = Card(
            id: .random(), account: account, panIndex: index, panSealed: [1, 2, 3], panMasked: "999999******0001",
            sequenceNumber: 1, expiry: try ExpiryDate(year: 2030, month: 12), name: try CardholderName("Esi Addo"),
            profile: "classic", state: .created, isExposed: false, lastVerifiedATC: nil, createdAt: Self.start)
        return Enrollment(
            reference: reference, digest: [digest],
            customer: Customer(id: .random(), name: card.name, phone: nil, email: nil, createdAt: Self.start),
            account: account, currency: currency, deposit: money(500_00), card: card, address: "1 High Street\nHo")
    }

    public func mailer(version: Int) -> Mailer {
        Mailer(
            id: .random(), card: card, version: version, sealed: [UInt8](repeating: 5, count: 34), place: nil,
            sealedAt: Self.start, expiresAt: Self.start.adding(seconds: 60), keyVersion: 1)
    }
}
