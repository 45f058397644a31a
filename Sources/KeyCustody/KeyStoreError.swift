/// What went wrong at the HSM, where, and what to do next. Never holds a PIN or key bytes.
public struct KeyStoreError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Kind: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        private init(_ description: String) { self.description = description }

        /// The library is missing or is no PKCS #11 module.
        public static let moduleUnusable = Kind("the PKCS#11 module cannot be used")
        /// No token matches, or more than one does.
        public static let tokenNotFound = Kind("no such token")
        /// The PIN was refused.
        public static let pinIncorrect = Kind("the token refused the PIN")
        /// The PIN is locked; the security officer must unlock it.
        public static let pinLocked = Kind("the token's PIN is locked")
        /// The token is gone.
        public static let deviceRemoved = Kind("the token was removed")
        /// Session or login were lost and could not be had again.
        public static let sessionLost = Kind("the session with the token was lost")
        /// The time limit passed; the call may still be under way.
        public static let timedOut = Kind("the token does not answer in time")
        /// No key with this label.
        public static let keyNotFound = Kind("no such key")
        /// The token does not do what was asked.
        public static let mechanismUnavailable = Kind("the token lacks a mechanism")
        /// The key does not allow what was asked.
        public static let notPermitted = Kind("the key does not permit this")
        /// The arguments are not what the mechanism takes.
        public static let invalidArgument = Kind("the arguments do not fit")
        /// Ciphertext or wrapped key did not authenticate or has no valid form.
        public static let invalidCiphertext = Kind("the encrypted data is not valid")
        /// Anything else the token reported.
        public static let failed = Kind("the token reported a failure")
    }

    public let kind: Kind
    /// The call that failed, `C_DeriveKey`.
    public let call: String
    /// The return value's name and number, `CKR_MECHANISM_INVALID (0x70)`; empty when no call failed.
    public let code: String
    /// The key it was about, where there is one.
    public let key: String?
    /// What the person can do next.
    public let advice: String

    public init(_ kind: Kind, call: String, code: String = "", key: String? = nil, advice: String = "") {
        self.kind = kind
        self.call = call
        self.code = code
        self.key = key
        self.advice = advice
    }

    public var description: String {
        var text = kind.description
        if let key { text += " (key '\(key)')" }
        text += ": \(call)"
        if !code.isEmpty { text += " answered \(code)" }
        if !advice.isEmpty { text += ". \(advice)" }
        return text
    }
}
