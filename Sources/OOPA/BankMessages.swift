import CardData
import PaymentPorts

/// What the bank writes to holders: notices and receipts, in the language of their telephone. None of it holds a secret.
public struct BankMessages: Sendable {
    /// What the holder dials to answer: `*920*55#`.
    private let serviceCode: String

    public init(serviceCode: String = "*920*55#") { self.serviceCode = serviceCode }

    private struct Texts {
        let test: String
        let notice: String
        let held: String
        let paid: String
        let returned: String
    }

    /// `{merchant}`, `{amount}`, `{reference}` and `{dial}` stand for their values.
    private static let texts = [
        "en": Texts(
            test: "TEST ",
            notice: "{merchant} asks for {amount}. Dial {dial} to pay with your code or to refuse. Ref {reference}",
            held: "Approved: {amount} for {merchant}, to be debited later. Ref {reference}",
            paid: "Paid: {amount} to {merchant}. Ref {reference}",
            returned: "Returned to you: {amount} from {merchant}. Ref {reference}"),
        "fr": Texts(
            test: "TEST ",
            notice:
                "{merchant} demande {amount}. Composez {dial} pour payer avec votre code ou refuser. Ref {reference}",
            held: "Accepté : {amount} pour {merchant}, débité plus tard. Ref {reference}",
            paid: "Payé : {amount} à {merchant}. Ref {reference}",
            returned: "Remboursé : {amount} par {merchant}. Ref {reference}"),
        "tw": Texts(
            test: "TEST ",
            notice: "{merchant} srɛ {amount}. Frɛ {dial} na fa wo code tua, anaa ka sɛ daabi. Ref {reference}",
            held: "Yɛapene so: {amount} ma {merchant}, wɔbɛgye akyire yi. Ref {reference}",
            paid: "Woatua {amount} ama {merchant}. Ref {reference}",
            returned: "Wɔasan de {amount} ama wo, efi {merchant}. Ref {reference}"),
    ]

    static func noticeReference(_ payment: PaymentID) -> String { "\(payment).notice" }

    /// That a payment waits for an answer. Without a telephone it is for nobody.
    func notice(_ payment: OnlinePayment) -> OutgoingMessage {
        OutgoingMessage(
            kind: .notice, recipient: payment.route.phone ?? "",
            body: text(\.notice, payment, payment.amount.minorUnits), reference: Self.noticeReference(payment.id))
    }

    /// Receipts of a step, by SMS and by mail where there is an address (process M).
    /// - Parameter minorUnits: what was moved.
    func receipts(
        _ payment: OnlinePayment, _ state: OnlinePayment.State, _ minorUnits: Int64, at time: Timestamp
    ) -> [OutgoingMessage] {
        let form: KeyPath<Texts, String>
        switch state {
        case .authorized: form = \.held
        case .captured: form = \.paid
        case .refunded: form = \.returned
        default: return []
        }
        let body = text(form, payment, minorUnits)
        return [("sms", payment.route.phone), ("mail", payment.route.email)].compactMap { channel, recipient in
            recipient.map {
                OutgoingMessage(
                    kind: .receipt, recipient: $0, body: body,
                    // What was returned before tells several refunds apart.
                    reference: "\(payment.id).\(state.rawValue).\(payment.refundedMinorUnits).\(channel)")
            }
        }
    }

    private func text(_ form: KeyPath<Texts, String>, _ payment: OnlinePayment, _ minorUnits: Int64) -> String {
        let english = Self.texts["en"]
        guard let texts = Self.texts[payment.route.language] ?? english else { return "" }
        let values = [
            "merchant": payment.merchantName,
            "amount": Money(minorUnits: minorUnits, currency: payment.amount.currency).description,
            "reference": PaymentPrompt.reference(of: payment.id), "dial": serviceCode,
        ]
        var text = payment.isLive ? "" : texts.test
        var rest = texts[keyPath: form][...]
        // From left to right, so that no value is taken for a place.
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            text += rest[..<open]
            text += values[String(rest[rest.index(after: open)..<close])] ?? ""
            rest = rest[rest.index(after: close)...]
        }
        return text + rest
    }
}
