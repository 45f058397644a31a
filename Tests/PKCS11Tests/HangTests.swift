import ByteCoding
import ECardTesting
import KeyCustody
import PKCS11
import Testing

/// Sessions that a fault leaves in a state nobody knows.
extension FaultTests {
    @Test(
        "A session that a failed call may have left with an operation open is not lent again",
        arguments: ["C_Sign =0x150", "C_Sign =0x5", "C_Sign =0x6", "C_Sign =0x2", "C_Sign =0x80000001"])
    func openOperation(_ plan: String) throws {
        let (store, tag) = try storeWithKey()
        // The module's C_SignInit is the real one, so the operation is really open.
        try FaultyModule.plan(plan)
        _ = failure(of: .failed) {
            _ = try store.withSessionBlocking { try $0.sign(message, with: $0.key("code"), .hmacSHA256) }
        }
        #expect(try FaultyModule.calls("C_CloseSession") == 1)
        try FaultyModule.plan("")
        #expect(try store.withSessionBlocking { try $0.sign(message, with: $0.key("code"), .hmacSHA256) } == tag)
        #expect(try FaultyModule.calls("C_Login") == 0, "the login stays")
    }

    @Test("A session on which the token cleanly refused something is lent again")
    func cleanRefusal() throws {
        let (store, tag) = try storeWithKey()
        try FaultyModule.plan("")
        _ = failure(of: .notPermitted) {
            _ = try store.withSessionBlocking { try $0.encrypt([], with: $0.key("code"), .aesECB) }
        }
        #expect(try store.withSessionBlocking { try $0.sign(message, with: $0.key("code"), .hmacSHA256) } == tag)
        #expect(try FaultyModule.calls("C_OpenSession") == 0)
        #expect(try FaultyModule.calls("C_CloseSession") == 0)
    }

    // MARK: Time limit

    private func openStore(limit: Duration) throws -> PKCS11KeyStore {
        try PKCS11KeyStore(
            module: token.module, token: .label(token.label), pin: .given(token.pin), poolSize: 1, timeLimit: limit)
    }

    /// A batch that hangs for longer than any of these tests waits for it.
    private static let hangs = "C_Verify slow 3000"

    @Test("A batch that hangs is given up, and the next one has a session though the pool has one place")
    func hangingCall() async throws {
        let (_, tag) = try storeWithKey()
        let store = try openStore(limit: .milliseconds(300))
        let message = message
        try FaultyModule.plan(Self.hangs)
        let start = ContinuousClock.now
        let error = await #expect(throws: KeyStoreError.self) {
            try await store.withSession { try $0.verify(tag, of: message, with: $0.key("code"), .hmacSHA256) }
        }
        #expect(error?.kind == .timedOut)
        #expect(error?.advice.contains("0.3 seconds") == true)
        let again = try await store.withSession { try $0.sign(message, with: $0.key("code"), .hmacSHA256) }
        #expect(again == tag)
        #expect(ContinuousClock.now - start < .seconds(2), "nobody waited for the call that hangs")
    }

    @Test("A thread that waits for a batch which hangs gets its error in time")
    func waitingThread() throws {
        let (_, tag) = try storeWithKey()
        let store = try openStore(limit: .milliseconds(300))
        try FaultyModule.plan(Self.hangs)
        let start = ContinuousClock.now
        let message = message
        _ = failure(of: .timedOut) {
            _ = try store.withSessionWaiting { try $0.verify(tag, of: message, with: $0.key("code"), .hmacSHA256) }
        }
        #expect(try store.withSessionWaiting { try $0.sign(message, with: $0.key("code"), .hmacSHA256) } == tag)
        #expect(ContinuousClock.now - start < .seconds(2))
    }

    @Test("A call that hangs with the connection's lock in its hands does not stop the next batch")
    func hangingLookup() throws {
        let (_, tag) = try storeWithKey()
        let store = try openStore(limit: .milliseconds(300))
        // Under the lock of the working copies, and under none of the module's own.
        try FaultyModule.plan("C_CopyObject slow 1000 once")
        let message = message
        let sign = { @Sendable (session: any KeySession) in
            try session.sign(message, with: session.key("code"), .hmacSHA256)
        }
        _ = failure(of: .timedOut) { _ = try store.withSessionWaiting(sign) }
        try FaultyModule.plan("")
        // The search for token objects has one lock for all: those that come too early run out of time as well.
        var tries = 0
        var again: [UInt8] = []
        while again.isEmpty, tries < 20 {
            tries += 1
            do {
                again = try store.withSessionWaiting(sign)
            } catch let error as KeyStoreError where error.kind == .timedOut {
                continue
            }
        }
        #expect(again == tag)
    }

    @Test("A thread in a batch that waits for another batch is given a session of its own")
    func waitingInABatch() throws {
        let (_, tag) = try storeWithKey()
        let store = try openStore(limit: .seconds(10))
        let message = message
        let again = try store.withSessionWaiting { _ in
            try store.withSessionWaiting { try $0.sign(message, with: $0.key("code"), .hmacSHA256) }
        }
        #expect(again == tag)
    }

    // MARK: Check values

    @Test("The check value of a key that may only derive is the token's own, and no derivation is made for one")
    func checkValueOfDerivingKey() throws {
        let store = try token.open()
        try FaultyModule.plan("")
        try store.withSessionBlocking { session in
            let generated = try session.generate(KeyTemplate(.des2, .derive))
            #expect(try session.checkValue(of: generated, .desZeros).count == 3)
            // SoftHSM leaves CKA_CHECK_VALUE empty after an unwrap (issue 570).
            let storage = try session.generate(KeyTemplate(.aes(bytes: 32), [.wrap, .unwrap]))
            for (type, kind) in [(KeyType.des2, KeyCheckValueKind.desZeros), (.aes(bytes: 16), .aesZeros)] {
                let outside = try session.generate(KeyTemplate(type, [], extractable: true))
                let blob = try session.wrap(outside, under: storage, .aesKeyWrap)
                let master = try session.unwrap(blob, under: storage, .aesKeyWrap, as: KeyTemplate(type, .derive))
                let error = failure(of: .notPermitted) { _ = try session.checkValue(of: master, kind) }
                #expect(error?.advice.contains("CKA_CHECK_VALUE") == true)
            }
            let master = try session.generate(KeyTemplate(.aes(bytes: 16), .derive))
            _ = failure(of: .notPermitted) { _ = try session.checkValue(of: master, .globalPlatformAES) }
        }
        #expect(try FaultyModule.calls("C_DeriveKey") == 0)
    }
}
