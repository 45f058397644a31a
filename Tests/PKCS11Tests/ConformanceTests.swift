import ECardTesting
import KeyCustody
import PKCS11
import Testing

struct ConformanceTests {
    /// Cases leave nothing behind that another would trip over, so they share a token.
    private static let token = Result { try TemporaryToken() }

    @Test("SoftHSM is a key store", arguments: KeyStoreConformance.all)
    func softHSM(_ check: KeyStoreConformance.Case) async throws {
        try await check.run(Self.token.get().open())
    }

    @Test("So it is with a single session", arguments: KeyStoreConformance.all)
    func singleSession(_ check: KeyStoreConformance.Case) async throws {
        try await check.run(Self.token.get().open(poolSize: 1))
    }
}
