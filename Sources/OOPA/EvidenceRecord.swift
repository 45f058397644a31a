import ByteCoding
import CardData
public import PaymentPorts

/// What the bank can show of one payment when somebody denies it: what the holder saw, and what the holder answered. Signed
/// when the payment is decided for good, and then never changed.
///
/// It goes to whoever has to be convinced when there is something to argue about, so it has no more of the holder than they need:
/// the card's masked number, and the telephone's country and last three digits. That there is a telephone, or none, is more than
/// a merchant learns otherwise: of a payment that nobody answered the bank gives out no record unasked. A keyed hash of the telephone would be closed to everybody but the bank; a plain
/// one would be a list of ten million numbers to try. The payment's identifier leads the bank to the whole number.
public struct EvidenceRecord: Codable, Hashable, Sendable {
    public struct Merchant: Codable, Hashable, Sendable {
        public let id: String
        /// The verified one, as the holder saw it.
        public let name: String
    }

    public struct Amount: Codable, Hashable, Sendable {
        public let minorUnits: Int64
        /// ISO 4217, three letters.
        public let currency: String
    }

    /// A prompt, word for word.
    public struct Prompt: Codable, Hashable, Sendable {
        public let text: String
        /// `ussd:africastalking`, `ussd:hlr`, `simulator`.
        public let channel: String
        /// Milliseconds since 1970-01-01 UTC, as all times here.
        public let shownAt: Int64
    }

    /// How the payment ended for the holder.
    public enum Answer: String, Codable, Sendable, CaseIterable {
        /// The right code came.
        case approved
        /// The holder said no, also after a code and before the issuer's verdict.
        case denied
        /// A code came, or none, and the issuer or a reviewer decided against it.
        case declined
        /// Nothing came in time, or the merchant ended it before a decision.
        case unanswered
    }

    /// Of this form: 1.
    public let version: Int
    public let payment: String
    /// Whether it moved real money.
    public let live: Bool
    public let merchant: Merchant
    public let amount: Amount
    /// First six and last four.
    public let card: String
    /// `+233…567`; `nil` where nobody could be asked.
    public let phone: String?
    /// What the merchant signed: the request that made the payment, and the one that ended it before a decision. `nil` where
    /// it signed neither.
    public let requests: [MerchantRequest]?
    public let createdAt: Int64
    /// What was shown last; `nil` when nothing was.
    public let prompt: Prompt?
    /// A, B or D (docs/oopa.md): how the last code came; `nil` when none came.
    public let profile: CodeProfile?
    /// Codes that came.
    public let tries: Int
    public let answer: Answer
    /// When the holder answered: the code came, or the refusal; else when the payment ended.
    public let answeredAt: Int64
    /// When the payment ended for its holder.
    public let decidedAt: Int64?
    /// ISO 8583 field 39 of the issuer's verdict; `nil` when it was not asked.
    public let responseCode: String?

    /// - Parameters:
    ///   - payment: as it stands with the step that ends it.
    ///   - requests: what the merchant signed until then, in order.
    ///   - verdict: the issuer's last.
    ///   - answeredAt: when the code or the refusal came.
    ///   - decidedAt: when the step was taken that ends it.
    public init(
        _ payment: OnlinePayment, answer: Answer, requests: [MerchantRequest] = [], verdict: IssuerVerdict?,
        answeredAt: Timestamp, decidedAt: Timestamp
    ) {
        version = 1
        self.payment = payment.id.rawValue
        live = payment.isLive
        merchant = Merchant(id: payment.merchant.rawValue, name: payment.merchantName)
        amount = Amount(minorUnits: payment.amount.minorUnits, currency: payment.amount.currency.code)
        card = payment.panMasked
        phone = payment.route.phone.map(Self.shortened)
        self.requests = requests.isEmpty ? nil : requests
        createdAt = payment.createdAt.milliseconds
        prompt = payment.prompt.map {
            Prompt(text: $0.text, channel: $0.channel, shownAt: $0.at.milliseconds)
        }
        profile = payment.profile
        tries = payment.attempts
        self.answer = answer
        self.answeredAt = answeredAt.milliseconds
        self.decidedAt = decidedAt.milliseconds
        responseCode = verdict?.responseCode
    }

    /// First four characters and last three digits.
    static func shortened(_ phone: String) -> String {
        phone.count < 10 ? "…" : phone.prefix(4) + "…" + phone.suffix(3)
    }
}
