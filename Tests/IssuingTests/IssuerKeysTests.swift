import ByteCoding
import ECardTesting
@testable import Issuing
import KeyCustody
import PKCS11
import PaymentPorts
import Testing

@Suite("Issuer keys") struct IssuerKeysTests {
    @Test("made once: a second time makes nothing and changes nothing")
    func madeOnce() throws {
        let keys = try TemporaryToken().open()
        let (missing, made) = try keys.withSessionBlocking { session in
            (try IssuerKey.missing(KeyVersions(), in: session).map(\.key), try IssuerKey.createMissing(in: session))
        }
        #expect(missing == IssuerKey.allCases)
        #expect(made == IssuerKey.allCases.map { $0.label(1) })
        let before = try Self.checkValues(keys)
        let again = try keys.withSessionBlocking { session in
            (try IssuerKey.missing(KeyVersions(), in: session).map(\.key), try IssuerKey.createMissing(in: session))
        }
        #expect(again == ([], []))
        #expect(try Self.checkValues(keys) == before)
    }

    @Test("one that is missing is made, the others stay")
    func oneMissing() throws {
        let keys = try TemporaryToken().open()
        try keys.withSessionBlocking { session in
            for key in IssuerKey.allCases where key != .code { _ = try session.generate(key.template(1)) }
        }
        let before = try Self.checkValues(keys)
        let made = try keys.withSessionBlocking { try IssuerKey.createMissing(in: $0) }
        #expect(made == [IssuerKey.code.label(1)])
        let after = try Self.checkValues(keys)
        #expect(after.filter { $0.key != IssuerKey.code.label(1) } == before)
        #expect(after.count == before.count + 1)
    }

    @Test("attributes are the template's, and no key can leave", arguments: IssuerKey.allCases)
    func attributes(_ key: IssuerKey) throws {
        try SharedToken.keys().withSessionBlocking { session in
            let found = try #require(try session.keys(prefix: key.label(1)).first)
            #expect(found.label == key.label(1))
            #expect(found.type == key.template(1).type)
            #expect(found.usage == key.template(1).usage)
            #expect(
                found.sensitive && found.alwaysSensitive && found.neverExtractable && found.local && found.persistent)
            #expect(!found.extractable)
        }
    }

    @Test("a master key derives and does nothing else", arguments: [IssuerKey.imkAC, .imkSMI, .imkSMC, .cvkSeed, .kmc])
    func deriveOnly(_ key: IssuerKey) throws {
        let isAES = key == .kmc
        let block = [UInt8](repeating: 0x5A, count: 16)
        try SharedToken.keys().withSessionBlocking { session in
            let handle = try session.key(key, 1)
            // With ENCRYPT, the encrypted diversification data would be the card's key.
            #expect(throws: KeyStoreError.self) {
                try session.encrypt(block, with: handle, isAES ? .aesECB : .des3ECB)
            }
            #expect(throws: KeyStoreError.self) {
                try session.decrypt(block, with: handle, isAES ? .aesECB : .des3ECB)
            }
            #expect(throws: KeyStoreError.self) { try session.sign(block, with: handle, isAES ? .aesCMAC : .des3CMAC) }
            let derived = try session.derive(
                KeyTemplate(isAES ? .aes(bytes: 16) : .des2, .derive), from: handle,
                by: isAES ? .aesECBEncrypt(block) : .des3ECBEncrypt(block))
            try session.destroy(derived)
        }
    }

    @Test("no issuer key can be wrapped out", arguments: IssuerKey.allCases)
    func noWrap(_ key: IssuerKey) throws {
        try SharedToken.keys().withSessionBlocking { session in
            let wrapper = try session.generate(KeyTemplate(.aes(bytes: 32), [.wrap]))
            #expect(throws: KeyStoreError.self) {
                try session.wrap(try session.key(key, 1), under: wrapper, .aesKeyWrap)
            }
        }
    }

    /// Known answers: the kind of check value that an issuer key has, computed by the token for a key of known value
    /// with the same type and uses.
    static let known: [(key: IssuerKey, value: String, checkValue: String)] = [
        // FIPS 197, C.1's key; zeros encrypted under it (the value that CMAC's subkey derivation starts from).
        (.kmc, "000102030405060708090A0B0C0D0E0F", "C6A13B"),
        // The two-key 3DES test key of payment manuals, 0123…FEDC…, check value 08D7B4.
        (.imkAC, "0123456789ABCDEFFEDCBA9876543210", "08D7B4"),
        (.imkSMI, "0123456789ABCDEFFEDCBA9876543210", "08D7B4"),
        (.imkSMC, "0123456789ABCDEFFEDCBA9876543210", "08D7B4"),
        // The same key written as three keys, K1 ‖ K2 ‖ K1.
        (.cvkSeed, "0123456789ABCDEFFEDCBA98765432100123456789ABCDEF", "08D7B4"),
    ]

    @Test("check values are right for their kind", arguments: known)
    func knownCheckValues(_ vector: (key: IssuerKey, value: String, checkValue: String)) throws {
        let value = try #require([UInt8](hex: vector.value))
        let kind = try #require(vector.key.checkValueKind)
        let found = try SharedToken.keys().withSessionBlocking { session in
            let key = try session.importSecret(
                KeyTemplate(vector.key.template(1).type, vector.key.template(1).usage), value: SecretBytes(value))
            return try session.checkValue(of: key, kind)
        }
        #expect(found.hex == vector.checkValue)
    }

    @Test("check values of keys that encrypt or sign agree with what those do")
    func otherRoute() throws {
        try SharedToken.keys().withSessionBlocking { session in
            let zeros = [UInt8](repeating: 0, count: 16)
            let pan = try session.key(.pan, 1)
            #expect(
                try session.checkValue(of: pan, .aesZeros)
                    == Array(session.encrypt(zeros, with: pan, .aesECB).prefix(3)))
            for key in [IssuerKey.panIndex, .code, .audit] {
                let handle = try session.key(key, 1)
                let mac = try session.sign([], with: handle, .hmacSHA256)
                #expect(try session.checkValue(of: handle, .hmacEmpty) == Array(mac.prefix(3)))
            }
        }
        #expect(IssuerKey.storage.checkValueKind == nil)
    }

    @Test("no two keys share a check value: each was made by itself")
    func allDifferent() throws {
        let values = try Self.checkValues(try SharedToken.keys())
        #expect(Set(values.values).count == values.count)
    }

    private static func checkValues(_ keys: some KeyStore) throws -> [String: [UInt8]] {
        try keys.withSessionBlocking { session in
            var values: [String: [UInt8]] = [:]
            let present = Set(try session.keys(prefix: IssuerKey.labelPrefix).map(\.label))
            for key in IssuerKey.allCases where present.contains(key.label(1)) {
                guard let kind = key.checkValueKind else { continue }
                values[key.label(1)] = try session.checkValue(of: session.key(key, 1), kind)
            }
            return values
        }
    }
}
