import CardData
public import PaymentPorts

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

    public static func noticeReference(_ payment: PaymentID) -> String { "\(payment).notice" }

    public static func promptReference(_ payment: PaymentID) -> String { "\(payment).prompt" }

    /// For a gateway that begins the dialogue itself; of one that can only tell, this is what it tells.
    func prompt(_ payment: OnlinePayment) throws -> OutgoingMessage {
        try asking(.prompt, Self.promptReference(payment.id), payment)
    }

    /// That a payment waits for an answer.
    func notice(_ payment: OnlinePayment) throws -> OutgoingMessage {
        try asking(.notice, Self.noticeReference(payment.id), payment)
    }

    /// Without a telephone it is for nobody.
    private func asking(
        _ kind: OutgoingMessage.Kind, _ reference: String, _ payment: OnlinePayment
    ) throws -> OutgoingMessage {
        OutgoingMessage(
            kind: kind, recipient: payment.route.phone ?? "",
            body: try sms(.notice, told(payment, payment.amount.minorUnits)), reference: reference)
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
        let told = told(payment, minorUnits)
        let bySMS = try payment.route.phone.map { receipt(.sms, $0, try sms(short, told)) }
        let byMail = try payment.route.email.map { receipt(.mail, $0, try mail(subject, told, time)) }
        return [bySMS, byMail].compactMap(\.self)
    }

    /// Receipts of a payment that the issuer decided itself, at a terminal or with the number on the card: to wherever the
    /// holder is reached.
    /// - Parameter payment: an approved one, whatever became of it since.
    public func receipts(_ payment: Payment, to customer: Customer, at time: Timestamp) throws -> [OutgoingMessage] {
        let isPaid = payment.state == .captured || payment.state == .refunded
        let told = Told(
            merchant: payment.merchant, amount: payment.amount, reference: PaymentPrompt.reference(of: payment.id),
            panMasked: payment.panMasked, language: customer.language, isLive: true)
        var messages: [OutgoingMessage] = []
        if let phone = customer.phone {
            messages.append(
                OutgoingMessage(
                    kind: .receipt, recipient: phone, body: try sms(isPaid ? .paid : .held, told),
                    reference: "receipt-\(payment.id)"))
        }
        if let email = customer.email {
            messages.append(
                OutgoingMessage(
                    kind: .receipt, recipient: email, body: try mail(isPaid ? .paidSubject : .heldSubject, told, time),
                    // The first is the receipt, whichever way it goes.
                    reference: messages.isEmpty ? "receipt-\(payment.id)" : "mail-receipt-\(payment.id)"))
        }
        return messages
    }

    /// What a message tells of a payment.
    private struct Told {
        let merchant: String
        let amount: Money
        let reference: String
        let panMasked: String
        let language: String
        let isLive: Bool

        func values(dial: ServiceCode) -> [String: String] {
            [
                "merchant": merchant, "amount": amount.description, "reference": reference, "dial": dial.description,
            ]
        }
    }

    private func told(_ payment: OnlinePayment, _ minorUnits: Int64) -> Told {
        Told(
            merchant: payment.merchantName, amount: Money(minorUnits: minorUnits, currency: payment.amount.currency),
            reference: PaymentPrompt.reference(of: payment.id), panMasked: payment.panMasked,
            language: payment.route.language, isLive: payment.isLive)
    }

    /// In one paragraph.
    private func sms(_ key: MessageTexts.Key, _ told: Told) throws -> String {
        let texts = try standardTexts.get()
        let text = texts.text(key, in: told.language, told.values(dial: serviceCode))
        return told.isLive ? text : "\(texts.text(.test, in: told.language)) \(text)"
    }

    /// A subject, a table, and what to do about it.
    private func mail(_ subject: MessageTexts.Key, _ told: Told, _ time: Timestamp) throws -> String {
        let texts = try standardTexts.get()
        let values = told.values(dial: serviceCode)
        let rows: [(MessageTexts.Key, String)] = [
            (.merchant, "{merchant}"), (.amount, "{amount}"), (.card, told.panMasked),
            (.time, PaymentPrompt.time(time)), (.reference, "{reference}"),
        ]
        let table = rows.map { key, value in
            "\(texts.text(key, in: told.language)): \(TelephoneTexts.filled(value, values))"
        }
        return ([try sms(subject, told)] + table + [texts.text(.mailEnd, in: told.language, values)])
            .joined(separator: "\n")
    }
}
