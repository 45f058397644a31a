public import PKCS11

/// The kinds of tokens that suites run on, each with a token that the tests of a process share.
public enum TestToken: String, CaseIterable, Sendable, CustomStringConvertible {
    case softHSM = "SoftHSM"
    case openCryptoki = "opencryptoki"

    public var description: String { rawValue }

    /// Those that can be had here. Why one cannot is printed.
    public static var available: [TestToken] {
        OpenCryptoki.isAvailable ? allCases : [.softHSM]
    }

    /// The shared token, open.
    public func store() throws -> PKCS11KeyStore {
        switch self {
        case .softHSM: try Self.softHSMStore.get()
        case .openCryptoki: try Self.openCryptokiStore.get()
        }
    }

    private static let softHSMStore = Result { try TemporaryToken().open() }
    /// The second token behind ``openCryptoki``, for children that work with it too.
    public static func secondToken() throws -> OpenCryptoki.Token { try madeSecondToken.get() }

    private static let madeSecondToken = Result { try OpenCryptoki.Token() }

    private static let openCryptokiStore = Result {
        let token = try secondToken()
        // One batch at a time: nobody knows what of threads this module stands.
        return try PKCS11KeyStore(
            module: PKCS11Module.load(OpenCryptoki.modulePath), token: .label(token.label), pin: .given(token.pin),
            poolSize: 1)
    }
}
