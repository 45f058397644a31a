/// Why a desk did not do what it was asked. None of it tells a merchant more of holder or card than the merchant sent.
public struct DeskError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Kind: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        private init(_ description: String) { self.description = description }

        public static let notFound = Kind("not found")
        /// What was asked can never be done.
        public static let invalid = Kind("not possible")
        /// The payment stands otherwise: the loser of a race is told how.
        public static let conflict = Kind("not possible now")
        public static let forbidden = Kind("not allowed")
        /// A cap is reached.
        public static let tooMany = Kind("too many")
        /// It was asked of the issuer and no answer came: it is done or not, and the bank inquires.
        public static let inDoubt = Kind("in doubt")
    }

    public let kind: Kind
    public let reason: String
    public let advice: String

    public init(_ kind: Kind, _ reason: String, advice: String) {
        self.kind = kind
        self.reason = reason
        self.advice = advice
    }

    public var description: String { "\(kind): \(reason). \(advice)" }
}
