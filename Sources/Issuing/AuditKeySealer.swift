public import KeyCustody
public import PaymentPorts

/// Seals audit records with HMAC-SHA-256 under the token's audit key.
public struct AuditKeySealer: AuditSealer {
    private let store: any KeyStore

    public init(_ store: any KeyStore) { self.store = store }

    public func seal(_ record: [UInt8], keyVersion: Int) throws -> [UInt8] {
        try batch { try $0.seal(record, keyVersion: keyVersion) }
    }

    public func verify(_ seal: [UInt8], of record: [UInt8], keyVersion: Int) throws -> Bool {
        try batch { try $0.verify(seal, of: record, keyVersion: keyVersion) }
    }

    public func batch<Result: Sendable>(
        _ body: @escaping @Sendable (any AuditSealing) throws -> Result
    ) throws -> Result {
        try store.withSessionWaiting { session in try body(Sealing(session: session)) }
    }

    /// In one borrowed session.
    private struct Sealing: AuditSealing {
        let session: any KeySession

        func seal(_ record: [UInt8], keyVersion: Int) throws -> [UInt8] {
            try session.sign(record, with: try session.key(.audit, keyVersion), .hmacSHA256)
        }

        func verify(_ seal: [UInt8], of record: [UInt8], keyVersion: Int) throws -> Bool {
            try session.verify(seal, of: record, with: try session.key(.audit, keyVersion), .hmacSHA256)
        }
    }
}
