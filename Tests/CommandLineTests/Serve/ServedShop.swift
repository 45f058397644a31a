import ECardTesting
import Foundation

/// One customer after the other at one counter: a shop's requests and a holder's telephone, each repeated until it is answered.
struct ServedShop: Sendable {
    let line: ServedLine
    let cards: [ServedBank.Card]
    /// A card that is guessed at and never gets its right code.
    let guessed: ServedBank.Card
    let name: String
    var generator: SeededGenerator
    private(set) var orders: [ServedOrder] = []
    private(set) var findings: [String] = []

    init(_ line: ServedLine, cards: [ServedBank.Card], guessed: ServedBank.Card, name: String, seed: UInt64) {
        self.line = line
        self.cards = cards
        self.guessed = guessed
        self.name = name
        generator = SeededGenerator(seed: seed)
    }

    /// Serves customers until `isOver` says so; the one at the counter is served to the end.
    mutating func open(until isOver: @Sendable () -> Bool) async {
        while !isOver(), !line.isOver { await serve() }
    }

    /// Serves so many customers.
    mutating func serve(_ count: Int) async {
        for _ in 0..<count where !line.isOver { await serve() }
    }

    private mutating func serve() async {
        let plans: [ServedOrder.Plan] = [.pay, .pay, .pay] + ServedOrder.Plan.allCases
        let plan = plans[Int.random(in: 0..<plans.count, using: &generator)]
        let number = orders.count
        var order = ServedOrder(
            key: "\(name)-\(number)", plan: plan, card: plan == .guess ? guessed : cards[number % cards.count],
            minorUnits: Int64.random(in: 1_00...99_00, using: &generator))
        await make(&order)
        if order.id != nil { await play(&order) }
        orders.append(order)
    }

    private mutating func make(_ order: inout ServedOrder) async {
        let (key, body) = (order.key, order.body)
        let answer = await repeated { await line.ask(.create, "/v1/payments", body, idempotencyKey: key) }
        guard answer.status == 201, let id = answer.text("id") else {
            return findings.append("order \(key): not made, \(answer.status) \(answer.body)")
        }
        order.id = id
        order.opening = answer.body
    }

    private mutating func play(_ order: inout ServedOrder) async {
        if order.plan == .cancel { return await change(&order, .cancel) }
        guard await dial(&order) else { return }
        await look(&order)
        switch order.plan {
        case .payAndRefund:
            let part = Int64.random(in: 1..<order.minorUnits, using: &generator)
            guard order.told.last?.status == "captured" else { return }
            await change(&order, .refund, part, key: "-first")
            if Bool.random(using: &generator) { await change(&order, .refund, order.minorUnits - part, key: "-rest") }
        case .capture: await change(&order, .capture)
        case .captureInPart: await change(&order, .capture, order.minorUnits / 2)
        case .void: await change(&order, .cancel)
        case .pay, .refuse, .cancel, .wrongCodeFirst, .guess: return
        }
    }

    // MARK: The telephone

    /// - Returns: whether the prompt was there. Where several payments wait, as after a fault, the shop cancels.
    private mutating func dial(_ order: inout ServedOrder) async -> Bool {
        let (card, reference) = (order.card, order.id?.dropFirst(4) ?? "")
        var session = "\(order.key)-\(generator.next() % 1_000_000)"
        var inputs: [String] = []
        func enter(_ operation: ServedLine.Operation, _ input: String?) async -> String {
            if let input { inputs.append(input) }
            let (all, session) = (inputs, session)
            return await repeated { await line.dial(operation, session: session, phone: card.phone, inputs: all) }
        }
        var prompt = await enter(.dial, nil)
        while prompt.hasPrefix("END We cannot do this now") {
            // The holder dials again.
            await pause()
            session += "-again"
            prompt = await enter(.dial, nil)
        }
        guard prompt.hasPrefix("CON "), prompt.contains(reference) else {
            findings.append("order \(order.key): no prompt, \(prompt)")
            await change(&order, .cancel)
            return false
        }
        if order.plan == .refuse {
            let last = await enter(.refuse, "9")
            if last.contains(ServedOrder.Shown.refused.rawValue) { order.shown = .refused }
            return true
        }
        if order.plan == .guess || order.plan == .wrongCodeFirst {
            // No code of ours has eight digits.
            let screen = await enter(.code, "00000000")
            if screen.contains("Wrong code") { order.wrongCodes += 1 }
            if order.plan == .guess {
                await change(&order, .cancel)
                return true
            }
            guard screen.hasPrefix("CON ") else { return true }
        }
        let last = await enter(.code, card.code)
        order.shown = [.paid, .held, .declined].first { last.hasPrefix("END \($0.rawValue)") }
        return true
    }

    // MARK: The shop

    /// Changes a payment. That another change was quicker is an answer, too.
    private mutating func change(
        _ order: inout ServedOrder, _ operation: ServedLine.Operation, _ minorUnits: Int64? = nil, key: String = ""
    ) async {
        let path =
            "/v1/payments/\(order.id ?? "")/\(operation == .refund ? "refunds" : operation.rawValue)"
        let body = minorUnits.map { "{\"amount\": \($0)}" }
        let idempotencyKey = "\(order.key)-\(operation.rawValue)\(key)"
        let answer = await repeated { await line.ask(operation, path, body, idempotencyKey: idempotencyKey) }
        note(answer, &order)
        if answer.status != 200, answer.status != 409 {
            findings.append("order \(order.key): \(operation.rawValue), \(answer.status) \(answer.body)")
        }
    }

    private mutating func look(_ order: inout ServedOrder) async {
        let path = "/v1/payments/\(order.id ?? "")"
        note(await repeated { await line.ask(.look, path) }, &order)
    }

    private func note(_ answer: ServedLine.Answer, _ order: inout ServedOrder) {
        guard let status = answer.text("status") else { return }
        order.told.append(
            ServedOrder.Told(
                status: status, captured: answer.number("amount_captured") ?? 0,
                refunded: answer.number("amount_refunded") ?? 0))
    }

    /// Sends the same until there is an answer that is not to be asked for again, or no server comes any more.
    private func repeated(_ send: () async -> ServedLine.Answer?) async -> ServedLine.Answer {
        while !line.isOver {
            if let answer = await send(), answer.status != 503, !answer.body.contains("idempotency_key_in_use") {
                return answer
            }
            await pause()
        }
        return ServedLine.Answer(status: 0, body: "", isReplayed: false)
    }

    private func repeated(_ send: () async -> String?) async -> String {
        while !line.isOver {
            if let answer = await send(), !answer.hasPrefix("status 503") { return answer }
            await pause()
        }
        return ""
    }

    /// Who is told to come again does, but not at once.
    private func pause() async { try? await Task.sleep(for: .milliseconds(20)) }
}
