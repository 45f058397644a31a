public import SmartCard

/// A command that the card understood and refused.
public struct CardRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// What we asked for, `INSTALL [for personalization] of A0000000031010`.
    public let asked: String
    /// What the card answered.
    public let status: StatusWord
    /// What the person can do next.
    public let advice: String

    public init(asked: String, status: StatusWord, advice: String? = nil) {
        self.asked = asked
        self.status = status
        self.advice = advice ?? Self.usualAdvice(for: status)
    }

    public var description: String { "the card refused \(asked): \(status). \(advice)" }

    /// What a status word usually asks for (GlobalPlatform Card Specification v2.3.1, 11.1.3 and table 11-10).
    private static func usualAdvice(for status: StatusWord) -> String {
        switch status {
        case .securityStatusNotSatisfied:
            return "Open a secure channel first, at the level that the card wants."
        case .conditionsNotSatisfied:
            return "The life-cycle state of the card or the application does not allow it: see GET STATUS."
        case .secureMessagingDataIncorrect: return "The card has ended the secure channel: open a new one."
        case .authenticationMethodBlocked: return "The card no longer takes authentications; its keys are blocked."
        case .referencedDataNotFound, .fileNotFound: return "The card has no such object: check the AID or tag."
        case .notEnoughMemory: return "Delete what is not needed, or take a larger card."
        case .selectedFileInvalidated: return "The card or application is locked."
        case _ where status.bytesAvailable != nil || status.correctLe != nil:
            return "Wrap the channel so that it follows 61xx and 6Cxx."
        default: return "See the card's own documentation of this status word."
        }
    }
}

/// A rule of GlobalPlatform that an answer, a key or a piece of data breaks. Never holds key bytes.
public struct GlobalPlatformError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Kind: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        private init(_ description: String) { self.description = description }

        /// The answer has not the form that the specification gives it.
        public static let malformedAnswer = Kind("the card's answer is malformed")
        /// The card does not know the keys that it should: it is another card, or not genuine.
        public static let cardNotAuthentic = Kind("the card did not prove that it has its keys")
        /// The card offers another key version than was asked for.
        public static let keyVersionMismatch = Kind("the card answers with another key version")
        /// The card stored another key than was sent.
        public static let checkValueMismatch = Kind("a key check value is wrong")
        /// The card, or this toolkit, does not do this.
        public static let unsupported = Kind("not supported")
        /// The key cannot travel in this form.
        public static let keyNotWrappable = Kind("the key cannot be wrapped for a card")
        /// Data groupings that do not parse, identifiers of a wrong length.
        public static let malformedData = Kind("the data is malformed")
        /// More than the form or the channel holds.
        public static let tooLong = Kind("the data is too long")
    }

    public let kind: Kind
    /// Where: the command, the tag and its offset, the key.
    public let place: String
    /// What the person can do next.
    public let advice: String

    public init(_ kind: Kind, _ place: String, advice: String = "") {
        self.kind = kind
        self.place = place
        self.advice = advice
    }

    public var description: String { "\(kind): \(place)" + (advice.isEmpty ? "" : ". \(advice)") }
}
