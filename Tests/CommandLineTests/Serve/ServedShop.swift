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
    private var callCount = 0

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
        case .void, .guess: await change(&order, .cancel)
        case .pay, .refuse, .cancel, .wrongCodeFirst: return
        }
    }

    // MARK: The telephone

    /// The holder dials until the bank has taken an answer, or is at work on one.
    /// - Returns: whether there was a prompt.
    private mutating func dial(_ order: inout ServedOrder) async -> Bool {
        let reference = order.id?.dropFirst(4) ?? ""
        for _ in 0..<Self.calls where !line.isOver {
            let call = Call(line: line, phone: order.card.phone, session: "\(order.key)-\(nextCall())")
            let prompt = await say(nil, .dial, in: call, [])
            if prompt.contains("To answer:"), !prompt.contains("To answer: 0") {
                // An earlier payment still waits: its code was wrong, or nobody looked at it before a fault.
                await clear(order.card)
                continue
            }
            guard prompt.contains(reference) else {
                if prompt.hasPrefix(Self.unable) { continue }
                // Answered in the call before.
                if order.isAnswered { return true }
                break
            }
            order.isAnswered = true
            let last = await answer(&order, in: call)
            if last.hasPrefix(Self.unable) { continue }
            guard last.contains("at work") else { return true }
            await look(&order)
            if order.told.last?.status != "pending" { return true }
        }
        findings.append("order \(order.key): no prompt")
        await change(&order, .cancel)
        return false
    }

    /// What the holder types on the prompt.
    /// - Returns: the last screen.
    private mutating func answer(_ order: inout ServedOrder, in call: Call) async -> String {
        if order.plan == .refuse {
            let last = await say("9", .refuse, in: call, [])
            if last.contains(ServedOrder.Shown.refused.rawValue) { order.shown = .refused }
            return last
        }
        var typed: [String] = []
        if order.plan == .guess || order.plan == .wrongCodeFirst {
            // No code of ours has eight digits.
            let wrong = "00000000"
            let screen = await say(wrong, .code, in: call, typed)
            if screen.contains("Wrong code") { order.wrongCodes += 1 }
            if order.plan == .guess || !screen.hasPrefix("CON ") { return screen }
            typed.append(wrong)
        }
        let last = await say(order.card.code, .code, in: call, typed)
        order.shown = [.paid, .held, .declined].first { last.hasPrefix("END \($0.rawValue)") }
        return last
    }

    private struct Call {
        let line: ServedLine
        let phone: String
        let session: String
    }

    /// Times that a holder dials for one payment, faults included.
    private static let calls = 10_000
    private static let unable = "END We cannot do this now"

    private mutating func nextCall() -> Int {
        callCount += 1
        return callCount
    }

    /// Sends a callback until a screen comes. Who is told to dial again does, but not at once.
    private func say(
        _ input: String?, _ operation: ServedLine.Operation, in call: Call, _ before: [String]
    ) async -> String {
        let inputs = before + (input.map { [$0] } ?? [])
        let screen = await repeated {
            await line.dial(operation, session: call.session, phone: call.phone, inputs: inputs)
        }
        if screen.hasPrefix(Self.unable) { await pause() }
        return screen
    }

    /// Ends what still waits for an answer on this card's telephone.
    private mutating func clear(_ card: ServedBank.Card) async {
        for index in orders.indices where orders[index].card.id == card.id && orders[index].mayWait {
            var order = orders[index]
            await look(&order)
            if order.told.last?.status == "pending" {
                await change(&order, .cancel)
                await look(&order)
            }
            orders[index] = order
        }
        await pause()
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
