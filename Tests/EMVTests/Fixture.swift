import ByteCoding
import ECardTesting
import EMV
import KeyCustody
import PKCS11
import Testing

/// One SoftHSM token for all tests of this target; every test uses session objects only.
enum Fixture {
    static let store = Result { try TemporaryToken().open() as any KeyStore }

    /// Runs `body` with a session of another token, for what needs no derivation.
    static func withSession<Result>(on token: TestToken, _ body: (any KeySession) throws -> Result) throws -> Result {
        try token.store().withSessionBlocking(body)
    }

    /// Runs `body` with a session of the token.
    static func withSession<Result>(_ body: (any KeySession) throws -> Result) throws -> Result {
        try store.get().withSessionBlocking(body)
    }
}

/// Bytes from a literal of this file; an odd one fails the test.
func hex(_ text: String, _ place: SourceLocation = #_sourceLocation) -> [UInt8] {
    guard let bytes = [UInt8](hex: text) else {
        Issue.record("'\(text)' is not hexadecimal", sourceLocation: place)
        return []
    }
    return bytes
}

extension KeySession {
    /// A published key as a session object.
    func imported(_ value: [UInt8], _ usage: KeyUsage) throws -> KeyHandle {
        let type: KeyType = value.count == 16 ? .des2 : .des3
        return try importSecret(KeyTemplate(type, usage), value: SecretBytes(value))
    }

    /// A published two-key DES key in the two pieces of the retail MAC.
    func importedMACKey(_ value: [UInt8]) throws -> RetailMACKey {
        let left = Array(value.prefix(8))
        return RetailMACKey(
            pair: try imported(value, [.encrypt]), left: try imported(left + left + left, [.encrypt]))
    }

    func destroy(_ key: RetailMACKey) throws {
        try destroy(key.pair)
        try destroy(key.left)
    }

    /// Runs `body` with a published two-key DES key.
    func withMACKey<Result>(_ value: [UInt8], _ body: (RetailMACKey) throws -> Result) throws -> Result {
        let key = try importedMACKey(value)
        defer { try? destroy(key) }
        return try body(key)
    }
}
