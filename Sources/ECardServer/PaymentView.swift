import CardData
import PaymentPorts

/// A payment as its merchant sees it: what the merchant sent, and how it stands. Nothing here tells whether a card or its
/// telephone exists.
struct PaymentView: Encodable {
    struct Card: Encodable {
        /// First six and last four.
        let number: String
    }

    let id: String
    let object = "payment"
    let livemode: Bool
    let status: String
    let amount: Int64
    let amountCaptured: Int64
    let amountRefunded: Int64
    let currency: String
    let capture: String
    let card: Card
    let reference: String?
    let description: String?
    /// Seconds since 1970.
    let created: Int64
    let expiresAt: Int64

    enum CodingKeys: String, CodingKey {
        case id, object, livemode, status, amount, amountCaptured = "amount_captured",
            amountRefunded = "amount_refunded", currency, capture, card, reference, description, created,
            expiresAt = "expires_at"
    }

    init(_ payment: OnlinePayment) {
        id = payment.id.rawValue
        livemode = payment.isLive
        status = payment.state.merchantStatus
        amount = payment.amount.minorUnits
        amountCaptured = payment.capturedMinorUnits
        amountRefunded = payment.refundedMinorUnits
        currency = payment.amount.currency.code.lowercased()
        capture = payment.capturesLater ? "manual" : "automatic"
        card = Card(number: payment.panMasked)
        reference = payment.reference
        description = payment.details
        created = payment.createdAt.milliseconds / 1000
        expiresAt = payment.expiresAt.milliseconds / 1000
    }

    /// Every key is always there.
    func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(id, forKey: .id)
        try values.encode(object, forKey: .object)
        try values.encode(livemode, forKey: .livemode)
        try values.encode(status, forKey: .status)
        try values.encode(amount, forKey: .amount)
        try values.encode(amountCaptured, forKey: .amountCaptured)
        try values.encode(amountRefunded, forKey: .amountRefunded)
        try values.encode(currency, forKey: .currency)
        try values.encode(capture, forKey: .capture)
        try values.encode(card, forKey: .card)
        try values.encode(reference, forKey: .reference)
        try values.encode(description, forKey: .description)
        try values.encode(created, forKey: .created)
        try values.encode(expiresAt, forKey: .expiresAt)
    }
}

struct PaymentList: Encodable {
    let object = "list"
    let data: [PaymentView]
    let hasMore: Bool

    enum CodingKeys: String, CodingKey { case object, data, hasMore = "has_more" }
}

extension OnlinePayment.State {
    /// As the merchant sees it (docs/oopa.md, "States"). What happens between the bank and the holder is one word: the steps
    /// between would tell whether somebody has this card in their hands.
    var merchantStatus: String {
        switch self {
        case .created, .prompting, .awaitingHolder, .review: "pending"
        case .checking: "processing"
        case .authorized: "authorized"
        case .captured: "captured"
        case .refunded: "refunded"
        case .voided: "voided"
        case .declined: "declined"
        case .denied: "denied"
        case .cancelled: "cancelled"
        case .expired: "expired"
        }
    }
}
