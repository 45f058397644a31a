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
}
