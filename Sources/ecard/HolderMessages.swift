import Issuing
import Messaging
import PaymentPorts

/// Messages to a card's holder: to the phone, else the mail address, by way of the outbox.
struct HolderMessages: Sendable {
    let parts: Parts

    /// Where the holder is reached; `nil` when nowhere.
    func recipient(of card: CardID) async throws -> String? {
        guard let card = try await parts.ledger.card(card), let account = try await parts.ledger.account(card.account),
            let customer = try await parts.ledger.customer(account.customer)
        else { return nil }
        return customer.phone ?? customer.email
    }

    /// Hands a message over durably; the same reference once. Somebody who is reached nowhere gets none.
    func send(_ kind: OutgoingMessage.Kind, to card: CardID, _ body: String, reference: String) async throws {
        guard let recipient = try await recipient(of: card) else { return }
        try await Outbox(folder: parts.home.outbox, clock: parts.time).deliver(
            OutgoingMessage(kind: kind, recipient: recipient, body: body, reference: reference))
    }

    /// Hands over one message that waits sealed in the ledger, to the gateway that is set: a code at most once.
    func sendQueued(_ reference: String?) async throws {
        guard let reference else { return }
        let queue = IssuerMessages(keys: parts.keys, store: parts.ledger)
        let due = try await queue.messagesDue(at: parts.time.now(), limit: .max)
        guard let message = due.first(where: { $0.message.reference == reference })?.message else { return }
        // The way that 'ecard serve' takes: a code that is to prove a telephone must come to it.
        let gateways = try ServerSettings.load(parts.home, flags: [:]).messages
        if message.kind == .code { try await queue.messageBegun(reference, at: parts.time.now()) }
        try await gateways.delivery.deliver(message)
        try await queue.messagesSent([reference], at: parts.time.now())
    }

    /// Sends every receipt that is due, those too that a killed process left. Payments stand, whether they can be sent or
    /// not.
    func sendReceipts() async {
        do {
            // One process at a time: a receipt that somebody has taken out of the outbox is not put there again.
            // Not the state folder's lock: a rotation holds that for as long as it moves PANs, and payments go on meanwhile.
            try StateFolder.makePrivate(parts.home.outbox)
            try await StateFolder.exclusively(parts.home.outbox) {
                while true {
                    let due = try await parts.ledger.receiptsDue(limit: Self.group)
                    for id in due.payments { try await sendReceipt(id) }
                    try await parts.ledger.endReceipts(upTo: due.record)
                    if due.payments.count < Self.group { return }
                }
            }
        } catch {
            note("Receipts were not sent, the next payment sends them: \(error)")
        }
    }

    private static let group = 100

    private func sendReceipt(_ id: PaymentID) async throws {
        guard let payment = try await parts.ledger.payment(id), let card = payment.card else { return }
        try await send(
            .receipt, to: card,
            "\(payment.amount) to \(payment.merchant), card \(payment.panMasked), reference \(id).",
            reference: "receipt-\(id)")
    }
}
