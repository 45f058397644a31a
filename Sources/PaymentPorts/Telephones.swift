/// A telephone that a customer is to answer on, until the code that was sent to it is given back.
public struct PhoneChallenge: Hashable, Sendable {
    public let customer: CustomerID
    /// E.164.
    public let phone: String
    /// The keyed hash of that code, with the attempts to give it back.
    public var code: OneTimeCode
    public let expiresAt: Timestamp

    public init(customer: CustomerID, phone: String, code: OneTimeCode, expiresAt: Timestamp) {
        self.customer = customer
        self.phone = phone
        self.code = code
        self.expiresAt = expiresAt
    }
}

/// Why a customer is believed to answer on a telephone.
public enum PhoneProof: Hashable, Sendable {
    /// The code that was sent to it came back.
    case code
    /// A person of the issuer's saw to it, for a reason.
    case verified(by: String, reason: String)
}

/// The telephones of customers: whoever answers there approves payments.
public protocol TelephoneStore: Sendable {
    /// Opens a challenge in place of an earlier one, with the message that carries its code.
    /// - Throws: ``StoreError`` `.notFound`.
    func open(_ challenge: PhoneChallenge, message: SealedMessage, at time: Timestamp) async throws
    /// Counts an attempt to give the code back, before the code is looked at.
    /// - Returns: `nil` when there is no challenge any more: it expired, or its attempts are used up.
    func countPhoneAttempt(of customer: CustomerID, at time: Timestamp) async throws -> PhoneChallenge?
    /// Changes the telephone and ends its challenge. A repeat changes nothing.
    /// - Parameter notice: for the telephone of before.
    /// - Throws: ``StoreError`` `.notFound`; `.conflict` for a proof by code without a challenge for this telephone.
    func setPhone(
        _ phone: String, of customer: CustomerID, proof: PhoneProof, notice: SealedMessage?, at time: Timestamp
    ) async throws
}
