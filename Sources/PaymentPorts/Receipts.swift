/// Receipts on their way to holders.
///
/// The audit chain is the list of them: an approval's record is durable with its decision, so no crash loses a receipt, and
/// the decision writes nothing more for it. What is kept is how far the chain was read.
public protocol ReceiptStore: Sendable {
    /// Payments whose holders are still to be told: approved without a chip, or confirmed by one.
    func receiptsDue(limit: Int) async throws -> ReceiptsDue
    /// All that were due up to this record of the audit chain are handed over. An earlier record than last time changes
    /// nothing.
    func endReceipts(upTo record: Int64) async throws
}

public struct ReceiptsDue: Hashable, Sendable {
    /// In the order in which they were approved.
    public let payments: [PaymentID]
    /// The record of the audit chain up to which these are all.
    public let record: Int64

    public init(payments: [PaymentID], record: Int64) {
        self.payments = payments
        self.record = record
    }
}
