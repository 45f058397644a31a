public import PaymentPorts
import Synchronization

/// The way to an issuer that loses calls and answers: nobody can tell whether a call was done.
public final class FlakyIssuer: IssuerService {
    public enum Fault: Sendable {
        /// The call is lost: nothing was done.
        case lostCall
        /// It was done, and the answer is lost.
        case lostAnswer
        /// Nothing was done, and the error is none of an issuer's: a token or a disk beside it failed.
        case breakdown
    }

    private let issuer: any IssuerService
    private let fault: Mutex<@Sendable () -> Fault?>

    /// - Parameter fault: asked once for each call.
    public init(_ issuer: any IssuerService, fault: @escaping @Sendable () -> Fault?) {
        self.issuer = issuer
        self.fault = Mutex(fault)
    }

    /// From now on.
    public func fail(_ fault: @escaping @Sendable () -> Fault?) { self.fault.withLock { $0 = fault } }

    private func pass<Value: Sendable>(_ call: () async throws -> Value) async throws -> Value {
        let fault = fault.withLock { $0 }()
        if fault == .breakdown {
            throw StoreError(.unavailable, "the books beside the line", advice: "Try again")
        }
        if fault == .lostCall { throw IssuerServiceError(.noAnswer, "the call was lost") }
        let value = try await call()
        if fault == .lostAnswer { throw IssuerServiceError(.noAnswer, "the answer was lost") }
        return value
    }

    public func sealingKeys() async throws -> [CodeSealingKey] { try await pass { try await issuer.sealingKeys() } }

    public func checkFunds(_ inquiry: FundsInquiry) async throws -> HolderRoute {
        try await pass { try await issuer.checkFunds(inquiry) }
    }

    public func authorize(_ request: CodeAuthorization) async throws -> IssuerVerdict {
        try await pass { try await issuer.authorize(request) }
    }

    public func capture(_ payment: PaymentID, minorUnits: Int64?) async throws -> IssuerStanding {
        try await pass { try await issuer.capture(payment, minorUnits: minorUnits) }
    }

    public func refund(_ payment: PaymentID, minorUnits: Int64?, key: String) async throws -> IssuerStanding {
        try await pass { try await issuer.refund(payment, minorUnits: minorUnits, key: key) }
    }

    public func reverse(_ payment: PaymentID, reason: String) async throws -> IssuerStanding {
        try await pass { try await issuer.reverse(payment, reason: reason) }
    }

    public func inquire(_ payment: PaymentID) async throws -> IssuerStanding {
        try await pass { try await issuer.inquire(payment) }
    }

    public func cards(ofPhone phone: String) async throws -> [HolderCard] {
        try await pass { try await issuer.cards(ofPhone: phone) }
    }

    public func block(_ card: CardID, fromPhone phone: String) async throws {
        try await pass { try await issuer.block(card, fromPhone: phone) }
    }

    public func setLanguage(_ language: String, ofPhone phone: String) async throws {
        try await pass { try await issuer.setLanguage(language, ofPhone: phone) }
    }
}
