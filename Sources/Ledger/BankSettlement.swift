public import CardData
import GRDB
public import PaymentPorts

/// The accounts that a merchant's money moves between.
struct SettlementAccounts {
    let merchant: String
    let issuer: String
    let payout: String

    init(_ merchant: MerchantID, _ currency: Currency, isLive: Bool) {
        let prefix = Self.prefix(isLive: isLive)
        self.merchant = "\(prefix)merchant:\(merchant):\(currency.code)"
        issuer = "\(prefix)issuer:\(currency.code)"
        payout = "\(prefix)payout:\(currency.code)"
    }

    static func prefix(isLive: Bool) -> String { isLive ? "" : "test:" }
}

extension BankDatabase: SettlementStore {
    public func owed(to merchant: MerchantID, isLive: Bool) async throws -> [Money] {
        try await read { db in
            _ = try MerchantTable.get(merchant, db)
            let prefix = "\(SettlementAccounts.prefix(isLive: isLive))merchant:\(merchant):"
            return try db.all(
                "SELECT balance, currency FROM account WHERE id = ? || currency ORDER BY currency", [prefix]
            ) { Money(minorUnits: try $0.next(), currency: try $0.currency()) }
        }
    }

    public func statement(
        of merchant: MerchantID, isLive: Bool, currency: Currency
    ) async throws -> [Posting] {
        try await read { db in
            _ = try MerchantTable.get(merchant, db)
            return try PostingTable.all(
                of: SettlementAccounts(merchant, currency, isLive: isLive).merchant, db)
        }
    }

    public func payOut(
        _ amount: Money, to merchant: MerchantID, reference: String, at time: Timestamp
    ) async throws {
        try await write { change in
            try requireText(reference)
            _ = try MerchantTable.get(merchant, change.db)
            let request = "\(merchant) \(amount.minorUnits) \(amount.currency.code)"
            if try change.isRepeat(.payout, key: reference, request: request) { return }
            let accounts = SettlementAccounts(merchant, amount.currency, isLive: true)
            let owed =
                try change.db.first(
                    "SELECT balance FROM account WHERE id = ?", [accounts.merchant]
                ) { try $0.next(Int64.self) } ?? 0
            guard amount.minorUnits > 0, amount.minorUnits <= owed else {
                throw StoreError(
                    .conflict, "payout of \(amount) to merchant \(merchant)",
                    advice: "Owed are \(Money(minorUnits: owed, currency: amount.currency))")
            }
            let facts = try change.book(
                .payout, amount.minorUnits, from: accounts.merchant,
                to: change.ownAccount(accounts.payout, amount.currency, at: time), key: reference, request: request,
                at: time)
            try change.audit(.merchantPaid, merchant.rawValue, facts.and(["reference": .text(reference)]), at: time)
        }
    }
}
