public import CardData
public import PaymentPorts

/// What a merchant asks of the bank. Every call is for one merchant and one mode: another's payment is not there.
public protocol MerchantServices: Sendable {
    /// Announces a payment; durable when it returns.
    /// - Parameter remembering: what a repeat gets, made durable with the payment.
    func create(
        _ order: MerchantOrder, for merchant: Merchant, isLive: Bool,
        remembering: (@Sendable (OnlinePayment) throws -> RememberedRequest)?
    ) async throws -> OnlinePayment
    func payment(_ id: PaymentID, for merchant: Merchant, isLive: Bool) async throws -> OnlinePayment?
    func payments(
        for merchant: Merchant, isLive: Bool, after cursor: PaymentID?, limit: Int
    ) async throws -> [OnlinePayment]
    func cancel(_ id: PaymentID, for merchant: Merchant, isLive: Bool) async throws -> OnlinePayment
    func capture(
        _ id: PaymentID, minorUnits: Int64?, for merchant: Merchant, isLive: Bool
    ) async throws -> OnlinePayment
    func refund(
        _ id: PaymentID, minorUnits: Int64?, key: String, for merchant: Merchant, isLive: Bool
    ) async throws -> OnlinePayment
}

/// What a merchant wants paid.
public struct MerchantOrder: Sendable {
    public let pan: PAN
    public let expiry: ExpiryDate
    public let name: CardholderName?
    public let amount: Money
    public let capturesLater: Bool
    public let reference: String?
    public let details: String?
    /// Seconds that the holder has; `nil`: as the bank has it.
    public let lifetime: Int64?
}
