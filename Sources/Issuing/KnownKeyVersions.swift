import PaymentPorts
import Synchronization

/// The key versions as this process knows them: read once, and again when the ledger says that they changed.
final class KnownKeyVersions: Sendable {
    private let store: any KeyVersionStore
    private let read = Mutex<KeyVersions?>(nil)

    init(_ store: any KeyVersionStore) { self.store = store }

    func last() async throws -> KeyVersions {
        if let known = read.withLock({ $0 }) { return known }
        return try await reload()
    }

    func reload() async throws -> KeyVersions {
        let versions = try await store.keyVersions()
        read.withLock { $0 = versions }
        return versions
    }
}
