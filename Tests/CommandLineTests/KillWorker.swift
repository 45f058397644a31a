import ECardTesting
import Foundation

/// One of several who pay at the same time and whose processes are killed. Everything it does comes from its seed, but
/// for what the machine makes of the delays.
struct KillWorker: Sendable {
    let home: String
    let honest: [KillCard]
    let guessed: [KillCard]
    /// A card whose code is replaced, by this worker alone.
    let rotated: KillCard
    var generator: SeededGenerator
    /// Approved payments of earlier rounds: to be captured, to be refunded.
    var holds: [Order]
    var captured: [Order]

    private(set) var orders: [Order] = []
    private(set) var killed: [Order] = []
    private(set) var tally = KillTally()
    /// How long a run takes here and now, with the others beside it.
    private let typical: Duration

    init(
        home: String, honest: [KillCard], guessed: [KillCard], rotated: KillCard, generator: SeededGenerator,
        holds: [Order], captured: [Order], typical: Duration
    ) {
        self.home = home
        self.honest = honest
        self.guessed = guessed
        self.rotated = rotated
        self.generator = generator
        self.holds = holds
        self.captured = captured
        self.typical = typical
    }

    /// Goes on until `count` of its processes were killed.
    mutating func kill(_ count: Int) async throws {
        var kills = 0
        while kills < count {
            let lot = Int.random(in: 0..<100, using: &generator)
            if lot < 8, try await replaceCode() {
                kills += 1
            } else if lot >= 8, try await send(draw(lot)) {
                kills += 1
            }
        }
    }

    private mutating func draw(_ lot: Int) -> Order {
        let key = "\(String(generator.next(), radix: 36))"
        let amount = Int64.random(in: 1...9_99, using: &generator)
        if lot < 20, let hold = holds.popLast(), let payment = hold.told?.payment {
            return Order(key: "capture-" + key, kind: .capture(of: payment), card: hold.card, amount: hold.amount)
        }
        if lot < 32, let paid = captured.popLast(), let payment = paid.told?.payment {
            let part = Int64.random(in: 1...paid.amount, using: &generator)
            return Order(key: "refund-" + key, kind: .refund(of: payment), card: paid.card, amount: part)
        }
        let isGuess = lot < 40
        let cards = isGuess ? guessed : honest
        return Order(
            key: key, kind: .payment(wrongCode: isGuess, later: lot % 3 == 0),
            card: cards[Int.random(in: 0..<cards.count, using: &generator)], amount: amount)
    }

    /// - Returns: whether the process was killed; it may have been faster.
    private mutating func send(_ order: Order) async throws -> Bool {
        var order = order
        let run = try await ToolRun.of(order.words, home: home, input: order.input, killAfter: delay())
        tally.requests += 1
        order.told = Receipt(run)
        order.isDone = run.status == 0
        if order.told?.approved == true { tally.approvalsReceived += 1 }
        orders.append(order)
        if run.wasKilled { killed.append(order) }
        if !run.wasKilled, run.status > 1 {
            tally.findings.append("\(order.key): status \(run.status), \(run.err)")
        }
        return run.wasKilled
    }

    /// Most of the time in the last third of a run, where the commits are.
    private mutating func delay() -> Duration {
        let share = Int.random(in: 0..<5, using: &generator) == 0 ? 0...0.7 : 0.7...1.1
        return typical * Double.random(in: share, using: &generator)
    }

    /// Kills `code rotate`. A code that came out must be the card's; if none did, nobody has it, and the next is made.
    private mutating func replaceCode() async throws -> Bool {
        let file = rotated.code + ".new"
        unlink(file)
        let words = ["code", "rotate", rotated.id, "--digits", "4", "--attempts", "10", "--code-fd", "3", "--json"]
        let run = try await ToolRun.of(words, home: home, output: [3: file], killAfter: delay())
        let isOut = (try? String(contentsOfFile: file, encoding: .utf8))?.hasSuffix("\n") == true
        if !isOut {
            // What is there is the old code or one that nobody has: the ledger says which.
            let old = try await payment(with: rotated.code)
            if run.wasKilled {
                tally.count(.rotate, old?.responseCode == "05" ? .afterLastCommit : .beforeFirstCommit)
            }
            unlink(file)
            let again = try await ToolRun.of(words, home: home, output: [3: file])
            if again.status != 0 { tally.findings.append("\(words): status \(again.status), \(again.err)") }
        } else if run.wasKilled {
            tally.count(.rotate, .afterLastCommit)
        }
        guard rename(file, rotated.code) == 0 else { throw Shell.Failure("no code of \(rotated.id) came out") }
        let told = try await payment(with: rotated.code)
        if told?.responseCode == "05" { tally.findings.append("the code that \(rotated.id) was told is not its code") }
        return run.wasKilled
    }

    private mutating func payment(with code: String) async throws -> Receipt? {
        let order = Order(
            key: "rotated-\(String(generator.next(), radix: 36))", kind: .payment(wrongCode: false, later: false),
            card: rotated, amount: 1_00)
        let run = try await ToolRun.of(order.words, home: home, input: order.input)
        tally.requests += 1
        guard let receipt = Receipt(run) else {
            tally.findings.append("\(order.key): status \(run.status), \(run.err)")
            return nil
        }
        return receipt
    }
}
