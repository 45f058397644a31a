import ByteCoding
import CardData
import ECardTesting
import KeyCustody
import Testing

@testable import EMV

struct CryptogramTests {
    /// ISO/IEC 9797-1:1999, Annex A, MAC algorithm 3 with DES, padding methods 1 and 2.
    static let retailMACs = [
        ("Now is the time for all ", MACPadding.method1, "A1C72E74EA3FA9B6"),
        ("Now is the time for all ", .method2, "E9086230CA3BE796"),
        ("Now is the time for it", .method1, "2E2B1428CC78254F"),
        ("Now is the time for it", .method2, "5A692CE64F404145"),
    ]

    @Test(arguments: retailMACs, TestToken.available)
    func retailMAC(vector: (message: String, padding: MACPadding, expected: String), token: TestToken) throws {
        let (message, padding, expected) = vector
        try Fixture.withSession(on: token) { session throws in
            try session.withMACKey(hex("0123456789ABCDEFFEDCBA9876543210")) { key throws in
                for length in 4...8 {
                    let mac = try key.mac(Array(message.utf8), padding: padding, length: length, in: session)
                    #expect(mac == Array(hex(expected).prefix(length)))
                }
                for length in [0, 3, 9, -1] {
                    #expect(throws: KeyStoreError.self) {
                        try key.mac(Array(message.utf8), padding: padding, length: length, in: session)
                    }
                }
            }
        }
    }

    @Test(arguments: [
        (0, MACPadding.method1, 8), (0, .method2, 8), (7, .method2, 8), (8, .method1, 8), (8, .method2, 16),
        (9, .method1, 16),
    ])
    func paddingGivesWholeBlocks(count: Int, padding: MACPadding, expected: Int) {
        let message = [UInt8](repeating: 0xAA, count: count)
        let padded = padding.apply(to: message)
        #expect(padded.count == expected)
        #expect(padded.prefix(count) == message[...])
        let tail = padded.dropFirst(count)
        #expect(padding == .method2 ? tail.first == 0x80 : tail.allSatisfy { $0 == 0 })
    }

    /// pyemv 1.5.0, documentation of `ac`.
    @Test(arguments: TestToken.available) func publishedCryptogramAndAnswers(token: TestToken) throws {
        try Fixture.withSession(on: token) { session throws in
            try session.withMACKey(hex("29B33180E567CE38EA4CBC9D753B0E61")) { key throws in
                let data = hex("0123456789ABCDEF0123456789ABCDEF")
                let arqc = hex("FA624250B008B59A")
                #expect(try key.verifies(arqc: arqc, over: data, in: session))
                #expect(try !key.verifies(arqc: hex("FA624250B008B59B"), over: data, in: session))
                #expect(try !key.verifies(arqc: hex("FA624250B008B5"), over: data, in: session))
                #expect(try !key.verifies(arqc: [], over: data, in: session))
                #expect(try !key.verifies(arqc: arqc, over: data, padding: .method1, in: session))
                #expect(
                    try key.issuerAuthenticationData(arqc: arqc, responseCode: [0, 0], in: session)
                        == hex("45D4255EEF10C920") + [0, 0])
                #expect(
                    try key.issuerAuthenticationData(arqc: arqc, status: [], in: session)
                        == hex("CB56FA40") + [0, 0, 0, 0])
                let statuses: [CardStatusUpdate] = [.issuerApproves, []]
                #expect(
                    try key.answers(to: arqc, over: data, statuses: statuses, in: session)
                        == statuses.map { try key.issuerAuthenticationData(arqc: arqc, status: $0, in: session) })
                for wrong in [hex("FA624250B008B59B"), hex("FA624250B008B5"), []] {
                    #expect(try key.answers(to: wrong, over: data, statuses: statuses, in: session) == nil)
                }
                #expect(
                    try key.answers(to: arqc, over: data, padding: .method1, statuses: statuses, in: session) == nil)
                #expect(throws: KeyStoreError.self) {
                    try key.issuerAuthenticationData(arqc: Array(arqc.dropLast()), status: [], in: session)
                }
                #expect(throws: KeyStoreError.self) {
                    try key.issuerAuthenticationData(arqc: arqc, responseCode: [0], in: session)
                }
                #expect(throws: KeyStoreError.self) {
                    try key.issuerAuthenticationData(
                        arqc: arqc, status: [], proprietaryData: [UInt8](repeating: 0, count: 9), in: session)
                }
            }
        }
    }

    static let elements: [BERTag: [UInt8]] = [
        0x9F02: hex("000000009999"), 0x9F03: hex("000000000000"), 0x9F1A: hex("0840"), 0x95: hex("8000048000"),
        0x5F2A: hex("0840"), 0x9A: hex("991231"), 0x9C: hex("01"), 0x9F37: hex("52BF4585"), 0x82: hex("1800"),
        0x9F36: hex("0FFF"), 0x9F10: hex("06011203A0B800"),
    ]

    /// pyemv 1.5.0, documentation of `cvn.VisaCVN18`: key, PAN 1234567890123456 (which fails Luhn), sequence number 00.
    @Test func cvn18() throws {
        let input = try CryptogramVersion.cvn18.input(Self.elements)
        try Fixture.withSession { session throws in
            let issuer = try session.imported([UInt8](repeating: 0xAA, count: 16), [.derive])
            let data = try CardMasterKey.diversificationData(digits: "1234567890123456", sequenceNumber: 0, option: .a)
            let card = try session.derive(CardMasterKey.authorization, from: issuer, by: .des3ECBEncrypt(data))
            let arqc = hex("769577B5ABE9FE62")
            for (counter, isRight) in [(UInt16(0x0FFF), true), (0x1000, false)] {
                let (verified, answer) = try RetailMACKey.withCommonSessionKey(
                    cardKey: card, counter: counter, in: session
                ) { key throws(KeyStoreError) in
                    (
                        try key.verifies(arqc: arqc, over: input, in: session),
                        try key.issuerAuthenticationData(arqc: arqc, status: [], in: session)
                    )
                }
                #expect(verified == isRight)
                #expect((answer == hex("76503F4800000000")) == isRight)
            }
            try session.destroy(card)
            try session.destroy(issuer)
        }
    }

    @Test func cvn10EndsWithTheCVR() throws {
        let whole = try CryptogramVersion.cvn18.input(Self.elements)
        let short = try CryptogramVersion.cvn10.input(Self.elements)
        #expect(whole.suffix(7) == hex("06011203A0B800")[...])
        #expect(short.suffix(4) == hex("03A0B800")[...])
        #expect(whole.dropLast(7) == short.dropLast(4))
    }

    /// A byte moved from the amount into its neighbour leaves the joined bytes alone; the lengths give it away.
    @Test func elementsOfOtherLengthsAreRefused() throws {
        var moved = Self.elements
        moved[0x9F02] = hex("00000000999900")
        moved[0x9F03] = hex("0000000000")
        #expect(throws: CryptogramError.self) { try CryptogramVersion.cvn18.input(moved) }
        for tag in CryptogramVersion.recommendedTags + [0x9F10] {
            var missing = Self.elements
            missing[tag] = nil
            #expect(throws: CryptogramError(.missing, tag: tag)) { try CryptogramVersion.cvn18.input(missing) }
        }
    }

    @Test(arguments: ["", "06011203", "07011203A0B800", "06011204A0B80000", String(repeating: "06", count: 33)])
    func strangeIssuerDataIsRefused(text: String) {
        #expect(throws: CryptogramError.self) { try IssuerApplicationData(hex(text)) }
    }

    @Test func issuerDataNamesItsParts() throws {
        let data = try IssuerApplicationData(hex("06011203A48400"))
        #expect(data.derivationKeyIndex == 1)
        #expect(data.cryptogramVersion == 18)
        #expect(try CryptogramVersion(named: data) == .cvn18)
        #expect(data.cvr.bytes == hex("03A48400"))
        #expect(data.cvr.secondCryptogramNotRequested)
        #expect(data.cvr.firstCryptogram == .arqc)
        #expect(!data.cvr.contains(.issuerAuthenticationFailed))
        #expect(data.cvr.contains(.issuerAuthenticationNotPerformed))
        #expect(throws: CryptogramError.self) {
            try CryptogramVersion(named: IssuerApplicationData(hex("06011103A0B800")))
        }
    }

    /// Bit by bit as VIS 1.5, Appendix A, has them; docs/virtual-card.md for those that our chip sets.
    @Test(arguments: [
        ("03A80000", "issuer authentication performed and failed"), ("03A40000", "offline PIN verification performed"),
        ("03A20000", "offline PIN verification failed"), ("03A10000", "unable to go online"),
        ("03A08000", "last online transaction not completed"), ("03A04000", "PIN try limit exceeded"),
        ("03A02000", "offline limits exceeded"), ("03A01000", "new card"),
        ("03A00800", "issuer authentication failed in the last online transaction"),
        ("03A00400", "issuer authentication not performed after an online answer"),
        ("03A00200", "application blocked by the card: PIN try limit exceeded"),
        ("03A00100", "static data authentication failed in the last transaction, declined offline"),
        ("03A00030", "3 issuer script commands after the last transaction"),
        ("03A00008", "issuer script failed in the last transaction"),
        ("03A00004", "dynamic data authentication failed in the last transaction, declined offline"),
        ("03A00002", "dynamic data authentication performed"), ("03A00001", "byte 4 bit 1"),
    ])
    func everyResultOfTheCardIsSaid(results: String, meaning: String) throws {
        let results = try #require(CardVerificationResults(hex(results)))
        #expect(results.meanings == ["second cryptogram not requested", "first cryptogram ARQC (online)", meaning])
    }
}

struct CardValueTests {
    static let cvk = hex("0123456789ABCDEFFEDCBA9876543210")

    /// A vector printed in many HSM manuals, which psec 1.3.0 agrees with: key 0123456789ABCDEF FEDCBA9876543210, card 4123456789012345,
    /// 8701, 101 gives 561.
    @Test(arguments: TestToken.available) func publishedValue(token: TestToken) throws {
        let input = try CardValueInput(
            pan: PAN("4123456789012349"), expiry: ExpiryDate(yymm: "8701"), serviceCode: ServiceCode("101"))
        // The published number fails Luhn, so its last digit is put back into the block.
        var block = input.block
        block[7] = 0x45
        try Fixture.withSession(on: token) { session throws in
            try session.withMACKey(Self.cvk) { key throws in
                let mac = try key.mac(block, padding: .method1, in: session)
                #expect(CardValueInput.decimalize(mac, digits: 3) == "561")
            }
        }
    }

    @Test func aSeedGivesTheSameValueAsItsImportedHalves() throws {
        let seed = hex("0123456789ABCDEFFEDCBA98765432100011223344556677")
        let input = try CardValueInput(
            pan: PAN("4111111111111111"), expiry: ExpiryDate(yymm: "3012"), serviceCode: ServiceCode("999"))
        try Fixture.withSession { session throws in
            let base = try session.imported(seed, [.derive])
            let cipher = try session.imported(seed, [.encrypt])
            let halves = try session.encrypt(Array("ECARDCVAECARDCVB".utf8), with: cipher, .des3ECB)
            let expected = try session.withMACKey(halves) { try $0.cardValue(input, in: session) }
            let value = try RetailMACKey.withCardVerificationKey(seed: base, in: session) {
                key throws(KeyStoreError) in try key.cardValue(input, in: session)
            }
            #expect(value == expected)
            #expect(value.utf8.count == 3)
            try session.destroy(base)
            try session.destroy(cipher)
        }
    }

    /// Decimal digits first, left to right; then the letters as 0–5.
    @Test(arguments: [
        ("12ABCDEF", 3, "120"), ("ABCDEFAB", 3, "012"), ("FF9A8B7C", 5, "98755"), ("FFFFFFFFFFFFFFFF", 3, "555"),
    ])
    func decimalization(block: String, digits: Int, expected: String) {
        #expect(CardValueInput.decimalize(hex(block), digits: digits) == expected)
    }
}
