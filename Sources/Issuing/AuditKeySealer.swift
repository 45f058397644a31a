public import KeyCustody
public import PaymentPorts

/// Seals audit records with HMAC-SHA-256 under the token's audit key.
public struct AuditKeySealer: AuditSealer {
    private let store: any KeyStore

    public init(_ store: any KeyStore) { self.store = store }

    public func seal(_ record: [UInt8], keyVersion: Int) throws -> [UInt8] {
        try store.withSessionWaiting { session in
            try session.sign(record, with: try session.key(.audit, keyVersion), .hmacSHA256)
        }
    }

    public func verify(_ seal: [UInt8], of record: [UInt8], keyVersion: Int) throws -> Bool {
        try store.withSessionWaiting { session in
            try session.verify(seal, of: record, with: try session.key(.audit, keyVersion), .hmacSHA256)
        }
    }
}
