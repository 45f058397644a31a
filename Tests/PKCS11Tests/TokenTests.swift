import ByteCoding
import ECardTesting
import Foundation
import KeyCustody
import Testing

@testable import PKCS11

struct TokenTests {
    private func secret(_ text: String) -> SecretBytes { SecretBytes(Array(text.utf8)) }

    @Test("A new token has its label, its PIN and nothing else")
    func made() throws {
        let token = try TemporaryToken()
        let info = try #require(try token.module.tokens().first { $0.label == token.label })
        #expect(info.flags.isSuperset(of: [.initialized, .userPINInitialized, .loginRequired]))
        #expect(info.serial.count == 16)
        #expect(info.model == "SoftHSM v2")
        let store = try token.open()
        #expect(store.name == "token '\(token.label)' (SoftHSM v2, serial \(info.serial))")
        #expect(try store.withSessionBlocking { try $0.keys(prefix: "") } == [])
    }

    @Test(
        "A label that is taken, empty or too long makes no token", arguments: ["", String(repeating: "x", count: 33)])
    func badLabel(_ label: String) throws {
        let module = try TemporaryToken().module
        let error = #expect(throws: KeyStoreError.self) {
            try module.initializeToken(label: label, soPIN: secret("87654321"), userPIN: secret("12345678"))
        }
        #expect(error?.kind == .invalidArgument)
    }

    @Test("An initialized token is not initialized again, and its keys stay")
    func initializedStays() throws {
        let token = try TemporaryToken()
        let store = try token.open()
        try store.withSessionBlocking {
            _ = try $0.generate(KeyTemplate(persistent: "mine", .aes(bytes: 16), .derive))
        }
        let error = #expect(throws: KeyStoreError.self) {
            try token.module.initializeToken(label: token.label, soPIN: token.soPIN, userPIN: token.pin)
        }
        #expect(error?.kind == .invalidArgument)
        #expect(error?.advice.contains("take another label") == true)
        #expect(try store.withSessionBlocking { try $0.keys(prefix: "mine").count } == 1)
    }

    @Test("A PIN that the token does not take makes no usable token, and is not printed")
    func shortPIN() throws {
        let module = try TemporaryToken().module
        let error = #expect(throws: KeyStoreError.self) {
            try module.initializeToken(label: "test-short", soPIN: secret("87654321"), userPIN: secret("19"))
        }
        #expect(error?.code == "CKR_PIN_LEN_RANGE (0xA2)")
    }

    @Test("A token is chosen by label, serial or URI")
    func chosen() throws {
        let token = try TemporaryToken()
        let serial = try token.open().token.serial
        let selectors: [TokenSelector] = [
            .label(token.label), .serial(serial), try TokenSelector(token.label), try TokenSelector(serial),
            try TokenSelector("pkcs11:token=\(token.label)"), try TokenSelector("pkcs11:serial=\(serial)"),
            try TokenSelector("PKCS11:model=SoftHSM%20v2;token=\(token.label);manufacturer=SoftHSM%20project"),
            try TokenSelector("pkcs11:library-manufacturer=SoftHSM;library-version=2.6;serial=\(serial)?x-mine=1"),
        ]
        for selector in selectors {
            let store = try PKCS11KeyStore(module: token.module, token: selector, pin: .given(token.pin))
            #expect(store.token.serial == serial)
        }
    }

    @Test("SoftHSM's folder of a token is found by its serial number: only that one is synced for a new key")
    func folder() throws {
        let token = try TemporaryToken()
        _ = try TemporaryToken()
        let serial = try token.open().token.serial
        let folders = try FileManager.default.contentsOfDirectory(atPath: TemporaryToken.sharedFolder() + "/tokens")
        #expect(folders.filter { SoftHSMTokenFiles.serial(ofFolder: $0) == serial }.count == 1)
    }

    @Test("Locks that a crash has lost are put back, without which SoftHSM says that it cannot destroy an object")
    func locks() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-locks-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let token = folder.appendingPathComponent("tokens/one")
        try FileManager.default.createDirectory(at: token, withIntermediateDirectories: true)
        for name in ["token.object", "token.lock", "key.object", "generation"] {
            try Data(name.utf8).write(to: token.appendingPathComponent(name))
        }
        try Data().write(to: folder.appendingPathComponent("tokens/no-folder"))
        try SoftHSMTokenFiles.mend(folder.path)
        let files = try FileManager.default.contentsOfDirectory(atPath: token.path).sorted()
        #expect(files == ["generation", "key.lock", "key.object", "token.lock", "token.object"])
        #expect(try Data(contentsOf: token.appendingPathComponent("token.lock")) == Data("token.lock".utf8))
    }

    @Test(
        "No token, or more than one, is an error that lists what is there",
        arguments: [
            "nobody-has-this-label", "pkcs11:token=nobody", "pkcs11:token=nobody;model=SoftHSM%20v2",
            "pkcs11:model=SoftHSM%20v2", "pkcs11:", "pkcs11:x-vendor=1;model=SoftHSM%20v2",
        ])
    func notChosen(_ text: String) throws {
        let tokens = [try TemporaryToken(), try TemporaryToken()]
        let error = #expect(throws: KeyStoreError.self) {
            try PKCS11KeyStore(module: tokens[0].module, token: TokenSelector(text), pin: .given(tokens[0].pin))
        }
        #expect(error?.kind == .tokenNotFound)
        #expect(error?.advice.isEmpty == false)
        if text.contains("nobody") { #expect(error?.description.contains("nobody") == true) }
        if text == "pkcs11:" { #expect(error?.advice.contains("Choose one by its serial") == true) }
    }

    @Test("A text that is the label of one token and the serial of another chooses neither")
    func ambiguousText() throws {
        let token = try TemporaryToken()
        let serial = try token.open().token.serial
        let namesake = try token.module.initializeToken(label: serial, soPIN: token.soPIN, userPIN: token.pin)
        let error = #expect(throws: KeyStoreError.self) {
            try PKCS11KeyStore(module: token.module, token: TokenSelector(serial), pin: .given(token.pin))
        }
        #expect(error?.kind == .tokenNotFound)
        #expect(error?.advice.contains("'\(token.label)' (serial \(serial))") == true)
        #expect(error?.advice.contains("'\(serial)' (serial \(namesake.serial))") == true)
        #expect(error?.advice.contains("pkcs11:serial=") == true)
        for (text, wanted) in [("pkcs11:serial=\(serial)", serial), ("pkcs11:token=\(serial)", namesake.serial)] {
            let store = try PKCS11KeyStore(module: token.module, token: TokenSelector(text), pin: .given(token.pin))
            #expect(store.token.serial == wanted)
        }
    }

    @Test("A slot number chooses nothing")
    func slotNumber() throws {
        let token = try TemporaryToken()
        let error = #expect(throws: KeyStoreError.self) {
            let selector = try TokenSelector("pkcs11:slot-id=0;token=\(token.label)")
            _ = try PKCS11KeyStore(module: token.module, token: selector, pin: .given(token.pin))
        }
        #expect(error?.advice.contains("serial") == true)
    }

    @Test("A closed store lends nothing")
    func closed() throws {
        let store = try TemporaryToken().open()
        store.close()
        store.close()
        let error = #expect(throws: KeyStoreError.self) { try store.withSessionBlocking { _ in } }
        #expect(error?.advice.contains("closed") == true)
    }

    @Test("Two stores on one token do not end each other's sessions")
    func twoStores() throws {
        let token = try TemporaryToken()
        let first = try token.open()
        let second = try token.open()
        try first.withSessionBlocking {
            _ = try $0.generate(KeyTemplate(persistent: "shared", .generic(bytes: 32), .sign))
        }
        first.close()
        let tag = try second.withSessionBlocking { try $0.sign([1], with: $0.key("shared"), .hmacSHA256) }
        #expect(tag.count == 32)
    }

    @Test("As many batches run at once as the pool is wide, on threads of the store's own")
    func width() async throws {
        let store = try TemporaryToken().open(poolSize: 4)
        let gate = DispatchGroup()
        for _ in 0..<4 { gate.enter() }
        // Each waits for all four: on the cooperative pool of a machine with two cores this would never end.
        try await withThrowingTaskGroup(of: DispatchTimeoutResult.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    try await store.withSession { _ in
                        gate.leave()
                        return gate.wait(timeout: .now() + 20)
                    }
                }
            }
            for try await result in group { #expect(result == .success) }
        }
    }

    @Test("The keys a chip gets by RSA arrive as they were derived")
    func oaep() throws {
        let chip = try RSAKeyPair()
        let publicKey = try chip.publicKey()
        let store = try TemporaryToken().open()
        let value = (0..<48).map { UInt8($0) }
        let (blob, derived) = try store.withSessionBlocking { session in
            let key = try session.importRSAPublicKey(publicKey, usage: .wrap)
            let known = try session.importSecret(
                KeyTemplate(.generic(bytes: 48), [], extractable: true), value: SecretBytes(value))
            let base = try session.importSecret(
                KeyTemplate(.aes(bytes: 16), .derive), value: SecretBytes(value.prefix(16)))
            let secret = try session.derive(
                KeyTemplate(.generic(bytes: 48), [], extractable: true), from: base, by: .aesECBEncrypt(value))
            return (
                try session.wrap(known, under: key, .rsaOAEPSHA1), try session.wrap(secret, under: key, .rsaOAEPSHA1)
            )
        }
        #expect(try chip.openOAEPSHA1(blob) == value)
        // OpenSSL 3: AES-128-ECB of 00..2F under 00..0F.
        #expect(
            try chip.openOAEPSHA1(derived).hex
                == "0A940BB5416EF045F1C39458C653EA5A07FEEF74E1D5036E900EEE118E9492935BE87E2E5B447C944B21C9AF7756C0D8")
    }
}
