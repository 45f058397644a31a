import ECardTesting
import Foundation
import Synchronization

/// A bank that is served while several counters take payments and something happens to it, and what its books and the issuer's
/// must say in the end.
struct ServeCampaign: Sendable {
    static let counters = 4

    let bank: ServedBank
    let serve: ServeCommands
    private let hooks: ScriptedServer
    var tally = ServeTally()
    /// What was told to shops and holders.
    private(set) var orders: [ServedOrder] = []
    private(set) var webhooks = WebhookLog()

    /// - Parameter bank: a fresh one.
    init(_ serve: ServeCommands, _ bank: ServedBank) async throws {
        self.bank = bank
        self.serve = serve
        hooks = try await ScriptedServer(react: ScriptedServer.http(200, ""))
        try await bank.addWebhook(port: hooks.port)
    }

    /// What happens to the bank while the counters are open.
    /// - Returns: the server that goes on; the line goes to it.
    typealias Trouble = @Sendable (ServeCampaign, ServedLine, inout ServeTally) async throws -> ServedProcesses

    /// Lets `trouble` happen, then ends what is under way, and looks at everything.
    mutating func run(_ trouble: Trouble, _ generator: inout SeededGenerator) async throws {
        let checkpoints = try await bank.checkpoints()
        let line = ServedLine(key: bank.key)
        let isOver = Flag()
        let shops = (0..<Self.counters).map { counter in
            let mine = bank.cards.dropFirst(Self.counters).enumerated().filter {
                $0.offset % Self.counters == counter
            }
            return ServedShop(
                line, cards: mine.map(\.element), guessed: bank.cards[counter], name: "counter-\(counter)",
                seed: generator.next())
        }
        var tally = tally
        let campaign = self
        orders = try await withThrowingTaskGroup(of: ServedShop.self) { group in
            for shop in shops {
                group.addTask {
                    var shop = shop
                    await shop.open { isOver.isSet }
                    return shop
                }
            }
            // Also where the trouble is more than was meant: nobody waits for a server that does not come.
            defer { line.end() }
            let last = try await trouble(campaign, line, &tally)
            isOver.set()
            var orders: [ServedOrder] = []
            for try await shop in group {
                orders += shop.orders
                tally.findings += shop.findings
            }
            tally.findings += await Self.replay(orders, line, &tally)
            try await campaign.settle(&tally)
            let codes = await last.terminate()
            if codes.contains(where: { $0 != 0 }) { tally.findings.append("SIGTERM: exit codes \(codes), \(last.log)") }
            return orders
        }
        (tally.requests, tally.unanswered, tally.refused) = line.counts
        try await line.close()
        webhooks = WebhookLog(hooks.received)
        try await hooks.close()
        tally.orders = orders.count
        tally.approvals = orders.count { $0.shown == .paid || $0.shown == .held }
        tally.repeatedWebhooks = webhooks.repeats
        tally.findings += try await bank.verify(since: checkpoints)
        tally.findings += try ServeBooks().findings(bank.bankBooks, bank.ledger, orders, webhooks)
        self.tally = tally
    }

    /// Starts the server; returns when requests go to it.
    func start(_ line: ServedLine) async throws -> ServedProcesses {
        let processes = try ServedProcesses(bank.home, serve)
        guard let url = try await processes.url() else {
            throw Shell.Failure("serve ended by itself: \(processes.log)")
        }
        line.goesTo(url)
        return processes
    }

    // MARK: The end

    /// Makes payments again that were made before: the same answer, word for word, and no second payment.
    private static func replay(
        _ orders: [ServedOrder], _ line: ServedLine, _ tally: inout ServeTally
    ) async -> [String] {
        var findings: [String] = []
        for order in orders where order.id != nil {
            let answer = await line.ask(.create, "/v1/payments", order.body, idempotencyKey: order.key)
            tally.replayed += 1
            if answer?.body != order.opening || answer?.isReplayed != true {
                findings.append("order \(order.key) again: \(answer?.body ?? "no answer"), before \(order.opening)")
            }
        }
        return findings
    }

    /// Waits until nothing is in doubt and no webhook waits: the half minute after which a try that a death interrupted is
    /// decided, and some more.
    private func settle(_ tally: inout ServeTally) async throws {
        let books = try ServeBooks()
        let deadline = ContinuousClock.now + .seconds(180)
        while true {
            let report = try books.report(bank.bankBooks, bank.ledger)
            // Those that nobody answered wait for their holder, who has gone.
            let waiting = Set(
                report.payments.filter { $0.state == "awaiting_holder" || $0.state == "prompting" }.map(\.id))
            let open = Set(report.open).subtracting(waiting)
            if open.isEmpty, report.unsent == 0 { return }
            guard ContinuousClock.now < deadline else {
                return tally.findings.append("not settled after 3 minutes: \(open), \(report.unsent) webhooks wait")
            }
            try await Task.sleep(for: .milliseconds(250))
        }
    }

    private final class Flag: Sendable {
        private let value = Mutex(false)
        var isSet: Bool { value.withLock { $0 } }
        func set() { value.withLock { $0 = true } }
    }
}
