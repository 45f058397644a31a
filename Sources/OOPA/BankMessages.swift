import CardData
import PaymentPorts

/// What the bank writes to holders: notices and receipts, in the language of their telephone. None of it holds a secret.
public struct BankMessages: Sendable {
    /// What the holder dials to answer.
    private let serviceCode: ServiceCode
    private let standardTexts: Result<MessageTexts, any Error>

    public init(
        serviceCode: ServiceCode = .standard, texts: Result<MessageTexts, any Error> = MessageTexts.standard
    ) {
        self.serviceCode = serviceCode
        standardTexts = texts
    }

    static func noticeReference(_ payment: PaymentID) -> String { "\(payment).notice" }

    /// That a payment waits for an answer. Without a telephone it is for nobody.
    func notice(_ payment: OnlinePayment) throws -> OutgoingMessage {
        OutgoingMessage(
            kind: .notice, recipient: payment.route.phone ?? "",
            body: try sms(.notice, payment, payment.amount.minorUnits), reference: Self.noticeReference(payment.id))
    }

    /// Receipts of a step, by SMS and by mail where there is an address (process M).
    /// - Parameter minorUnits: what was moved.
    func receipts(
        _ payment: OnlinePayment, _ state: OnlinePayment.State, _ minorUnits: Int64, at time: Timestamp
    ) throws -> [OutgoingMessage] {
        let (short, subject): (MessageTexts.Key, MessageTexts.Key)
        switch state {
        case .authorized: (short, subject) = (.held, .heldSubject)
        case .captured: (short, subject) = (.paid, .paidSubject)
        case .refunded: (short, subject) = (.returned, .returnedSubject)
        default: return []
        }
        func receipt(_ channel: MessageChannel, _ recipient: String, _ body: String) -> OutgoingMessage {
            OutgoingMessage(
                kind: .receipt, recipient: recipient, body: body,
                // What was returned before tells several refunds apart.
                reference: "\(payment.id).\(state.rawValue).\(payment.refundedMinorUnits).\(channel.rawValue)")
        }
        let bySMS = try payment.route.phone.map { receipt(.sms, $0, try sms(short, payment, minorUnits)) }
        let byMail = try payment.route.email.map { receipt(.mail, $0, try mail(subject, payment, minorUnits, time)) }
        return [bySMS, byMail].compactMap(\.self)
    }

    private func values(_ payment: OnlinePayment, _ minorUnits: Int64) -> [String: String] {
        [
            "merchant": payment.merchantName,
            "amount": Money(minorUnits: minorUnits, currency: payment.amount.currency).description,
            "reference": PaymentPrompt.reference(of: payment.id), "dial": serviceCode.description,
        ]
    }

    /// In one paragraph.
    private func sms(_ key: MessageTexts.Key, _ payment: OnlinePayment, _ minorUnits: Int64) throws -> String {
        let texts = try standardTexts.get()
        let language = payment.route.language
        let text = texts.text(key, in: language, values(payment, minorUnits))
        return payment.isLive ? text : "\(texts.text(.test, in: language)) \(text)"
    }

    /// A subject, a table, and what to do about it.
    private func mail(
        _ subject: MessageTexts.Key, _ payment: OnlinePayment, _ minorUnits: Int64, _ time: Timestamp
    ) throws -> String {
        let texts = try standardTexts.get()
        let language = payment.route.language
        let values = values(payment, minorUnits)
        let rows: [(MessageTexts.Key, String)] = [
            (.merchant, "{merchant}"), (.amount, "{amount}"), (.card, payment.panMasked),
            (.time, PaymentPrompt.time(time)), (.reference, "{reference}"),
        ]
        let table = rows.map { key, value in
            "\(texts.text(key, in: language)): \(TelephoneTexts.filled(value, values))"
        }
        return ([try sms(subject, payment, minorUnits)] + table + [texts.text(.mailEnd, in: language, values)])
            .joined(separator: "\n")
    }
}
