/// What the issuer refuses to do, where, and what to do next. Declines are answers, not these.
public struct IssuingError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Kind: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        private init(_ description: String) { self.description = description }

        /// The request makes no sense.
        public static let invalidRequest = Kind("the request is not valid")
        /// Not in this state.
        public static let conflict = Kind("not possible now")
        /// The card profile has a mistake.
        public static let invalidProfile = Kind("the card profile has a mistake")
        /// The chip is not what it should be.
        public static let unsuitableChip = Kind("this chip cannot be used")
        /// What was read back is not what was written.
        public static let verificationFailed = Kind("verification failed")
    }

    public let kind: Kind
    public let place: String
    public let advice: String

    public init(_ kind: Kind, _ place: String, advice: String = "") {
        self.kind = kind
        self.place = place
        self.advice = advice
    }

    public var description: String { "\(kind): \(place)" + (advice.isEmpty ? "" : ". \(advice)") }
}
