import Issuing
import Messaging
import OOPA
import PaymentPorts

/// Messages to a card's holder: codes to the phone, else the mail address, by way of the outbox; what was queued, and receipts,
/// by the gateways that are set.
struct HolderMessages: Sendable {
    let parts: Parts

    /// Where the holder is reached; `nil` when nowhere.
    func recipient(of card: CardID) async throws -> String? {
        guard let customer = try await customer(of: card) else { return nil }
        return customer.phone ?? customer.email
    }

    private func customer(of card: CardID) async throws -> Customer? {
        guard let card = try await parts.ledger.card(card), let account = try await parts.ledger.account(card.account)
        else { return nil }
        return try await parts.ledger.customer(account.customer)
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

    /// Sends every receipt that is due, those too that a killed process left, in the language of its holder. Payments stand,
    /// whether they can be sent or not. One that can never arrive is given up; for a gateway that takes none now all wait.
    /// - Parameter tell: told of both.
    func sendReceipts(tell: @Sendable (ReceiptTrouble) -> Void = { note("\($0)") }) async {
        do {
            // One process at a time: a receipt that somebody has taken out of the outbox is not put there again.
            // Not the state folder's lock: a rotation holds that for as long as it moves PANs, and payments go on meanwhile.
            try StateFolder.makePrivate(parts.home.outbox)
            try await StateFolder.exclusively(parts.home.outbox) {
                lazy var gateways = Result { try ServerSettings.load(parts.home, flags: [:]).messages }
                while true {
                    // One by one: what a gateway has taken is not sent again because the next one fails.
                    let due = try await parts.ledger.receiptsDue(limit: 1)
                    for id in due.payments { try await sendReceipt(id, by: gateways.get(), tell) }
                    try await parts.ledger.endReceipts(upTo: due.record)
                    if due.payments.isEmpty { return }
                }
            }
        } catch {
            tell(.unsent(error))
        }
    }

    private func sendReceipt(
        _ id: PaymentID, by gateways: GatewaySettings, _ tell: @Sendable (ReceiptTrouble) -> Void
    ) async throws {
        guard let payment = try await parts.ledger.payment(id), let card = payment.card,
            let customer = try await customer(of: card)
        else { return }
        let receipts = try BankMessages(serviceCode: gateways.dial)
            .receipts(payment, to: customer, at: payment.decidedAt ?? payment.createdAt)
        for receipt in receipts {
            do {
                try await gateways.delivery.deliver(receipt)
            } catch let error as DeliveryError where error.isFinal {
                tell(.givenUp(id, error))
            }
        }
    }
}

/// What keeps a receipt from its holder.
enum ReceiptTrouble: CustomStringConvertible {
    /// All that are due wait.
    case unsent(any Error)
    /// This payment's can never arrive.
    case givenUp(PaymentID, any Error)

    var description: String {
        switch self {
        case .unsent(let error): "Receipts were not sent, the next payment sends them: \(error)"
        case .givenUp(_, let error): "A receipt was given up: \(error)"
        }
    }
}
