public import KeyCustody
public import PaymentPorts

/// Seals audit records with HMAC-SHA-256 under the token's audit key: the issuer's, or another party's of the same kind.
public struct AuditKeySealer: AuditSealer {
    private let store: any KeyStore
    private let label: @Sendable (Int) -> String

    /// - Parameter label: of a version of the key.
    public init(
        _ store: any KeyStore, label: @escaping @Sendable (Int) -> String = { IssuerKey.audit.label($0) }
    ) {
        self.store = store
        self.label = label
    }

    public func seal(_ record: [UInt8], keyVersion: Int) throws -> [UInt8] {
        try batch { try $0.seal(record, keyVersion: keyVersion) }
    }

    public func verify(_ seal: [UInt8], of record: [UInt8], keyVersion: Int) throws -> Bool {
        try batch { try $0.verify(seal, of: record, keyVersion: keyVersion) }
    }

    public func batch<Result: Sendable>(
        _ body: @escaping @Sendable (any AuditSealing) throws -> Result
    ) throws -> Result {
        try store.withSessionWaiting { [label] session in try body(Sealing(session: session, label: label)) }
    }

    /// In one borrowed session.
    private struct Sealing: AuditSealing {
        let session: any KeySession
        let label: @Sendable (Int) -> String

        func seal(_ record: [UInt8], keyVersion: Int) throws -> [UInt8] {
            try session.sign(record, with: try session.key(label(keyVersion)), .hmacSHA256)
        }

        func verify(_ seal: [UInt8], of record: [UInt8], keyVersion: Int) throws -> Bool {
            try session.verify(seal, of: record, with: try session.key(label(keyVersion)), .hmacSHA256)
        }
    }
}
