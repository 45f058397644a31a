import ByteCoding
import ECardTesting
import KeyCustody
import PKCS11

/// One SoftHSM token for the tests of this target, with an issuer's KMC of known value.
struct Token: Sendable {
    static let kmcLabel = "kmc"
    /// So that a test can compute by itself what the HSM must derive.
    static let kmcValue = bytes("A0B1C2D3E4F5061728394A5B6C7D8E9F")

    let keyStore: any KeyStore

    static func shared() throws -> Token { try result.get() }

    private static let result = Result<Token, any Error> {
        let keyStore = try TemporaryToken().open()
        try keyStore.withSessionBlocking { session in
            let template = KeyTemplate(persistent: kmcLabel, .aes(bytes: 16), .derive)
            _ = try session.importSecret(template, value: SecretBytes(kmcValue))
        }
        return Token(keyStore: keyStore)
    }

    /// A session object of known value.
    static func key(
        _ hex: String, _ type: KeyType, _ usage: KeyUsage, extractable: Bool = false, in session: any KeySession
    ) throws -> KeyHandle {
        try session.importSecret(KeyTemplate(type, usage, extractable: extractable), value: SecretBytes(bytes(hex)))
    }
}
