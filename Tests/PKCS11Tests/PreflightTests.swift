import ByteCoding
import ECardTesting
import KeyCustody
import PKCS11
import Testing

struct PreflightTests {
    @Test func softHSM() async throws {
        let store = try TemporaryToken().open()
        let p = try await store.preflight()
        for r in p.rows { print(r.capability, r.mechanism, r.result) }
        #expect(p.passed)
    }
}
