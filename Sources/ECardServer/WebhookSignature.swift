public import ByteCoding
import Crypto
import Foundation

/// A signing secret of the Standard Webhooks convention (version 1.0.0): `whsec_` and 24 to 64 bytes in base64.
public enum WebhookSecret {
    /// The text that a merchant is shown once.
    public static func text(_ secret: SecretBytes) -> String {
        "whsec_" + secret.withBytes { Data($0).base64EncodedString() }
    }

    /// 32 random bytes.
    public static func random() -> SecretBytes {
        var generator = SystemRandomNumberGenerator()
        var bytes = (0..<4).flatMap { _ in (generator.next() as UInt64).bigEndianBytes }
        return SecretBytes(wiping: &bytes)
    }
}

/// What a message is signed with: `v1,` and HMAC-SHA-256 over `id.timestamp.body` in base64.
enum WebhookSignature {
    /// - Parameter timestamp: seconds since 1970 at this try.
    static func v1(id: String, timestamp: Int64, body: [UInt8], secret: SecretBytes) -> String {
        let key = secret.withBytes { SymmetricKey(data: Data($0)) }
        var mac = HMAC<SHA256>(key: key)
        mac.update(data: Data("\(id).\(timestamp).".utf8))
        mac.update(data: Data(body))
        return "v1," + Data(mac.finalize()).base64EncodedString()
    }
}
