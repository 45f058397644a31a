import CardData
import OOPA
import PaymentPorts

extension EvidenceCommand.Verify.Row {
    /// What a person is told.
    var text: String {
        if let record { return Self.text(record) }
        if let request { return Self.text(request) }
        return "line \(line): NOT VERIFIED: \(finding ?? "")"
    }

    private static func text(_ record: EvidenceRecord) -> String {
        var lines = [
            "\(record.payment)\(record.live ? "" : " (test)"): \(record.answer.rawValue)",
            "  merchant   \(record.merchant.name) (\(record.merchant.id))",
            "  amount     \(amount(record.amount))", "  card       \(record.card)",
            "  telephone  \(record.phone ?? "none")",
        ]
        lines +=
            record.requests?.flatMap { request($0, of: record.payment) } ?? ["  request    not signed by the merchant"]
        if let prompt = record.prompt {
            lines.append("  shown      \(TimeText.iso(prompt.shownAt)) on \(prompt.channel):")
            lines += prompt.text.split(separator: "\n").map { "             \($0)" }
        }
        let profile = record.profile.map { ", profile \($0.rawValue)" } ?? ""
        let code = record.responseCode.map { ", issuer's answer \($0)" } ?? ""
        lines.append("  answered   \(TimeText.iso(record.answeredAt)), \(record.tries) codes\(profile)\(code)")
        return lines.joined(separator: "\n")
    }

    private static func text(_ record: RequestRecord) -> String {
        let action = record.request.action(on: record.payment)?.rawValue ?? "request"
        let lines =
            [
                "\(record.payment)\(record.live ? "" : " (test)"): \(action)",
                "  merchant   \(record.merchant.name) (\(record.merchant.id))",
                "  amount     \(amount(record.amount))",
            ] + request(record.request, of: record.payment)
        return lines.joined(separator: "\n")
    }

    private static func request(_ request: MerchantRequest, of payment: String) -> [String] {
        [
            "  request    \(request.action(on: payment)?.rawValue ?? "none"), signed by the merchant, received "
                + TimeText.iso(request.receivedAt),
            "             key \(request.keyID ?? "none")", "             body \(request.contentDigest ?? "none")",
        ]
    }

    private static func amount(_ amount: EvidenceRecord.Amount) -> String {
        guard let currency = try? Currency(amount.currency) else {
            return "\(amount.minorUnits) minor units of \(amount.currency)"
        }
        return "\(Money(minorUnits: amount.minorUnits, currency: currency))"
    }
}
