import ByteCoding
import CardData
import PaymentPorts

/// What the issuer writes to holders, by language.
enum IssuerTexts {
    /// The SMS with a one-time code: what it is for stands before the code.
    static func oneTimeCode(_ code: SecretBytes, _ inquiry: FundsInquiry) throws -> [String: String] {
        let texts = try MessageTexts.standard.get()
        let values = [
            "amount": inquiry.amount.description, "merchant": inquiry.merchantName,
            "code": code.withBytes { String(decoding: $0, as: UTF8.self) },
        ]
        return Dictionary(
            uniqueKeysWithValues: texts.languages.map { ($0, texts.text(.oneTimeCode, in: $0, values)) })
    }
}
