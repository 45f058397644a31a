import ByteCoding
import SmartCard
import Testing

@testable import GlobalPlatform

/// Answers of real cards, as GlobalPlatformPro's TestParseTags keeps them.
private enum RealCard {
    static let recognition211 =
        "664C734A06072A864886FC6B01600C060A2A864886FC6B02020101630906072A864886FC6B03640B06092A864886FC6B040215650B06"
        + "092B8510864864020103660C060A2B060104012A026E0102"
    static let recognition22 =
        "6657735506072A864886FC6B01600B06092A864886FC6B020202630906072A864886FC6B03640B06092A864886FC6B040370640B0609"
        + "2A864886FC6B048000650A06082A864886FC6B0504660C060A2B060104012A026E0103"
    static let keys = "E020C00401018820C00402018820C00403018820C0060170A180A003C00401718010"
    static let extendedKeys = "E021C00401018010C00402018010C00403018010C00D0173FFA10080A0000301840100"
    static let registry =
        "E3464F08A0000000030000009F700101C5039EFE80CF0140CF0141CF0142CF0143CF0180CF0181CF0182CF0183C40BD276000005AAFF"
        + "CAFE0001CE020001CC08A000000003000000"
    static let shortRegistry = "E3144F07A00000015100009F700107C50180EA028000"
}

struct CardInformationTests {
    @Test func recognitionDataSaysVersionAndSecureChannels() throws {
        let older = try CardRecognitionData(bytes(RealCard.recognition211))
        #expect(older.version == "2.1.1")
        #expect(older.secureChannels == [.init(scp: 0x02, options: 0x15)])
        let newer = try CardRecognitionData(bytes(RealCard.recognition22))
        #expect(newer.version == "2.2")
        #expect(newer.secureChannels == [.init(scp: 0x03, options: 0x70), .init(scp: 0x80, options: 0x00)])
    }

    @Test(arguments: ["", "6600", "664C", "7302AABB", "66027300FF", "6F00", "66800000"])
    func recognitionDataOfAnotherFormIsRefused(hex: String) {
        let error = #expect(throws: GlobalPlatformError.self) { try CardRecognitionData(bytes(hex)) }
        #expect(error?.kind == .malformedAnswer)
    }

    @Test func keyInformationListsEveryKey() throws {
        let keys = try KeyInformation.parse(bytes(RealCard.keys))
        #expect(keys.map(\.identifier) == [1, 2, 3, 1, 1])
        #expect(keys.map(\.version) == [1, 1, 1, 0x70, 0x71])
        #expect(keys[0].components == [.init(type: 0x88, length: 32)])
        #expect(keys[3].components == [.init(type: 0xA1, length: 128), .init(type: 0xA0, length: 3)])
    }

    @Test func aKeyInTheExtendedFormatIsListedWithoutItsParts() throws {
        let keys = try KeyInformation.parse(bytes(RealCard.extendedKeys))
        #expect(keys.map(\.version) == [1, 1, 1, 0x73])
        #expect(keys[3].components.isEmpty)
    }

    @Test(arguments: ["", "C00401018820", "E002C000", "E003C00101", "E005C003010188", "E007C0050101882088", "E010C004"])
    func keyInformationOfAnotherFormIsRefused(hex: String) {
        #expect(throws: GlobalPlatformError.self) { try KeyInformation.parse(bytes(hex)) }
    }

    @Test(arguments: ["", "9F7F2A"])
    func productionLifeCycleComesWithAndWithoutItsTag(tag: String) throws {
        let value = (0..<42).map { UInt8($0) }
        let cplc = try CPLC(bytes(tag) + value)
        #expect(cplc.fields.flatMap(\.value) == value)
        #expect(cplc.fields.first { $0.name == "IC serial number" }?.value == [12, 13, 14, 15])
        #expect(cplc.fields.last?.value == [38, 39, 40, 41])
    }

    @Test(arguments: [0, 2, 41, 43, 44])
    func productionLifeCycleOfAnotherLengthIsRefused(count: Int) {
        #expect(throws: GlobalPlatformError.self) { try CPLC([UInt8](repeating: 0x9F, count: count)) }
    }

    @Test func aRegistryEntryHasItsFields() throws {
        let entries = try RegistryEntry.parse(bytes(RealCard.registry) + bytes(RealCard.shortRegistry))
        #expect(entries.count == 2)
        #expect(entries[0].aid == (try aid("A000000003000000")))
        #expect(entries[0].lifeCycle == .opReady)
        #expect(entries[0].privileges?.rawValue == 0x9EFE80)
        #expect(entries[0].loadFile == (try aid("D276000005AAFFCAFE0001")))
        #expect(entries[0].securityDomain == (try aid("A000000003000000")))
        #expect(entries[1].aid == (try aid("A0000001510000")))
        #expect(entries[1].privileges == .securityDomain)
        #expect(entries[1].lifeCycle == .initialized)
    }

    @Test(arguments: ["E300", "E3044F02AABB", "E3099F7001074F04AABBCCDD", "E3094F07A0000001510000", "E320"])
    func aRegistryEntryWithoutNameOrStateIsRefused(hex: String) {
        #expect(throws: GlobalPlatformError.self) { try RegistryEntry.parse(bytes(hex)) }
    }

    @Test(
        arguments: [
            ([], "00"), (.cardReset, "04"), (.securityDomain, "80"), ([.cardReset, .finalApplication], "040200"),
        ] as [(Privileges, String)])
    func privilegesTakeOneByteOrThree(privileges: Privileges, encoded: String) {
        #expect(privileges.encoded == bytes(encoded))
        #expect(Privileges(bytes(encoded)) == privileges)
    }

    @Test func noAnswerMakesAParserTrap() {
        let whole = bytes(RealCard.registry)
        for count in 0...whole.count {
            let cut = Array(whole.prefix(count))
            _ = try? RegistryEntry.parse(cut)
            _ = try? CardRecognitionData(cut)
            _ = try? KeyInformation.parse(cut)
            _ = try? CPLC(cut)
            _ = try? BlankChip(cut)
            _ = try? InitializeUpdateAnswer(cut)
        }
        #expect(Privileges([]) == nil && Privileges([1, 2]) == nil && Privileges([1, 2, 3, 4]) == nil)
    }
}

struct InitializeUpdateTests {
    /// pySim, SCP03_Test_AES128_33.
    static let answer = "00000000000000000000 300370 3B1ACA81E821F219 081CDC01C26B372D 000003"

    @Test func theAnswerIsTakenApart() throws {
        let answer = try InitializeUpdateAnswer(bytes(Self.answer))
        #expect(answer.diversificationData == [UInt8](repeating: 0, count: 10))
        #expect(answer.keyVersion == 0x30)
        #expect(answer.options == [.pseudoRandomChallenge, .responseMAC, .responseEncryption])
        #expect(answer.cardChallenge == bytes("3B1ACA81E821F219"))
        #expect(answer.cardCryptogram == bytes("081CDC01C26B372D"))
        #expect(answer.sequenceCounter == bytes("000003"))
    }

    @Test func aRandomChallengeHasNoCounter() throws {
        var data = bytes(Self.answer)
        data[12] = 0x60
        #expect(throws: GlobalPlatformError.self) { try InitializeUpdateAnswer(data) }
        #expect(try InitializeUpdateAnswer(Array(data.dropLast(3))).sequenceCounter == nil)
    }

    @Test(arguments: Array(0..<32) + [33, 48])
    func anotherLengthIsRefused(count: Int) {
        let data = Array((bytes(Self.answer) + [UInt8](repeating: 0, count: 16)).prefix(count))
        let error = #expect(throws: GlobalPlatformError.self) { try InitializeUpdateAnswer(data) }
        #expect(error?.kind == .malformedAnswer)
    }

    @Test(arguments: [(11, 0x02), (11, 0x00), (12, 0x71)] as [(Int, UInt8)])
    func anotherProtocolIsUnsupported(index: Int, value: UInt8) {
        var data = bytes(Self.answer)
        data[index] = value
        let error = #expect(throws: GlobalPlatformError.self) { try InitializeUpdateAnswer(data) }
        #expect(error?.kind == .unsupported)
    }
}
