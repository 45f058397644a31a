import ByteCoding
import KeyCustody
import Testing

@testable import GlobalPlatform

struct StaticKeysTests {
    private static let diversificationData = bytes("00112233445566778899")
    private static let keys: StaticKeys? = try? StaticKeys(
        .diversified(kmc: Token.kmcLabel), diversificationData: diversificationData, version: 0x21)

    @Test(arguments: [(.encryption, 1), (.mac, 2), (.dataEncryption, 3)] as [(StaticKeyRole, UInt8)])
    func aKeyIsTheEncryptionOfItsBlockUnderTheKMC(role: StaticKeyRole, number: UInt8) async throws {
        let keys = try #require(Self.keys)
        try await Token.shared().keyStore.withSession { session in
            let kmc = try Token.key(Token.kmcValue.hex, .aes(bytes: 16), .encrypt, in: session)
            let block = Self.diversificationData + [0x45, 0x43, 0x00, 0x00, 0x21, number]
            let value = try session.encrypt(block, with: kmc, .aesECB)
            let expected = try Token.key(value.hex, .aes(bytes: 16), .encrypt, in: session)
            #expect(try keys.checkValue(role, in: session) == session.checkValue(of: expected, .globalPlatformAES))
        }
    }

    @Test(arguments: [(.encryption, .sign), (.mac, .sign), (.dataEncryption, .wrap)] as [(StaticKeyRole, KeyUsage)])
    func aKeyHasOneUseAndCannotLeave(role: StaticKeyRole, usage: KeyUsage) async throws {
        let published = try StaticKeys(.testKeys, diversificationData: Self.diversificationData, version: 0xFF)
        for keys in [try #require(Self.keys), published] {
            try await Token.shared().keyStore.withSession { session in
                let attributes = try session.attributes(of: keys.key(role, in: session))
                #expect(attributes.type == .aes(bytes: 16))
                #expect(attributes.usage == usage)
                #expect(attributes.sensitive && !attributes.extractable && !attributes.persistent)
            }
        }
    }

    /// The well-known check value of 40…4F: AES of sixteen bytes 01, computed with Python's cryptography.
    @Test func theTestKeysHaveTheirCheckValue() async throws {
        let keys = try StaticKeys(.testKeys, diversificationData: Self.diversificationData, version: 0xFF)
        let values = try await Token.shared().keyStore.withSession { session in
            try StaticKeyRole.allCases.map { try keys.checkValue($0, in: session).hex }
        }
        #expect(values == [String](repeating: "504A77", count: 3))
    }

    @Test(arguments: [(9, 1), (11, 1), (10, 0), (10, 0x80), (10, 0xFE)] as [(Int, UInt8)])
    func aKeySetThatNoCardHasIsRefused(count: Int, version: UInt8) {
        let error = #expect(throws: GlobalPlatformError.self) {
            try StaticKeys(.testKeys, diversificationData: [UInt8](repeating: 0, count: count), version: version)
        }
        #expect(error?.kind == .malformedData)
    }

    @Test func publishedKeysMustBeAESKeysOfOneLength() {
        let long = SecretBytes([UInt8](repeating: 1, count: 32))
        let short = SecretBytes([UInt8](repeating: 1, count: 16))
        let odd = SecretBytes([UInt8](repeating: 1, count: 15))
        for (encryption, mac) in [(long, short), (short, long), (odd, odd)] {
            #expect(throws: GlobalPlatformError.self) {
                try StaticKeys(
                    .published(encryption: encryption, mac: mac, dataEncryption: short),
                    diversificationData: Self.diversificationData, version: 1)
            }
        }
    }

    @Test func anUnknownKMCIsNamed() async throws {
        let keys = try StaticKeys(
            .diversified(kmc: "no-such-kmc"), diversificationData: Self.diversificationData, version: 1)
        let token = try Token.shared()
        let error = await #expect(throws: KeyStoreError.self) {
            try await token.keyStore.withSession { session in _ = try keys.key(.mac, in: session) }
        }
        #expect(error?.kind == .keyNotFound)
        #expect(error?.key == "no-such-kmc")
    }

    @Test func publishedKeysAreNotManufactured() async throws {
        let keys = try StaticKeys(.testKeys, diversificationData: Self.diversificationData, version: 0xFF)
        let token = try Token.shared()
        let error = await #expect(throws: GlobalPlatformError.self) {
            try await token.keyStore.withSession { session in
                _ = try keys.wrappedForManufacture(to: RSAPublicKey(modulus: [1], exponent: [3]), in: session)
            }
        }
        #expect(error?.kind == .unsupported)
    }

    @Test func publishedKeysDoNotPrint() throws {
        let keys = try StaticKeys(.testKeys, diversificationData: Self.diversificationData, version: 0xFF)
        var text = String(describing: keys) + String(reflecting: keys)
        dump(keys, to: &text)
        #expect(!text.contains("404142") && !text.contains("64, 65, 66") && !text.contains("- 64"))
    }
}

struct KeyWrappingTests {
    // Odd parity, so that no token changes a bit of them.
    private static let cardKeys = [
        "0123456789ABCDEFFEDCBA9876543210", "1112131415161718191A1B1C1D1E1F20".odd,
        "A1B1C1D1E1F101112131415161718191".odd,
    ]
    private static let dek = "505152535455565758595A5B5C5D5E5F"

    /// What the whole should be: AES-CBC of the concatenation in one go, by a key of the same value that may encrypt.
    private static func cbc(_ plain: String, in session: any KeySession) throws -> [UInt8] {
        let key = try Token.key(dek, .aes(bytes: 16), .encrypt, in: session)
        return try session.encrypt(bytes(plain), with: key, .aesCBC(iv: [UInt8](repeating: 0, count: 16)))
    }

    @Test(arguments: [KeyType.des2, .aes(bytes: 16)])
    func storeDataIsTheCBCOfTheConcatenation(type: KeyType) async throws {
        try await Token.shared().keyStore.withSession { session in
            let dek = try Token.key(Self.dek, .aes(bytes: 16), .wrap, in: session)
            let keys = try Self.cardKeys.map { try Token.key($0, type, [], extractable: true, in: session) }
            for count in 0...3 {
                let wrapped = try KeyWrapping.wrapForStoreData(keys: Array(keys.prefix(count)), under: dek, in: session)
                let expected = count == 0 ? [] : try Self.cbc(Self.cardKeys.prefix(count).joined(), in: session)
                #expect(wrapped == expected)
            }
        }
    }

    @Test func putKeyBeginsEveryKeyAtAZeroIV() async throws {
        try await Token.shared().keyStore.withSession { session in
            let dek = try Token.key(Self.dek, .aes(bytes: 16), .wrap, in: session)
            for value in Self.cardKeys {
                let key = try Token.key(value, .aes(bytes: 16), [], extractable: true, in: session)
                #expect(try KeyWrapping.wrapForPutKey(key, under: dek, in: session) == Self.cbc(value, in: session))
            }
        }
    }

    @Test(
        arguments: [
            (.des3, 24), (.aes(bytes: 24), 24), (.aes(bytes: 32), 32), (.generic(bytes: 16), 16),
            (.generic(bytes: 48), 48),
        ] as [(KeyType, Int)])
    func aKeyOfAnotherKindIsRefused(type: KeyType, length: Int) async throws {
        let token = try Token.shared()
        let error = await #expect(throws: GlobalPlatformError.self) {
            try await token.keyStore.withSession { session in
                let dek = try Token.key(Self.dek, .aes(bytes: 16), .wrap, in: session)
                let value = String((Self.cardKeys.joined()).prefix(2 * length))
                let key = try Token.key(value, type, [], extractable: true, in: session)
                _ = try KeyWrapping.wrapForStoreData(keys: [key], under: dek, in: session)
            }
        }
        #expect(error?.kind == .keyNotWrappable)
    }

    @Test func aKeyThatMayNotLeaveDoesNot() async throws {
        let token = try Token.shared()
        await #expect(throws: KeyStoreError.self) {
            try await token.keyStore.withSession { session in
                let dek = try Token.key(Self.dek, .aes(bytes: 16), .wrap, in: session)
                let key = try Token.key(Self.cardKeys[0], .des2, .derive, in: session)
                _ = try KeyWrapping.wrapForStoreData(keys: [key], under: dek, in: session)
            }
        }
    }
}

extension String {
    /// The same bytes with odd parity in the lowest bit of each.
    fileprivate var odd: String {
        bytes(self).map { $0.nonzeroBitCount % 2 == 0 ? $0 ^ 1 : $0 }.hex
    }
}
