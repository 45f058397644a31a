import ECardTesting
import KeyCustody
import PKCS11
import Testing

struct ConformanceTests {
    @Test("SoftHSM is a key store", arguments: KeyStoreConformance.all)
    func softHSM(_ check: KeyStoreConformance.Case) async throws {
        try await check.run(TemporaryToken().open())
    }

    @Test("So it is with a single session", arguments: KeyStoreConformance.all)
    func singleSession(_ check: KeyStoreConformance.Case) async throws {
        try await check.run(TemporaryToken().open(poolSize: 1))
    }
}
