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

    /// Runs `body` with a store of one place, and returns when the store is gone: a call that still hangs then would come
    /// back in the middle of another test and be counted there.
    private func withStore(
        limit: Duration, _ body: (PKCS11KeyStore) async throws -> Void
    ) async throws {
        weak var remains: PKCS11KeyStore?
        do {
            let store = try PKCS11KeyStore(
                module: token.module, token: .label(token.label), pin: .given(token.pin), poolSize: 1, timeLimit: limit)
            remains = store
            try await body(store)
        }
        while remains != nil { try await Task.sleep(for: .milliseconds(5)) }
    }

    /// Longer than any of these tests takes when nobody waits for it, on a busy machine too; whoever works has this time.
    private static let hangs = "C_Verify slow 20000"
    private static let limit = Duration.seconds(3)

    @Test("A batch that hangs is given up, and the next one has a session though the pool has one place")
    func hangingCall() async throws {
        let (_, tag) = try storeWithKey()
        let message = message
        try await withStore(limit: Self.limit) { store in
            try FaultyModule.plan(Self.hangs)
            let start = ContinuousClock.now
            let error = await #expect(throws: KeyStoreError.self) {
                try await store.withSession { try $0.verify(tag, of: message, with: $0.key("code"), .hmacSHA256) }
            }
            #expect(error?.kind == .timedOut)
            #expect(error?.advice.contains("3.0 seconds") == true)
            let again = try await store.withSession { try $0.sign(message, with: $0.key("code"), .hmacSHA256) }
            #expect(again == tag)
            #expect(ContinuousClock.now - start < .seconds(20), "nobody waited for the call that hangs")
        }
    }

    @Test("A thread that waits for a batch which hangs gets its error in time")
    func waitingThread() async throws {
        let (_, tag) = try storeWithKey()
        let message = message
        try await withStore(limit: Self.limit) { store in
            try FaultyModule.plan(Self.hangs)
            let start = ContinuousClock.now
            _ = failure(of: .timedOut) {
                _ = try store.withSessionWaiting { try $0.verify(tag, of: message, with: $0.key("code"), .hmacSHA256) }
            }
            #expect(try store.withSessionWaiting { try $0.sign(message, with: $0.key("code"), .hmacSHA256) } == tag)
            #expect(ContinuousClock.now - start < .seconds(20))
        }
    }

    @Test("A call that hangs with the connection's lock in its hands does not stop the store for good")
    func hangingLookup() async throws {
        let (_, tag) = try storeWithKey()
        let message = message
        try await withStore(limit: .milliseconds(500)) { store in
            // The working copy is made under the lock of the connection, and under the one lock of all token objects:
            // those that come before it is released run out of time as well.
            try FaultyModule.plan("C_CopyObject slow 1500 once")
            let sign = { @Sendable (session: any KeySession) in
                try session.sign(message, with: session.key("code"), .hmacSHA256)
            }
            _ = failure(of: .timedOut) { _ = try store.withSessionWaiting(sign) }
            var again: [UInt8] = []
            for _ in 0..<20 where again.isEmpty {
                do {
                    again = try store.withSessionWaiting(sign)
                } catch let error as KeyStoreError where error.kind == .timedOut {
                    continue
                }
            }
            #expect(again == tag)
        }
    }

    @Test("A thread in a batch that waits for another batch is given a session of its own")
    func waitingInABatch() async throws {
        let (_, tag) = try storeWithKey()
        let message = message
        try await withStore(limit: .seconds(30)) { store in
            let again = try store.withSessionWaiting { _ in
                try store.withSessionWaiting { try $0.sign(message, with: $0.key("code"), .hmacSHA256) }
            }
            #expect(again == tag)
        }
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
