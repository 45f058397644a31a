import ByteCoding
import CardData
import KeyCustody
import Testing

@testable import EMV

struct KeyDerivationTests {
    static let issuerKey = hex("0123456789ABCDEFFEDCBA9876543210")
    static let probe = hex("0011223344556677")

    /// Vectors of pyemv 1.5.0, documentation of `kd`; the first is that of its package page.
    @Test(arguments: [
        ("99012345678901234", 45, CardMasterKey.Option.a, "67F8292358083E5EA7AB7FDA58D53B6B"),
        ("12345678901234567", 1, .a, "73AD54688CEF2934B0979857E3C719F1"),
        ("12345678901234567", 1, .b, "AD406D7F6D7570916D75E5DCAB8CF737"),
    ])
    func cardMasterKey(digits: String, number: Int, option: CardMasterKey.Option, expected: String) throws {
        let data = try CardMasterKey.diversificationData(digits: digits, sequenceNumber: number, option: option)
        try Fixture.withSession { session throws in
            let issuer = try session.imported(Self.issuerKey, [.derive])
            let known = try session.imported(hex(expected), [.encrypt])
            let derived = try session.derive(KeyTemplate(.des2, [.encrypt]), from: issuer, by: .des3ECBEncrypt(data))
            #expect(
                try session.encrypt(Self.probe, with: derived, .des3ECB)
                    == session.encrypt(Self.probe, with: known, .des3ECB))
            for key in [issuer, known, derived] { try session.destroy(key) }
        }
    }

    @Test(arguments: [
        // Shorter than sixteen digits with the sequence number: padded with zeros on the left (A1.4.1).
        ("541333900000", 0, "00541333900000" + "00"),
        ("4111111111111111", 7, "11111111111111" + "07"),
        ("4111111111111111110", 99, "11111111111110" + "99"),
    ])
    func optionATakesTheRightmostDigits(digits: String, number: Int, expected: String) throws {
        let y = hex(expected)
        let data = try CardMasterKey.diversificationData(digits: digits, sequenceNumber: number, option: .a)
        #expect(data == y + y.map { ~$0 })
    }

    @Test func optionBIsOptionAUpToSixteenDigits() throws {
        let pan = try PAN("4111111111111111")
        #expect(
            try CardMasterKey.diversificationData(pan: pan, sequenceNumber: 3, option: .b)
                == CardMasterKey.diversificationData(pan: pan, sequenceNumber: 3, option: .a))
    }

    @Test(arguments: [-1, 100, Int.max, Int.min])
    func sequenceNumbersOutOfRangeAreRefused(number: Int) throws {
        let pan = try PAN("4111111111111111")
        #expect(throws: KeyStoreError.self) {
            try CardMasterKey.diversificationData(pan: pan, sequenceNumber: number, option: .a)
        }
    }

    @Test func theAuthorizationKeyDerivesAndDoesNothingElse() throws {
        try Fixture.withSession { session throws in
            let issuer = try session.imported(Self.issuerKey, [.derive])
            let pan = try PAN("4111111111111111")
            let key = try CardMasterKey.derive(from: issuer, pan: pan, sequenceNumber: 0, in: session)
            let facts = try session.attributes(of: key)
            #expect(facts.usage == [.derive] && facts.sensitive && !facts.extractable && !facts.persistent)
            #expect(throws: KeyStoreError.self) { try session.encrypt(Self.probe, with: key, .des3ECB) }

            let moving = try CardMasterKey.derive(
                from: issuer, pan: pan, sequenceNumber: 0, as: CardMasterKey.personalization, in: session)
            let other = try session.attributes(of: moving)
            #expect(other.usage == [] && other.sensitive && other.extractable)
            #expect(throws: KeyStoreError.self) { try session.encrypt(Self.probe, with: moving, .des3ECB) }
            for handle in [issuer, key, moving] { try session.destroy(handle) }
        }
    }

    @Test func lentKeysAreDestroyedEvenWhenTheirUserFails() throws {
        try Fixture.withSession { session throws in
            let base = try session.imported(Self.issuerKey, [.derive])
            var lent: RetailMACKey?
            #expect(throws: KeyStoreError.self) {
                try RetailMACKey.withCommonSessionKey(cardKey: base, counter: 1, in: session) {
                    key throws(KeyStoreError) in
                    lent = key
                    _ = try key.mac([1], length: 9, in: session)
                }
            }
            let key = try #require(lent)
            for handle in [key.pair, key.left] {
                #expect(throws: KeyStoreError.self) { try session.attributes(of: handle) }
            }
            #expect(throws: KeyStoreError.self) {
                try RetailMACKey.withKey(from: base, blocks: Self.probe, in: session) { _ in }
            }
            try session.destroy(base)
        }
    }
}
