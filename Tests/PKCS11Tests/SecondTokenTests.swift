import ByteCoding
import ECardTesting
import KeyCustody
import PKCS11
import Testing

/// Another vendor's token, which lacks what many real ones lack: what it can do it does as SoftHSM does, and the rest is
/// refused by name.
@Suite(.serialized, .enabled(if: OpenCryptoki.isAvailable)) struct SecondTokenTests {
    @Test("It is a key store, as far as its mechanisms go")
    func conformance() async throws {
        let store = try TestToken.openCryptoki.store()
        var refused: [String] = []
        var failed = 0
        for check in KeyStoreConformance.all {
            do {
                guard let refusal = try await check.runOrRefusal(on: store) else { continue }
                print("'\(check)' is refused: \(refusal)")
                refused.append(check.description)
            } catch {
                Issue.record("\(check): \(error)")
                failed += 1
            }
        }
        let all = KeyStoreConformance.all.count
        print(
            "claim: cases of the key store's suite on the second token: done, refused by mechanism, failed | "
                + "\(all - refused.count - failed), \(refused.count), \(failed) | failed: 0 | "
                + (failed == 0 ? "holds" : "fails"))
    }

    @Test("An RSA key takes wrapped keys, which arrive as they were", arguments: TestToken.available)
    func rsa(_ kind: TestToken) throws {
        let other = try RSAKeyPair()
        let publicKey = try other.publicKey()
        let value = (0..<48).map { UInt8($0) }
        let blob = try kind.store().withSessionBlocking { session in
            let key = try session.importRSAPublicKey(publicKey, usage: .wrap)
            let secret = try session.importSecret(
                KeyTemplate(.generic(bytes: 48), [], extractable: true), value: SecretBytes(value))
            return try session.wrap(secret, under: key, .rsaOAEPSHA1)
        }
        #expect(blob.count == 256)
        #expect(try other.openOAEPSHA1(blob) == value)
    }

    @Test("A key that must stay is not wrapped to anybody", arguments: TestToken.available)
    func rsaRefusesWhatStays(_ kind: TestToken) throws {
        let publicKey = try RSAKeyPair().publicKey()
        try kind.store().withSessionBlocking { session in
            let key = try session.importRSAPublicKey(publicKey, usage: .wrap)
            let secret = try session.generate(KeyTemplate(.generic(bytes: 48), .sign))
            let error = #expect(throws: KeyStoreError.self) { try session.wrap(secret, under: key, .rsaOAEPSHA1) }
            #expect(error?.kind == .notPermitted)
        }
    }

    @Test("Preflight executes everything and says what it means that some is missing")
    func preflight() async throws {
        let store = try TestToken.openCryptoki.store()
        // Of other tests' keys of ours some may come or go meanwhile.
        func labels() async throws -> [String] {
            try await store.withSession { try $0.keys(prefix: "").map(\.label).filter { !$0.hasPrefix("ecard.") } }
        }
        let before = try await labels()
        let preflight = try await store.preflight()
        #expect(!preflight.passed)
        for row in preflight.failures {
            guard case .missing(let code) = row.result else {
                Issue.record("\(row)")
                continue
            }
            #expect(code.contains("CKR_"), "\(row)")
        }
        let able = preflight.abilities.filter(\.failures.isEmpty).map(\.ability)
        #expect(able == [.keys, .codes, .cardValues, .rsa])
        let lacking = Set(preflight.failures.map(\.mechanism))
        #expect(
            lacking.isSuperset(of: [
                "CKM_AES_GCM", "CKM_AES_CMAC", "CKM_DES3_ECB_ENCRYPT_DATA", "CKM_AES_ECB_ENCRYPT_DATA",
                "CKM_AES_KEY_WRAP", "CKM_EC_KEY_PAIR_GEN", "CKM_ECDH1_DERIVE", "CKM_ECDSA",
            ]))
        #expect(try await labels() == before, "nothing stays in the token")
        print(
            "claim: mechanisms tried on the second token | \(preflight.rows.count), of which \(preflight.failures.count) "
                + "refused by name | | info")
    }
}
