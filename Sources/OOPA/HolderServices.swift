public import ByteCoding
public import PaymentPorts

/// The code as the holder gave it.
public enum GivenCode: Sendable {
    /// Profile A, or D: digits inside the dialogue.
    case digits(SecretBytes)
    /// Profile B: sealed to the issuer by handset or SIM.
    case sealed([UInt8])
}

/// What came of an answer of the holder's.
public enum HolderAnswer: Sendable {
    case paid(OnlinePayment)
    /// Approved, and held until the merchant captures it.
    case held(OnlinePayment)
    /// - Parameter triesLeft: `nil` where that is not known.
    case wrongCode(triesLeft: Int?)
    case declined(OnlinePayment)
    case inReview(OnlinePayment)
    /// Whether it was approved is in doubt: the bank inquires.
    case processing(OnlinePayment)
    /// It was over before: paid, refused, cancelled or too late.
    case over(OnlinePayment)
}

/// What a holder can do on a telephone. The dialogue asks for these and decides nothing by itself.
public protocol HolderServices: Sendable {
    /// Payments that this telephone can answer now, oldest first.
    func pending(phone: String) async throws -> [OnlinePayment]
    /// Writes down what the holder is about to see. Durable when it returns.
    /// - Parameters:
    ///   - payment: one of ``pending(phone:)``.
    ///   - claim: of the turn whose screen this is; written with the step where there is one.
    func show(
        _ payment: OnlinePayment, as text: String, on channel: String, phone: String, claim: TurnClaim?
    ) async throws -> OnlinePayment
    /// - Parameters:
    ///   - claim: of the turn that the code came in; written before or with what is done, and not where nothing is.
    ///   - telling: of the same turn with what it is answered, where that ends the dialogue; may be written with the verdict.
    /// - Throws: `StoreError` `.conflict` when somebody else took the turn; then nothing was done.
    func answer(
        _ id: PaymentID, with code: GivenCode, on channel: String, phone: String, claim: TurnClaim?,
        telling: (@Sendable (HolderAnswer) -> TurnClaim?)?
    ) async throws -> HolderAnswer
    /// Payments that were answered on this telephone and that nobody has collected yet, oldest first.
    func uncollected(phone: String) async throws -> [OnlinePayment]
    /// Refuses a payment, or cancels one that was answered.
    func deny(_ id: PaymentID, on channel: String, phone: String) async throws -> OnlinePayment
    /// The newest that were captured.
    func receipts(phone: String) async throws -> [OnlinePayment]
    func cards(phone: String) async throws -> [HolderCard]
    func block(_ card: CardID, phone: String) async throws
    func setLanguage(_ language: String, phone: String) async throws
}
