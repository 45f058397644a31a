extension Preflight {
    /// Something the toolkit does with a token, and promises about it. A token that lacks a mechanism behind it is
    /// refused for it: nothing is done in host memory instead.
    public enum Ability: String, CaseIterable, Hashable, Sendable {
        /// Whatever else a token can, keys must stay in it.
        case keys = "keys that cannot be read"
        case codes = "secret codes, PAN index, audit chain"
        /// CVV under a CVK that a key ceremony brought in.
        case cardValues = "card values under an imported CVK"
        case rsa = "keys wrapped to an RSA key"
        case panSealing = "PANs sealed at rest"
        case cardKeys = "card and session keys derived in the token"
        case personalization = "card keys wrapped into the chip"
        case codeSealing = "codes opened that a telephone sealed"
        case evidence = "evidence signed"
        case keyStorage = "keys kept outside the token, wrapped"

        /// What it means that a token lacks it.
        public var consequence: String {
            switch self {
            case .keys: "a key would not be safe in this token"
            case .codes: "codes could not be hashed or checked, nor audit records sealed"
            case .cardValues: "no card value could be computed"
            case .rsa: "a new chip could not be given its first keys"
            case .panSealing: "PANs would lie in the ledger in clear"
            case .cardKeys: "card keys and session keys would be computed in host memory"
            case .personalization: "card keys would leave the token in clear"
            case .codeSealing: "a code that was sealed to the issuer could not be opened"
            case .evidence: "nobody could prove what a holder was shown and answered"
            case .keyStorage: "no key could be kept outside the token"
            }
        }
    }
}
