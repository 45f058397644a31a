import ByteCoding
import ECardTesting
import KeyCustody
import PKCS11
import Synchronization
import Testing

/// What a token does at the worst moment, by the module that does it on demand.
@Suite(.ownThread, .serialized)
struct FaultTests {
    let token: TemporaryToken
    let message = Array("message".utf8)

    init() throws {
        try FaultyModule.plan("")
        token = try TemporaryToken(modulePath: FaultyModule.path())
    }

    /// A store with a key 'code' in it, whose working copy exists.
    func storeWithKey(poolSize: Int? = nil) throws -> (store: PKCS11KeyStore, tag: [UInt8]) {
        let store = try token.open(poolSize: poolSize)
        let tag = try store.withSessionBlocking { session in
            _ = try session.generate(KeyTemplate(persistent: "code", .generic(bytes: 32), [.sign, .verify]))
            return try session.sign(message, with: session.key("code"), .hmacSHA256)
        }
        return (store, tag)
    }

    func failure(
        of kind: KeyStoreError.Kind, _ comment: Comment? = nil, location: SourceLocation = #_sourceLocation,
        _ body: () throws -> Void
    ) -> KeyStoreError? {
        let error = #expect(throws: KeyStoreError.self, comment, sourceLocation: location) { try body() }
        #expect(error?.kind == kind, comment, sourceLocation: location)
        #expect(error?.advice.isEmpty == false, comment, sourceLocation: location)
        return error
    }

    // MARK: Login

    @Test(
        "A PIN that is refused or locked is given once",
        arguments: [
            ("0xA0", KeyStoreError.Kind.pinIncorrect), ("0xA2", .pinIncorrect), ("0xA3", .pinIncorrect),
            ("0xA4", .pinLocked), ("0x32", .deviceRemoved), ("0xE0", .deviceRemoved), ("0x102", .pinIncorrect),
        ])
    func refusedAtOpening(_ code: String, _ kind: KeyStoreError.Kind) throws {
        try FaultyModule.plan("C_Login =\(code)")
        _ = failure(of: kind) { _ = try token.open() }
        #expect(try FaultyModule.calls("C_Login") == 1)
    }

    @Test("A wrong PIN is given once and never printed")
    func wrongPIN() throws {
        let wrong = "48151623"
        try FaultyModule.plan("")
        let error = failure(of: .pinIncorrect) {
            _ = try PKCS11KeyStore(
                module: token.module, token: .label(token.label), pin: .given(SecretBytes(Array(wrong.utf8))))
        }
        #expect(try FaultyModule.calls("C_Login") == 1)
        #expect(error?.description.contains("CKR_PIN_INCORRECT (0xA0)") == true)
        #expect(error?.description.contains(token.label) == true)
        #expect(error?.description.contains(wrong) == false)
    }

    @Test("A PIN that is refused after a loss is not tried again by later batches")
    func refusedAfterLoss() throws {
        let (store, _) = try storeWithKey()
        try FaultyModule.plan("C_SignInit =0xB3 once; C_Login =0xA0")
        for _ in 0..<3 {
            _ = failure(of: .pinIncorrect) {
                _ = try store.withSessionBlocking { try $0.sign(message, with: $0.key("code"), .hmacSHA256) }
            }
        }
        #expect(try FaultyModule.calls("C_Login") == 1)
    }

    // MARK: Loss

    static let losses = [
        "0xB3": KeyStoreError.Kind.sessionLost, "0xB0": .sessionLost, "0x101": .sessionLost, "0x30": .sessionLost,
        "0x32": .deviceRemoved, "0xE0": .deviceRemoved,
    ]

    @Test(
        "What is lost once is made again and the batch repeated", arguments: losses.keys.sorted(),
        [
            "C_Sign", "C_GenerateKey",
        ])
    func lostOnce(_ code: String, _ call: String) throws {
        let (store, tag) = try storeWithKey()
        try FaultyModule.plan("\(call) =\(code) once")
        var runs = 0
        for _ in 0..<2 {
            let again = try store.withSessionBlocking { session in
                runs += 1
                _ = try session.generate(KeyTemplate(.aes(bytes: 16), .encrypt))
                return try session.sign(message, with: session.key("code"), .hmacSHA256)
            }
            #expect(again == tag)
        }
        #expect(runs == 3)
    }

    @Test("A session that cannot be opened because the login is gone is opened under the next")
    func lostAtOpening() throws {
        let store = try token.open()
        try FaultyModule.plan("C_OpenSession =0x32 once")
        #expect(try store.withSessionBlocking { try $0.random(4).count } == 4)
        #expect(try FaultyModule.calls("C_Login") == 1)
    }

    @Test("What stays lost is a clear error after one repeat", arguments: losses.keys.sorted())
    func lostForever(_ code: String) throws {
        let (store, tag) = try storeWithKey()
        try FaultyModule.plan("C_SignInit =\(code)")
        var runs = 0
        let error = failure(of: try #require(Self.losses[code])) {
            _ = try store.withSessionBlocking { session in
                runs += 1
                return try session.sign(message, with: session.key("code"), .hmacSHA256)
            }
        }
        #expect(runs == 2)
        #expect(error?.key == "code")
        #expect(error?.call == "C_SignInit")

        try FaultyModule.plan("")
        let again = try store.withSessionBlocking { try $0.sign(message, with: $0.key("code"), .hmacSHA256) }
        #expect(again == tag, "the store works again when the token does")
    }

    @Test("A token that is gone altogether is a clear error, and its return is noticed")
    func removed() throws {
        let (store, tag) = try storeWithKey()
        try FaultyModule.plan("* =0x32")
        for _ in 0..<2 {
            _ = failure(of: .deviceRemoved) {
                _ = try store.withSessionBlocking { try $0.sign(message, with: $0.key("code"), .hmacSHA256) }
            }
        }
        try FaultyModule.plan("")
        #expect(try store.withSessionBlocking { try $0.sign(message, with: $0.key("code"), .hmacSHA256) } == tag)
    }

    @Test(
        "Sessions that really end take login and working copies with them: all is made again",
        arguments: [
            "C_Sign", "C_SignInit", "C_GenerateKey",
        ])
    func dropped(_ call: String) throws {
        let (store, tag) = try storeWithKey()
        try FaultyModule.plan("\(call) drop once")
        let again = try store.withSessionBlocking { session in
            let own = try session.generate(KeyTemplate(.aes(bytes: 16), [.sign, .verify]))
            let mac = try session.sign(message, with: own, .aesCMAC)
            #expect(try session.verify(mac, of: message, with: own, .aesCMAC))
            return try session.sign(message, with: session.key("code"), .hmacSHA256)
        }
        #expect(again == tag)
        #expect(try FaultyModule.calls("C_Login") == 1)
    }

    @Test("A loss under many batches at once is mended for all of them")
    func droppedUnderLoad() async throws {
        let (store, tag) = try storeWithKey()
        try FaultyModule.plan("C_Sign drop after 40 once")
        let message = message
        try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for _ in 0..<100 {
                group.addTask {
                    try await store.withSession { try $0.sign(message, with: $0.key("code"), .hmacSHA256) }
                }
            }
            for try await again in group { #expect(again == tag) }
        }
    }

    @Test("A batch that began to make a persistent key is not repeated, and says so")
    func unknownOutcome() throws {
        let (store, _) = try storeWithKey()
        try FaultyModule.plan("C_SignInit =0xB3")
        var runs = 0
        let error = failure(of: .sessionLost) {
            try store.withSessionBlocking { session in
                runs += 1
                _ = try session.generate(KeyTemplate(persistent: "new", .aes(bytes: 16), .derive))
                _ = try session.sign(message, with: session.key("code"), .hmacSHA256)
            }
        }
        #expect(runs == 1)
        #expect(error?.advice.contains("unknown") == true)
        try FaultyModule.plan("")
        #expect(try store.withSessionBlocking { try $0.keys(prefix: "new").count } == 1)
    }

    @Test("A batch that fails by its own fault is not repeated")
    func ownFault() throws {
        let (store, _) = try storeWithKey()
        var runs = 0
        _ = failure(of: .notPermitted) {
            _ = try store.withSessionBlocking { session in
                runs += 1
                return try session.encrypt([], with: session.key("code"), .aesECB)
            }
        }
        #expect(runs == 1)
        #expect(try FaultyModule.calls("C_Login") == 2, "those that made the token and opened the store")
    }

    @Test("A store that is closed lets a running batch end")
    func closedUnderBatch() throws {
        let (store, tag) = try storeWithKey()
        let again = try store.withSessionBlocking { session in
            let key = try session.key("code")
            store.close()
            return try session.sign(message, with: key, .hmacSHA256)
        }
        #expect(again == tag)
        _ = failure(of: .sessionLost) { try store.withSessionBlocking { _ in } }
    }

    @Test("A batch that copes with a loss keeps its result, and the next one has a new session")
    func copedWith() throws {
        let (store, tag) = try storeWithKey()
        try FaultyModule.plan("C_SignInit =0xB3 once")
        let first = try store.withSessionBlocking { session in
            (try? session.sign(message, with: session.key("code"), .hmacSHA256)) ?? []
        }
        #expect(first == [])
        #expect(try store.withSessionBlocking { try $0.sign(message, with: $0.key("code"), .hmacSHA256) } == tag)
        #expect(try FaultyModule.calls("C_Login") == 1)
    }

    // MARK: What a token lacks

    @Test("A missing mechanism is named by the error and by the preflight")
    func missingMechanism() async throws {
        let store = try token.open()
        try FaultyModule.plan("C_DeriveKey =0x70 mechanism 0x1102")
        let error = failure(of: .mechanismUnavailable) {
            try store.withSessionBlocking { session in
                let key = try session.generate(KeyTemplate(.des2, .derive))
                _ = try session.derive(KeyTemplate(.des2, .encrypt), from: key, by: .des3ECBEncrypt(Array(0..<16)))
            }
        }
        #expect(error?.description.contains("CKM_DES3_ECB_ENCRYPT_DATA") == true)
        #expect(error?.code == "CKR_MECHANISM_INVALID (0x70)")

        let preflight = try await store.preflight()
        #expect(!preflight.passed)
        #expect(preflight.failures.count == 3)
        for row in preflight.failures {
            #expect(row.mechanism == "CKM_DES3_ECB_ENCRYPT_DATA")
            #expect(row.result == .missing(code: "C_DeriveKey answered CKR_MECHANISM_INVALID (0x70)"))
        }
    }

    @Test("A token that copies no keys uses them where they are")
    func noCopies() async throws {
        try FaultyModule.plan("C_CopyObject =0x1B")
        let (store, tag) = try storeWithKey()
        try await store.withSession { [message] session in
            let key = try session.key("code")
            #expect(try session.verify(tag, of: message, with: key, .hmacSHA256))
            #expect(try session.attributes(of: key).persistent)
        }
        let row = try await store.preflight().rows.first { $0.mechanism == "C_CopyObject" }
        guard case .workedAround = row?.result else {
            Issue.record("not worked around: \(String(describing: row?.result))")
            return
        }
    }

    @Test("A preflight on a token that is lost throws instead of calling everything missing")
    func preflightOfLostToken() async throws {
        let store = try token.open()
        try FaultyModule.plan("C_EncryptInit =0x32")
        await #expect(throws: KeyStoreError.self) { try await store.preflight() }
    }

    @Test("A token without a free session says what to do")
    func noSessionLeft() throws {
        let store = try token.open()
        try FaultyModule.plan("C_OpenSession =0xB1")
        let error = failure(of: .failed) { try store.withSessionBlocking { _ in } }
        #expect(error?.advice.contains("pool") == true)
    }

    @Test("A slow call holds up its own batch alone")
    func slow() async throws {
        let (store, tag) = try storeWithKey(poolSize: 2)
        try FaultyModule.plan("C_Verify slow 200 once")
        let message = message
        let order = Order()
        try await withThrowingTaskGroup(of: Void.self) { [store, message] group in
            group.addTask {
                let isRight = try await store.withSession {
                    try $0.verify(tag, of: message, with: $0.key("code"), .hmacSHA256)
                }
                #expect(isRight)
                order.add("slow")
            }
            while try FaultyModule.calls("C_Verify") == 0 { await Task.yield() }
            try await store.withSession { _ = try $0.sign(message, with: $0.key("code"), .hmacSHA256) }
            order.add("fast")
            try await group.waitForAll()
        }
        #expect(order.entries == ["fast", "slow"])
    }

    @Test(
        "A malformed plan is refused",
        arguments: [
            "C_Login", "C_Login =", "C_Login =zz", "C_Login slow", "C_Login =1 twice", "C_Login =1 after",
            "C_Login =1 times x",
        ])
    func malformedPlan(_ plan: String) {
        #expect(throws: FaultyModule.Failure.self) { try FaultyModule.plan("C_Sign =1; \(plan)") }
    }
}

final class Order: Sendable {
    private let state = Mutex<[String]>([])
    var entries: [String] { state.withLock { $0 } }
    func add(_ entry: String) { state.withLock { $0.append(entry) } }
}
