/// What a sender must know of a failure. Its description holds no secret.
protocol DeliveryFailure: Error, CustomStringConvertible {
    /// Whether another try cannot end differently.
    var isFinal: Bool { get }
    /// Whether another try could bring a message a second time. Where not, even what leaves at most once may be tried again.
    var mayHaveArrived: Bool { get }
}

extension OutboxError: DeliveryFailure {
    var isFinal: Bool { kind == .badReference }
    /// The same reference is never delivered twice.
    var mayHaveArrived: Bool { false }
}

/// Why a gateway did not take a message. Never holds what a message says, a key or a password.
public struct DeliveryError: DeliveryFailure, Hashable, Sendable {
    public enum Kind: Hashable, Sendable {
        /// No connection came about, so nothing left.
        case unreachable
        /// The gateway said that it does not take messages now, and took this one not.
        case unavailable
        /// The gateway does not let us in: a wrong key or password.
        case unauthorized
        /// The gateway will not deliver to this recipient: trying again changes nothing.
        case refused
        /// No answer in time, or the connection broke off, or the gateway failed with it: the message may have arrived.
        case noAnswer
        /// An answer that this gateway never gives: the message may have arrived.
        case garbled
        /// No gateway is configured for recipients of this kind.
        case noGateway
    }

    public let kind: Kind
    /// The gateway, and the step or field: `kannel: answer`.
    public let place: String
    public let reason: String
    /// What the person who runs this can do.
    public let advice: String

    public init(_ kind: Kind, place: String, reason: String, advice: String = "") {
        self.kind = kind
        self.place = place
        self.reason = reason
        self.advice = advice
    }

    /// Whether another try cannot end differently.
    public var isFinal: Bool { kind == .refused }

    /// Whether the gateway may have the message in spite of the error.
    public var mayHaveArrived: Bool {
        switch kind {
        case .noAnswer, .garbled: true
        case .unreachable, .unavailable, .unauthorized, .refused, .noGateway: false
        }
    }

    public var description: String { "\(place): \(reason)" + (advice.isEmpty ? "" : ". \(advice)") }
}
