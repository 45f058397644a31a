import ByteCoding
import GlobalPlatform
import KeyCustody
import SmartCard
import Testing

/// The commands on the wire, as the tables of the specification lay them out, and what is done with odd answers.
struct SecurityDomainTests {
    private let instance = "A0000000031010"

    @Test func selectReadsTheName() async throws {
        let card = ScriptedCard(["6F0F8408A000000151000000A5039F65009000", "9000", "6A82"])
        let domain = SecurityDomain(card)
        #expect(try await domain.selectIssuerSecurityDomain() == aid("A000000151000000"))
        #expect(try await domain.select(aid(instance)) == [])
        let error = await #expect(throws: CardRefusal.self) { try await domain.select(aid(instance)) }
        #expect(error?.status == .fileNotFound)
        #expect(error?.asked == "SELECT A0000000031010")
        #expect(
            card.commands == [
                bytes("00A4040000"), bytes("00A4040007A000000003101000"), bytes("00A4040007A000000003101000"),
            ])
    }

    @Test(arguments: ["9000", "6F009000", "6F028400" + "9000", "6F0584039F65009000", "FF9000"])
    func anIssuerSecurityDomainWithoutANameIsAnError(answer: String) async {
        let error = await #expect(throws: GlobalPlatformError.self) {
            try await SecurityDomain(ScriptedCard([answer])).selectIssuerSecurityDomain()
        }
        #expect(error?.kind == .malformedAnswer)
    }

    @Test func theRegistryIsReadPageByPage() async throws {
        let page = "E3 0D 4F 07 A0000001510000 9F70 01 07"
        let card = ScriptedCard([page + "6310", page + page + "6310", page + "9000"])
        let entries = try await SecurityDomain(card).registry(.applications, prefix: [0xA0, 0x00])
        #expect(entries.count == 4)
        #expect(
            card.commands.map(\.hex) == [
                "80F24002044F02A00000", "80F24003044F02A00000", "80F24003044F02A00000",
            ])
    }

    @Test(arguments: ["6A88", "9000"])
    func anEmptyRegistryIsNoError(answer: String) async throws {
        #expect(try await SecurityDomain(ScriptedCard([answer])).registry(.loadFiles).isEmpty)
    }

    @Test func aCardThatAlwaysHasMoreIsStopped() async {
        let card = ScriptedCard { _, _ in [0x63, 0x10] }
        let error = await #expect(throws: GlobalPlatformError.self) {
            try await SecurityDomain(card).registry(.applications)
        }
        #expect(error?.kind == .malformedAnswer)
        #expect(card.commands.count == 256)
    }

    @Test func contentManagementCommandsAreAsTheTablesSay() async throws {
        let card = ScriptedCard { _, _ in [0x90, 0x00] }
        let domain = SecurityDomain(card)
        try await domain.install(
            aid(instance), from: aid("F04543415244"), module: aid("F0454341524401"), parameters: [0x01, 0x02])
        try await domain.install(
            aid(instance), from: aid("F04543415244"), module: aid("F0454341524401"),
            privileges: [.cardReset, .finalApplication])
        try await domain.installForPersonalization(aid(instance))
        try await domain.storeData([DataGrouping(0x0101, [0x70, 0x00]), DataGrouping(0x8000, [1], isEncrypted: true)])
        try await domain.delete(aid(instance))
        try await domain.delete(aid(instance), related: true)
        try await domain.setStatus(of: aid(instance), to: .selectable)
        try await domain.setCardStatus(to: .cardLocked)
        _ = try await domain.data(0x9F7F)
        #expect(
            card.commands.map(\.hex) == [
                "80E60C00" + "1F" + "06F04543415244" + "07F0454341524401" + "07A0000000031010" + "0100" + "04C9020102"
                    + "00" + "00",
                "80E60C00" + "1F" + "06F04543415244" + "07F0454341524401" + "07A0000000031010" + "03040200" + "02C900"
                    + "00" + "00",
                "80E62000" + "0D" + "0000" + "07A0000000031010" + "000000" + "00",
                "80E20000" + "05" + "0101027000" + "00",
                "80E2E001" + "04" + "80000101" + "00",
                "80E40000" + "09" + "4F07A0000000031010" + "00",
                "80E40080" + "09" + "4F07A0000000031010" + "00",
                "80F04007" + "07" + "A0000000031010",
                "80F0807F",
                "80CA9F7F00",
            ])
    }

    @Test func storeDataStopsAtTheFirstRefusal() async throws {
        let card = ScriptedCard(["9000", "6985", "9000"])
        let groupings = try (1...3).map { try DataGrouping(UInt16($0), [UInt8](repeating: 0, count: 200)) }
        let error = await #expect(throws: CardRefusal.self) { try await SecurityDomain(card).storeData(groupings) }
        #expect(error?.asked == "STORE DATA block 1")
        #expect(error?.status == .conditionsNotSatisfied)
        #expect(card.commands.count == 2)
    }

    @Test(arguments: ["", "90"])
    func anAnswerWithoutAStatusIsALinkError(answer: String) async {
        let error = await #expect(throws: CardError.self) {
            try await SecurityDomain(ScriptedCard([answer])).keyInformation()
        }
        #expect(error?.kind == .malformedAnswer)
    }

    @Test(arguments: [0x6104, 0x6C10, 0x6ABC, 0x0000, 0xFFFF] as [StatusWord])
    func aStatusThatNobodyKnowsKeepsItsNumber(status: StatusWord) async {
        let answer = status.rawValue.bigEndianBytes.hex
        let error = await #expect(throws: CardRefusal.self) {
            try await SecurityDomain(ScriptedCard([answer])).productionLifeCycle()
        }
        #expect(error?.status == status)
        #expect(error.map { "\($0)".contains(answer) } == true)
    }
}

struct BlankChipTests {
    /// An RSA-2048 public key's shape; no test needs its private half.
    private static func answer(modulus: [UInt8], exponent: String, diversificationData: Int = 10) -> [UInt8] {
        BERTLV(
            0x7F49,
            [
                BERTLV(0x81, modulus), BERTLV(0x82, bytes(exponent)),
                BERTLV(0x9F7F, [UInt8](repeating: 7, count: diversificationData)),
            ]
        ).encoded
    }

    private static let modulus = [0x80] + [UInt8](repeating: 0, count: 254) + [0x01]

    @Test func theKeyAndTheDiversificationDataAreRead() throws {
        let chip = try BlankChip(Self.answer(modulus: Self.modulus, exponent: "010001"))
        #expect(chip.publicKey == RSAPublicKey(modulus: Self.modulus, exponent: [1, 0, 1]))
        #expect(chip.diversificationData == [UInt8](repeating: 7, count: 10))
    }

    @Test(arguments: ["", "00", "01", "03", "010000", "0100000001"])
    func anExponentThatGivesKeysAwayIsRefused(exponent: String) {
        #expect(throws: GlobalPlatformError.self) {
            try BlankChip(Self.answer(modulus: Self.modulus, exponent: exponent))
        }
    }

    @Test(arguments: [
        [UInt8](repeating: 0xFF, count: 128), [0x7F] + [UInt8](repeating: 0xFF, count: 255),
        [UInt8](repeating: 0xFE, count: 256), [],
    ])
    func aModulusThatIsNoRSA2048IsRefused(modulus: [UInt8]) {
        #expect(throws: GlobalPlatformError.self) { try BlankChip(Self.answer(modulus: modulus, exponent: "010001")) }
    }

    @Test(arguments: [0, 9, 11])
    func diversificationDataOfAnotherLengthIsRefused(count: Int) {
        #expect(throws: GlobalPlatformError.self) {
            try BlankChip(Self.answer(modulus: Self.modulus, exponent: "010001", diversificationData: count))
        }
    }
}

struct PutKeyTests {
    private static let diversificationData = bytes("00112233445566778899")

    /// The new key set, its keys in clear and their check values, computed by keys of known value.
    private func expected() async throws -> (new: StaticKeys, current: StaticKeys, data: [UInt8], answer: [UInt8]) {
        let new = try StaticKeys(
            .diversified(kmc: Token.kmcLabel), diversificationData: Self.diversificationData, version: 0x22)
        let current = try StaticKeys(.testKeys, diversificationData: Self.diversificationData, version: 0xFF)
        let (data, checkValues) = try await Token.shared().keyStore.withSession { session in
            let kmc = try Token.key(Token.kmcValue.hex, .aes(bytes: 16), .encrypt, in: session)
            let dek = try Token.key("404142434445464748494A4B4C4D4E4F", .aes(bytes: 16), .encrypt, in: session)
            var data: [UInt8] = [0x22]
            var checkValues: [UInt8] = []
            for number in [1, 2, 3] as [UInt8] {
                let block = Self.diversificationData + [0x45, 0x43, 0x00, 0x00, 0x22, number]
                let value = try session.encrypt(block, with: kmc, .aesECB)
                let key = try Token.key(value.hex, .aes(bytes: 16), .encrypt, in: session)
                let ones = [UInt8](repeating: 0x01, count: 16)
                let checkValue = Array(try session.encrypt(ones, with: key, .aesECB).prefix(3))
                // One block under a zero IV is ECB.
                data += [0x88, 0x11, 0x10] + (try session.encrypt(value, with: dek, .aesECB)) + [0x03] + checkValue
                checkValues += checkValue
            }
            return (data, checkValues)
        }
        return (new, current, data, [0x22] + checkValues)
    }

    @Test func keysGoEncryptedWithTheirCheckValues() async throws {
        let (new, current, data, answer) = try await expected()
        let card = ScriptedCard([answer.hex + "9000"])
        try await SecurityDomain(card).putKeys(new, replacing: 0xFF, under: current, in: Token.shared().keyStore)
        #expect(card.commands == [CommandAPDU(0x80, 0xD8, 0xFF, 0x81, data, le: 256).encoded])
    }

    @Test(arguments: [0, 1, 9])
    func aCheckValueThatIsNotOursIsAnError(index: Int) async throws {
        let (new, current, _, answer) = try await expected()
        var altered = answer
        altered[index] ^= 1
        let card = ScriptedCard([altered.hex + "9000", "9000"])
        // The second answer has no check values at all.
        for _ in 0..<2 {
            let error = await #expect(throws: GlobalPlatformError.self) {
                try await SecurityDomain(card).putKeys(new, replacing: 0, under: current, in: Token.shared().keyStore)
            }
            #expect(error?.kind == .checkValueMismatch)
        }
    }
}
