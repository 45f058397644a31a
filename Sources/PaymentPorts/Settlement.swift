public import CardData

/// What the bank and a merchant owe each other. Test payments are kept in books of their own and never paid out.
public protocol SettlementStore: Sendable {
    /// What is owed, one amount for each currency.
    func owed(to merchant: MerchantID, isLive: Bool) async throws -> [Money]
    /// Every line of the merchant's account, oldest first: captures, refunds, payouts.
    func statement(of merchant: MerchantID, isLive: Bool, currency: Currency) async throws -> [Posting]
    /// Books what was paid to the merchant. A repeat with the same reference books nothing.
    /// - Parameter reference: of the transfer, as the merchant sees it.
    /// - Throws: ``StoreError`` `.conflict` for more than is owed, `.keyReused` for the same reference with another amount.
    func payOut(_ amount: Money, to merchant: MerchantID, reference: String, at time: Timestamp) async throws
}
