public import ByteCoding
import Crypto
import PaymentPorts

/// API keys of merchants: `sk_live_` or `sk_test_` and 256 random bits in base64url. Shown once; the bank keeps a digest, which
/// nothing but a guess of all 256 bits leads back from.
public struct MerchantSecretKey: Sendable {
    /// ASCII.
    public let text: SecretBytes
    /// SHA-256 of the text: 32 bytes.
    public let digest: [UInt8]
    /// How it begins and ends, for people to tell keys apart.
    public let hint: String

    public init(isLive: Bool) {
        var generator = SystemRandomNumberGenerator()
        let bits = (0..<4).flatMap { _ in (generator.next() as UInt64).bigEndianBytes }
        let prefix = isLive ? "sk_live_" : "sk_test_"
        var text = Array((prefix + bits.base64URL).utf8)
        digest = Array(SHA256.hash(data: text))
        hint = "\(prefix)…\(String(decoding: text.suffix(6), as: UTF8.self))"
        self.text = SecretBytes(wiping: &text)
    }
}
