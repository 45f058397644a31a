public import CardData

/// Something that is counted, minute by minute, for caps and patterns.
public struct Activity: Hashable, Sendable {
    public enum Kind: String, Sendable, CaseIterable, Codable {
        /// A payment was created.
        case payment
        /// A holder was to be asked.
        case prompt
        /// A code came.
        case code
        /// A code came and was wrong.
        case wrongCode = "wrong_code"
        /// A holder said no.
        case refusal
    }

    /// Whose it is.
    public enum Scope: Hashable, Sendable {
        /// `nil`: of all payments that lead to nobody.
        case card(CardID?)
        /// The first six digits of the PAN (BIN, bank identification number): whoever tries out numbers tries them under one.
        case bin(String)
        case phone(String?)
        case merchant(MerchantID)
        case everywhere
    }

    public let kind: Kind
    public let scope: Scope

    public init(_ kind: Kind, of scope: Scope) {
        self.kind = kind
        self.scope = scope
    }
}

/// An activity over the last `seconds`, counted in whole minutes.
public struct ActivityWindow: Hashable, Sendable {
    public let activity: Activity
    public let seconds: Int64

    public init(_ activity: Activity, seconds: Int64) {
        self.activity = activity
        self.seconds = seconds
    }
}

/// How much of an activity a window may hold.
public struct ActivityCap: Hashable, Sendable {
    public let window: ActivityWindow
    public let limit: Int

    public init(_ window: ActivityWindow, limit: Int) {
        self.window = window
        self.limit = limit
    }
}

public protocol ActivityStore: Sendable {
    /// How often each was counted in its window that ends at `time`.
    func counts(of windows: [ActivityWindow], at time: Timestamp) async throws -> [Int]
    /// What a card's last approved payments asked for, in minor units of one currency, oldest first.
    func approvedAmounts(of card: CardID, in currency: Currency, isLive: Bool, limit: Int) async throws -> [Int64]
    /// Whether one of a card's payments that were approved since, of its last hundred, was made at a merchant of another country. Merchants of whom
    /// nobody said a country are in none.
    func paidAbroad(_ card: CardID, from country: String, since: Timestamp, isLive: Bool) async throws -> Bool
}
