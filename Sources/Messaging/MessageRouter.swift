public import PaymentPorts

/// Sends each message to the gateway for its recipient: a telephone by SMS, a mail address by mail.
public struct MessageRouter: MessageDelivery {
    private let sms: (any MessageDelivery)?
    private let mail: (any MessageDelivery)?

    /// - Parameters: `nil` where there is no such gateway: its messages fail with ``DeliveryError/Kind/noGateway``.
    public init(sms: (any MessageDelivery)?, mail: (any MessageDelivery)?) {
        self.sms = sms
        self.mail = mail
    }

    public func deliver(_ message: OutgoingMessage) async throws {
        let (gateway, name): ((any MessageDelivery)?, String)
        if Recipient.isPhone(message.recipient) {
            (gateway, name) = (sms, "SMS")
        } else if Recipient.isMailAddress(message.recipient) {
            (gateway, name) = (mail, "mail")
        } else {
            throw DeliveryError(
                .refused, place: "message \(message.reference): recipient",
                reason: "neither a telephone (E.164) nor a mail address", advice: "Correct the customer's data.")
        }
        guard let gateway else {
            throw DeliveryError(
                .noGateway, place: "message \(message.reference)", reason: "there is no gateway for \(name)",
                advice: "Configure one.")
        }
        try await gateway.deliver(message)
    }
}

/// What a message can be addressed to. Strict, because it becomes part of headers and commands.
enum Recipient {
    /// E.164: `+` and 7 to 15 digits.
    static func isPhone(_ text: String) -> Bool {
        let digits = text.utf8.dropFirst()
        return text.utf8.first == UInt8(ascii: "+") && (7...15).contains(digits.count)
            && digits.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    /// A `Mailbox` of RFC 5321, 4.1.2, of at most 254 octets, its local part a `Dot-string`: no quotes, no comments, no
    /// address literals, ASCII alone.
    static func isMailAddress(_ text: String) -> Bool {
        guard text.utf8.count <= 254, let at = text.utf8.firstIndex(of: UInt8(ascii: "@")) else { return false }
        let local = text.utf8[..<at]
        let domain = text.utf8[text.utf8.index(after: at)...]
        return local.count <= 64 && isDotted(local) { isAtomText($0) }
            && isDotted(domain) { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
            && domain.contains(UInt8(ascii: "."))
    }

    private static func isDotted(_ text: Substring.UTF8View, _ isPart: (UInt8) -> Bool) -> Bool {
        text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
            .allSatisfy { !$0.isEmpty && $0.allSatisfy(isPart) }
    }

    /// `atext` of RFC 5322, 3.2.3.
    private static func isAtomText(_ byte: UInt8) -> Bool {
        isAlphanumeric(byte) || "!#$%&'*+-/=?^_`{|}~".utf8.contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
