import KeyCustody
public import PaymentPorts
import Synchronization

/// The key versions as this process knows them: read once, and again when the ledger says that they changed.
public final class KnownKeyVersions: Sendable {
    private let store: any KeyVersionStore
    private let read = Mutex<KeyVersions?>(nil)

    public init(_ store: any KeyVersionStore) { self.store = store }

    public func last() async throws -> KeyVersions {
        if let known = read.withLock({ $0 }) { return known }
        return try await reload()
    }

    @discardableResult
    public func reload() async throws -> KeyVersions {
        let versions = try await store.keyVersions()
        read.withLock { $0 = versions }
        return versions
    }

    /// Runs `body` with the versions as they are known, and again with those of now while they turn out to be others. A key
    /// is rotated once a year: when that happens between two statements of ours, the second try counts.
    /// - Parameter body: whether it is done; `false` when the ledger said that keys changed.
    public func use(_ body: (KeyVersions) async throws -> Bool) async throws {
        for _ in 0..<Self.tries {
            let known = try await last()
            do {
                if try await body(known) { return }
                try await reload()
            } catch let error as KeyStoreError {
                // A version that was retired, and destroyed, since this process last looked.
                guard error.kind == .keyNotFound else { throw error }
                guard try await reload() != known else { throw error }
            }
        }
        throw StoreError(
            .conflict, "keys were rotated \(Self.tries) times during one payment", advice: "Repeat the payment")
    }

    private static let tries = 8
}
