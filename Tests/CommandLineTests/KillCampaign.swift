import ECardTesting
import Foundation

/// Payments of several processes at once, killed at random moments, and what the ledger must say afterwards.
///
/// Every order is journalled with what its sender received. After each round of kills every order is sent again, to its
/// end; an independent audit and `ecard ledger verify` look at the books before and after.
struct KillCampaign {
    static let workers = 4
    static let killsInRound = 40
    /// Approvals a card has in a day.
    private static let honestCards = 18

    let issuer: Issuer
    let honest: [KillCard]
    let guessed: [KillCard]
    let rotated: [KillCard]
    let auditor: LedgerAuditor
    var tally = KillTally()
    private var orders: [String: Order] = [:]
    /// Sent, killed or still undecided: to be sent again.
    private var open: [String] = []
    private var checkpoint = ""
    /// How long a run takes to its end, with the others beside it: of those that nobody kills. Kills are timed by it.
    private(set) var typical = Duration.milliseconds(90)

    /// Makes the cards; needs the virtual readers.
    init() async throws {
        let issuer = try await Issuer()
        self.issuer = issuer
        auditor = try LedgerAuditor()
        let count = Self.honestCards + 2 * Self.workers
        try await issuer.must(
            Self.cardScript + "make '00 00' \(count / 2) & a=$!; make '00 01' \(count / 2) & wait $! && wait $a",
            limit: 300)
        let cards = issuer.text("cards").split(separator: "\n").map { line in
            let words = line.split(separator: " ").map(String.init)
            return KillCard(id: words[0], expiry: words[1], folder: issuer.folder)
        }
        guard cards.count == count else { throw Shell.Failure("\(cards.count) of \(count) cards were made") }
        rotated = Array(cards[..<Self.workers])
        guessed = Array(cards[Self.workers..<2 * Self.workers])
        honest = Array(cards[(2 * Self.workers)...])
        // No code has it: theirs are of four digits.
        try Data("000\n".utf8).write(to: URL(fileURLWithPath: issuer.folder + "/wrong"))
        checkpoint = try await issuer.must("ecard ledger checkpoint")
        for card in honest {
            let order = Order(
                key: "first-\(card.id)", kind: .payment(wrongCode: false, later: false), card: card, amount: 1_00)
            orders[order.key] = order
            open.append(order.key)
        }
        try await resend()
    }

    /// Cards of customers of their own: a customer's failed attempts are capped together.
    private static let cardScript = """
        make() {
            for N in $(seq $2); do
                customer=$(ecard customer add --name "Kofi Boateng" --phone +233201234567)
                account=$(ecard account open --customer $customer --currency GHS)
                ecard account deposit $account --amount 100000 >&2
                card=$(ecard card create --account $account)
                ecard card insert $card --detach --reader "$1" >&2
                ecard card personalize $card --reader "$1" >&2
                ecard card eject $card >&2
                ecard code issue $card --digits 4 --attempts 10 --code-fd 3 3>$card.code >&2
                ecard card show $card --pan-fd 3 3>$card.pan >&2
                echo "$card $(ecard card show $card --field expiry)" >>cards
            done
        }

        """

    // MARK: A round

    /// Kills `count` processes, then sends all orders again and audits.
    mutating func round(kills count: Int, _ generator: inout SeededGenerator) async throws {
        let share = (0..<Self.workers).map { (count + $0) / Self.workers }
        let used = Set(orders.values.compactMap(\.target))
        let fresh = orders.values.filter { !used.contains($0.told?.payment ?? "") }.sorted { $0.key < $1.key }
        let holds = fresh.filter(\.isCapturable)
        let captured = fresh.filter(\.isRefundable)
        var workers: [KillWorker] = []
        for index in 0..<Self.workers {
            func mine(_ orders: [Order]) -> [Order] {
                orders.enumerated().filter { $0.offset % Self.workers == index }.map(\.element)
            }
            workers.append(
                KillWorker(
                    home: issuer.home, honest: honest, guessed: guessed, rotated: rotated[index],
                    generator: SeededGenerator(seed: generator.next()), holds: mine(holds), captured: mine(captured),
                    typical: typical))
        }
        let done = try await withThrowingTaskGroup(of: KillWorker.self) { group in
            for (worker, quota) in zip(workers, share) {
                group.addTask {
                    var worker = worker
                    try await worker.kill(quota)
                    return worker
                }
            }
            return try await group.reduce(into: [KillWorker]()) { $0.append($1) }
        }
        let report = try auditor.report(on: issuer.home + "/ledger.sqlite")
        for worker in done {
            tally.add(worker.tally)
            for order in worker.orders { orders[order.key] = order }
            for order in worker.killed { tally.count(order.victim, order.moment(in: report)) }
            open += worker.orders.map(\.key)
        }
        try await audit("after the kills", report)
        try await resend()
        try await audit("after sending again", auditor.report(on: issuer.home + "/ledger.sqlite"))
    }

    /// Sends every open order again, to its end. One that a kill left undecided is refused for 30 s and stays open.
    private mutating func resend() async throws {
        let again = open.sorted().compactMap { orders[$0] }
        open = []
        let home = issuer.home
        var next = 0
        while next < again.count {
            let batch = again[next..<min(next + Self.workers, again.count)]
            next += batch.count
            let runs = try await withThrowingTaskGroup(of: (Order, ToolRun).self) { group in
                for order in batch {
                    group.addTask { (order, try await ToolRun.of(order.words, home: home, input: order.input)) }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for (order, run) in runs {
                typical = typical * 0.9 + run.took * 0.1
                settle(order, run)
            }
        }
    }

    private mutating func settle(_ order: Order, _ run: ToolRun) {
        var order = order
        tally.resent += 1
        if case .payment = order.kind {
            guard let receipt = Receipt(run) else {
                if run.status == 2, run.err.contains("in progress") { return open.append(order.key) }
                return tally.findings.append("\(order.key) sent again: status \(run.status), \(run.err)")
            }
            if let told = order.told, !told.isSameAnswer(as: receipt) {
                tally.mismatches += 1
                tally.findings.append("\(order.key): \(told) was told, then \(receipt)")
            }
            order.told = receipt
        } else {
            if run.status != 0 { tally.findings.append("\(order.key) sent again: status \(run.status), \(run.err)") }
            order.isDone = true
        }
        orders[order.key] = order
    }

    // MARK: The end

    /// Waits out the orders that a kill left undecided, then sends settled ones once more: the ledger must not change.
    mutating func finish(_ generator: inout SeededGenerator) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while !open.isEmpty {
            try await resend()
            guard !open.isEmpty else { break }
            guard ContinuousClock.now < deadline else {
                tally.findings.append("undecided after a minute: \(open)")
                break
            }
            try await Task.sleep(for: .seconds(1))
        }
        let ledger = issuer.home + "/ledger.sqlite"
        let before = try auditor.report(on: ledger)
        open = Array(orders.keys.sorted().shuffled(using: &generator).prefix(100))
        try await resend()
        let after = try auditor.report(on: ledger)
        if before.records != after.records {
            tally.findings.append("sending settled orders again wrote \(after.records - before.records) audit records")
        }
        try await audit("at the end", after)
        tally.findings += try after.receiptFindings(in: issuer.home)
    }

    /// What was received must be there, nothing twice, the books whole, the chain extended and never cut.
    mutating func audit(_ when: String, _ report: LedgerAuditor.Report) async throws {
        var findings = report.findings
        let rows = Dictionary(grouping: report.payments, by: \.key)
        findings += rows.filter { $0.value.count > 1 }.map { "\($0.value.count) payments with key \($0.key)" }
        let byKey = rows.compactMapValues(\.first)
        let byID = Dictionary(report.payments.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        findings += orders.values.flatMap { $0.findings(in: byKey, byID: byID) }
        for card in guessed {
            let guesses = report.payments.filter { $0.card == card.id && $0.reason.hasPrefix("wrong code") }.count
            let counted = report.codes.first { $0.card == card.id }?.failures ?? 0
            if guesses > counted { findings.append("card \(card.id): \(guesses) guesses answered, \(counted) counted") }
        }
        let verified = try await issuer.run("ecard ledger verify --since \(checkpoint)")
        if verified.status != 0 { findings.append("\(verified)") }
        checkpoint = try await issuer.must("ecard ledger checkpoint")
        tally.findings += findings.map { "\(when): \($0)" }
    }
}

extension Order {
    fileprivate var isCapturable: Bool {
        if case .payment(_, later: true) = kind { told?.approved == true && told?.state == "authorized" } else { false }
    }

    /// The payment that is captured or refunded.
    fileprivate var target: String? {
        switch kind {
        case .payment: nil
        case .capture(let payment), .refund(let payment): payment
        }
    }

    fileprivate var isRefundable: Bool {
        if case .payment(_, later: false) = kind { told?.approved == true } else { false }
    }

    var victim: KillTally.Victim {
        switch kind {
        case .payment(let wrongCode, _): wrongCode ? .guess : .authorize
        case .capture: .capture
        case .refund: .refund
        }
    }
}
