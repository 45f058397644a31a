import ByteCoding
import Foundation
public import KeyCustody
public import PaymentPorts

/// Texts of messages at rest: sealed under the delivery key, opened only inside the HSM.
public enum MessageVault {
    /// IV (12) ‖ AES-256-GCM ciphertext ‖ tag (16) over the texts by language, bound to the message's reference.
    public static func seal(
        _ texts: [String: String], reference: String, keyVersion: Int, in session: any KeySession
    ) throws -> SealedText {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var clear = Array(try encoder.encode(texts))
        defer { SecretBytes.wipe(&clear) }
        let iv = try session.random(ivLength)
        let cipher = Cipher.aesGCM(iv: iv, additionalData: label(reference))
        return SealedText(
            sealed: iv + (try session.encrypt(clear, with: try session.key(.delivery, keyVersion), cipher)),
            keyVersion: keyVersion)
    }

    /// The text in the message's language; in English where there is none in it.
    /// - Throws: `KeyStoreError` when it was changed or belongs to another message.
    public static func open(_ message: SealedMessage, in session: any KeySession) throws -> String {
        let sealed = message.text.sealed
        let cipher = Cipher.aesGCM(iv: Array(sealed.prefix(ivLength)), additionalData: label(message.reference))
        var clear = try session.decrypt(
            Array(sealed.dropFirst(ivLength)), with: try session.key(.delivery, message.text.keyVersion), cipher)
        defer { SecretBytes.wipe(&clear) }
        let texts = try JSONDecoder().decode([String: String].self, from: Data(clear))
        guard let text = texts[message.language] ?? texts["en"] else {
            throw StoreError(.corrupt, "message \(message.reference)", advice: "Run 'ecard ledger verify'")
        }
        return text
    }

    private static let ivLength = 12

    private static func label(_ reference: String) -> [UInt8] {
        Array("ecard message 1".utf8) + [0] + Array(reference.utf8)
    }
}

/// The issuer's messages, opened one by one inside the HSM on their way out.
public struct IssuerMessages: MessageQueueStore {
    private let keys: any KeyStore
    private let store: any SealedMessageStore

    public init(keys: any KeyStore, store: any SealedMessageStore) {
        self.keys = keys
        self.store = store
    }

    public var bell: MessageBell { store.bell }

    public func messagesWaiting() async throws -> [MessageChannel: Int] { try await store.messagesWaiting() }

    public func messagesDue(
        at time: Timestamp, limit: Int, by channel: MessageChannel?
    ) async throws -> [QueuedMessage] {
        let due = try await store.sealedMessagesDue(at: time, limit: limit, by: channel)
        if due.isEmpty { return [] }
        let opened = try await keys.withSession { session in
            try due.map { sealed, _ in
                do {
                    return try MessageVault.open(sealed, in: session) as String?
                } catch let error as KeyStoreError {
                    guard error.kind == .invalidCiphertext else { throw error }
                    return nil
                }
            }
        }
        var messages: [QueuedMessage] = []
        for ((sealed, attempts), body) in zip(due, opened) {
            guard let body else {
                // Changed behind our back: it keeps no other from leaving.
                try await store.messageFailed(sealed.reference, reason: "does not open", retryAt: nil, at: time)
                continue
            }
            messages.append(
                QueuedMessage(
                    message: OutgoingMessage(
                        kind: sealed.kind, recipient: sealed.recipient, body: body, reference: sealed.reference),
                    attempts: attempts))
        }
        return messages
    }

    public func messageBegun(_ reference: String, at time: Timestamp) async throws {
        try await store.messageBegun(reference, at: time)
    }

    public func messagesSent(_ references: [String], at time: Timestamp) async throws {
        try await store.messagesSent(references, at: time)
    }

    public func messageFailed(
        _ reference: String, reason: String, retryAt: Timestamp?, at time: Timestamp
    ) async throws {
        try await store.messageFailed(reference, reason: reason, retryAt: retryAt, at: time)
    }
}
