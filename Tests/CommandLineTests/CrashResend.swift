import Foundation
import Synchronization

/// Sends every request again on a disk that a power cut left: what was answered before is answered the same and moves
/// nothing; what was not is decided, once. In the end the books are those of a day without a crash.
struct CrashResend: Sendable {
    let orders: CrashOrders
    /// The ledger of the day without a crash.
    let whole: LedgerAuditor.Report
    let tally = ResendTally()

    init(_ orders: CrashOrders, whole: LedgerAuditor.Report) {
        self.orders = orders
        self.whole = whole
    }

    /// - Parameter told: what was answered before power went.
    func findings(in home: String, told: Told) async throws -> [String] {
        let ledger = home + "/ledger.sqlite"
        let before = try LedgerAuditor().report(on: ledger)
        var repeats = try await send(in: home, told, whereTold: true)
        let between = try LedgerAuditor().report(on: ledger)
        if between.payments != before.payments || between.records != before.records {
            repeats.append("requests that were answered before changed the ledger")
        }
        let guesses = told.receipts.filter { $0.responseCode == "05" }.count
        if before.attempts < guesses || between.attempts < before.attempts {
            repeats.append("\(guesses) wrong codes told, counted \(before.attempts), then \(between.attempts)")
        }
        var firsts = try await send(in: home, told, whereTold: false)
        firsts += try await atTheEnd(in: home)
        tally.count(repeats: repeats.count, firsts: firsts.count)
        return (repeats + firsts).map { "sent again: \($0)" }
    }

    private func atTheEnd(in home: String) async throws -> [String] {
        let after = try LedgerAuditor().report(on: home + "/ledger.sqlite")
        var findings = try after.findings + after.receiptFindings(in: home)
        let found = Dictionary(grouping: after.payments, by: \.key)
        for wanted in whole.payments {
            let rows = found[wanted.key] ?? []
            let isSame = rows.allSatisfy {
                ($0.response, $0.state, $0.amount, $0.captured, $0.refunded)
                    == (wanted.response, wanted.state, wanted.amount, wanted.captured, wanted.refunded)
            }
            if rows.count != 1 || !isSame { findings.append("\(wanted.key): \(rows), \(wanted) wanted") }
        }
        if after.payments.count != whole.payments.count { findings.append("\(after.payments.count) payments") }
        let guesses = orders.stalls.joined().count { $0.isGuess }
        if after.attempts < guesses { findings.append("\(guesses) wrong codes, \(after.attempts) counted") }
        let verified = try await ToolRun.of(["ledger", "verify"], home: home)
        if verified.status != 0 { findings.append("ledger verify: \(verified.status) \(verified.out)\(verified.err)") }
        return findings
    }

    // MARK: Sending

    private func send(in home: String, _ told: Told, whereTold: Bool) async throws -> [String] {
        var findings: [String] = []
        for stall in orders.stalls {
            var hold = stall.first(where: \.isHold).flatMap { payment(of: $0) } ?? ""
            for order in stall where isTold(order, told, hold: hold) == whereTold {
                let run = try await decided(order.of(hold), home)
                tally.count(isRepeat: whereTold)
                guard case .payment = order.kind else {
                    if run.status != 0 { findings.append("\(order.key): status \(run.status), \(run.err)") }
                    continue
                }
                guard let receipt = Receipt(run), let payment = receipt.payment else {
                    findings.append("\(order.key): status \(run.status), \(run.err)")
                    continue
                }
                if order.isHold { hold = payment }
                if let first = told.receipts.first(where: { $0.payment == self.payment(of: order) }),
                    !first.isSameAnswer(as: receipt)
                {
                    findings.append("\(order.key): \(first) was told, then \(receipt)")
                }
            }
        }
        return findings
    }

    /// What the payment was called on the day without a crash; after a crash the same, where anybody was told.
    private func payment(of order: Order) -> String? { whole.payments.first { $0.key == order.key }?.id }

    private func isTold(_ order: Order, _ told: Told, hold: String) -> Bool {
        switch order.kind {
        case .payment:
            let payment = payment(of: order)
            return told.receipts.contains { $0.payment == payment }
        case .capture: return told.views.contains { $0.id == hold }
        case .refund: return told.views.contains { $0.id == hold && $0.refunded == Order.decimal(order.amount) }
        }
    }

    /// One that the crash left undecided is refused as being in progress for half a minute.
    private func decided(_ order: Order, _ home: String) async throws -> ToolRun {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            let run = try await ToolRun.of(order.words, home: home, input: order.input)
            guard run.status == 2, run.err.contains("in progress"), ContinuousClock.now < deadline else { return run }
            try await Task.sleep(for: .seconds(1))
        }
    }
}

/// How many requests were sent again, and what was wrong.
final class ResendTally: Sendable {
    private struct Counts {
        var repeats = 0
        var firsts = 0
        var repeatFindings = 0
        var firstFindings = 0
    }

    private let counts = Mutex(Counts())

    func count(isRepeat: Bool) {
        counts.withLock { if isRepeat { $0.repeats += 1 } else { $0.firsts += 1 } }
    }

    func count(repeats: Int, firsts: Int) {
        counts.withLock {
            $0.repeatFindings += repeats
            $0.firstFindings += firsts
        }
    }

    func report(states: Int) {
        let counts = counts.withLock { $0 }
        func line(_ what: String, _ wrong: Int, of all: Int) {
            print("claim: \(what) | \(wrong) of \(all) | 0 | \(wrong == 0 ? "holds" : "fails")")
        }
        print("claim: of them every request sent again | \(states) | | info")
        line(
            "requests answered before the crash and sent again: another answer, money moved, an attempt given back",
            counts.repeatFindings, of: counts.repeats)
        line(
            "requests not answered before and sent again: not decided, decided twice or otherwise, no receipt or two",
            counts.firstFindings, of: counts.firsts)
    }
}
