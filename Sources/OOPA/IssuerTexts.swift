import ByteCoding
import CardData
import PaymentPorts

/// What the issuer writes to holders, by language.
enum IssuerTexts {
    /// The SMS with a one-time code: what it is for stands before the code.
    static func oneTimeCode(_ code: SecretBytes, _ inquiry: FundsInquiry) -> [String: String] {
        let digits = code.withBytes { String(decoding: $0, as: UTF8.self) }
        let (amount, merchant) = (inquiry.amount.description, inquiry.merchantName)
        return [
            "en": "\(amount) to \(merchant): code \(digits), for this payment alone. Never tell it to anybody.",
            "fr": "\(amount) à \(merchant): code \(digits), pour ce paiement seul. Ne le dites à personne.",
            "tw": "\(amount) kɔ \(merchant): kɔd \(digits), saa akatua yi nko ara. Nka nkyerɛ obiara.",
        ]
    }
}
