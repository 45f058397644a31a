public import KeyCustody

/// Which token is meant. Never a slot number: modules give those out anew (SoftHSM issue 382).
public enum TokenSelector: Hashable, Sendable {
    /// `CK_TOKEN_INFO.label`
    case label(String)
    /// `CK_TOKEN_INFO.serialNumber`
    case serial(String)
    /// A label or a serial number, as people type it. What is the one of one token and the other of another chooses neither.
    case name(String)
    /// What a `pkcs11:` URI says of token, slot and library (RFC 7512).
    case uri(PKCS11URI)

    /// A `pkcs11:` URI, or else a label or serial number, as people type it.
    ///
    /// - Throws: ``KeyStoreError`` `.invalidArgument` when it begins as a URI and is none.
    public init(_ text: String) throws(KeyStoreError) {
        self = text.lowercased().hasPrefix("pkcs11:") ? .uri(try PKCS11URI(text)) : .name(text)
    }
}

extension TokenSelector: CustomStringConvertible {
    public var description: String {
        switch self {
        case .label(let label): "token label '\(label)'"
        case .serial(let serial): "token serial '\(serial)'"
        case .name(let name): "token label or serial '\(name)'"
        case .uri(let uri):
            uri.wanted.isEmpty
                ? "any token" : "token with " + uri.wanted.map { "\($0.name) '\($0.value)'" }.joined(separator: ", ")
        }
    }
}

extension TokenSelector {
    /// Whether this token is meant, perhaps among others.
    public func matches(_ token: TokenInfo, of module: PKCS11Module.Info) -> Bool {
        switch self {
        case .label(let label): token.label == label
        case .serial(let serial): token.serial == serial
        case .name(let name): token.label == name || token.serial == name
        case .uri(let uri): uri.matches(token, of: module)
        }
    }

    /// The one initialized token that matches.
    ///
    /// - Throws: ``KeyStoreError`` `.tokenNotFound`, naming what is there, or the candidates when several match.
    func choose(in module: PKCS11Module) throws(KeyStoreError) -> TokenInfo {
        if case .uri(let uri) = self { try uri.requireChoosable() }
        let tokens = try module.tokens().filter { $0.flags.contains(.initialized) }
        let matching = tokens.filter { matches($0, of: module.info) }
        if let token = matching.first, matching.count == 1 { return token }
        let advice =
            if matching.count > 1 {
                "\(matching.count) tokens match: \(Self.list(matching)). Choose one by its serial: pkcs11:serial=…"
            } else if tokens.isEmpty {
                "\(module.path) has no initialized token"
            } else {
                "\(module.path) has \(Self.list(tokens))"
            }
        throw KeyStoreError(.tokenNotFound, call: "find \(self)", advice: advice)
    }

    private static func list(_ tokens: [TokenInfo]) -> String {
        let names = tokens.prefix(8).map { "'\($0.label)' (serial \($0.serial))" }.joined(separator: ", ")
        return tokens.count > 8 ? names + " and \(tokens.count - 8) more" : names
    }
}
