public import ByteCoding
public import KeyCustody
public import PaymentPorts

/// The secrets that webhooks are signed with, at rest: sealed under the bank's webhook key, opened when a webhook is sent.
public enum WebhookVault {
    /// IV (12) ‖ AES-256-GCM ciphertext ‖ tag (16), bound to the endpoint's identifier.
    public static func seal(
        _ secret: SecretBytes, for endpoint: WebhookEndpointID, in session: any KeySession
    ) throws(KeyStoreError) -> [UInt8] {
        let iv = try session.random(ivLength)
        var clear = secret.exposedCopy()
        defer { SecretBytes.wipe(&clear) }
        return iv + (try session.encrypt(clear, with: try session.key(.webhook, 1), cipher(iv, endpoint)))
    }

    /// - Throws: `KeyStoreError` when it was changed or belongs to another endpoint.
    public static func open(_ endpoint: WebhookEndpoint, in session: any KeySession) throws(KeyStoreError)
        -> SecretBytes
    {
        var clear = try session.decrypt(
            Array(endpoint.sealedSecret.dropFirst(ivLength)), with: try session.key(.webhook, 1),
            cipher(Array(endpoint.sealedSecret.prefix(ivLength)), endpoint.id))
        return SecretBytes(wiping: &clear)
    }

    private static let ivLength = 12

    private static func cipher(_ iv: [UInt8], _ endpoint: WebhookEndpointID) -> Cipher {
        .aesGCM(iv: iv, additionalData: Array("ecard webhook 1 \(endpoint)".utf8))
    }
}
