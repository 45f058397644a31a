import ByteCoding
import ECardTesting
import SmartCard
import Testing

@testable import VirtualCard

@Suite("Card manager")
struct CardManagerTests {
    let folder: TemporaryFolder
    let host: TestHost

    init() throws {
        folder = try TemporaryFolder()
        host = TestHost(try VirtualChip.manufacture(at: folder.file("chip"), exposed: true))
    }

    // MARK: - GET DATA

    /// GlobalPlatform Card Specification 2.3.1, Annex H.2 and H.3, spelled out.
    @Test func recognitionData() throws {
        let expected =
            "66 31 73 2F 06 07 2A864886FC6B01 60 0C 06 0A 2A864886FC6B02020301 63 09 06 07 2A864886FC6B03"
            + " 64 0B 06 09 2A864886FC6B040370"
        #expect(try host.send("80CA006600") == ResponseAPDU(data: bytes(expected), status: .ok))
        #expect(try host.send("00CA006600").data.hex == (try bytes(expected)).hex)
    }

    @Test func openData() throws {
        #expect(try host.send("80CA00E000").data.hex == "E012C00401FF8810C00402FF8810C00403FF8810")
        #expect(try host.send("80CA00C100").data.hex == "C103000000")
        let kdd = try BERTLV.parse(host.send("80CA00CF00").data)
        #expect(kdd.first(0xCF)?.value == host.chip.keyDiversificationData)
        #expect(try BERTLV.parse(host.send("80CA9F7F00").data).first(0x9F7F)?.value.count == 42)
        for unknown in ["80CA004200", "80CA000000", "80CAFFFF00"] {
            #expect(try host.status(unknown) == .referencedDataNotFound)
        }
    }

    // MARK: - Secure channel

    @Test(arguments: [UInt8(0x00), 0x01, 0x03, 0x11, 0x13, 0x33])
    func levels(level: UInt8) throws {
        #expect(try host.open(level: level) == .ok)
        for _ in 0..<3 {
            let answer = try host.secure(0xF2, 0x80, 0x02, [0x4F, 0x00])
            #expect(answer.status == .ok)
            #expect(try BERTLV.parse(answer.data).first(0x9F70)?.value == [0x0F])
            // Without data; and an error, which stays bare.
            #expect(try host.secure(CommandAPDU(0x80, 0xCA, 0x00, 0xC1, le: 256)).status == .ok)
            #expect(try host.secure(0xF2, 0x80, 0x02, [0x4F, 0x01, 0xAA]).status == .referencedDataNotFound)
        }
    }

    @Test(arguments: [UInt8(0x02), 0x10, 0x12, 0x30, 0x31, 0x23, 0x80, 0xFF])
    func levelsThatDoNotExist(level: UInt8) throws {
        #expect(try host.open(level: level) == .incorrectP1P2)
    }

    @Test func theCounterRisesAndSurvives() throws {
        func counter(_ host: TestHost) throws -> UInt32 {
            try #require(UInt32(bigEndian: host.send("8050000008000102030405060700").data.suffix(3)))
        }
        #expect(try counter(host) == 1)
        #expect(try counter(host) == 2)
        host.chip.reset()
        #expect(try counter(host) == 3)
        #expect(try host.send("80CA00C100").data.hex == "C103000003")
    }

    @Test func wrongHostCryptogram() throws {
        _ = try host.send("8050000008000102030405060700")
        #expect(try host.status("8482330010" + String(repeating: "00", count: 16)) == .securityStatusNotSatisfied)
        // The challenge is spent.
        #expect(try host.status("8482330010" + String(repeating: "00", count: 16)) == .conditionsNotSatisfied)
    }

    @Test func authenticationWithoutInitialization() throws {
        #expect(try host.status("8482000010" + String(repeating: "00", count: 16)) == .conditionsNotSatisfied)
    }

    @Test func anythingBetweenSpoilsTheChallenge() throws {
        let wrongKeys = KeySet(
            version: 0xFF, encryption: SecretBytes(UInt8(0)..<16), mac: SecretBytes(UInt8(0)..<16),
            dataEncryption: SecretBytes(UInt8(0)..<16))
        #expect(throws: TestFailure.self) { try host.open(level: 0x01, keySet: wrongKeys) }
        #expect(try host.status("80CA006600") == .ok)
        #expect(try host.status("8482010010" + String(repeating: "00", count: 16)) == .conditionsNotSatisfied)
    }

    @Test func unknownKeyVersionAndWrongShape() throws {
        #expect(try host.status("8050300008000102030405060700") == .referencedDataNotFound)
        #expect(try host.status("80500001080001020304050607") == .incorrectP1P2)
        #expect(try host.status("80500000070001020304050600") == .wrongLength)
    }

    /// Every way in which a session ends: afterwards nothing secured is accepted.
    @Test(arguments: ["wrong MAC", "replay", "plain command", "short", "SELECT", "reset", "new INITIALIZE UPDATE"])
    func sessionEnds(how: String) throws {
        try host.open(level: 0x33)
        let status = CommandAPDU(0x80, 0xF2, 0x80, 0x02, [0x4F, 0x00], le: 256)
        let good = try host.secured(status)
        switch how {
        case "wrong MAC":
            var wrong = good
            wrong[wrong.count - 2] ^= 1
            #expect(try host.send(wrong).status == .securityStatusNotSatisfied)
        case "replay":
            #expect(try host.send(good).status == .ok)
            #expect(try host.send(good).status == .securityStatusNotSatisfied)
        case "plain command": #expect(try host.send(status.encoded).status == .securityStatusNotSatisfied)
        case "short": #expect(try host.status("84F28002044F000000") == .securityStatusNotSatisfied)
        case "SELECT": #expect(try host.status("00A4040000") == .ok)
        case "reset": host.chip.reset()
        default: #expect(try host.send("8050000008000102030405060700").status == .ok)
        }
        #expect(try host.secure(status).status == .securityStatusNotSatisfied)
        #expect(try host.secure(0xE4, 0x00, 0x00, [0x4F, 0x05, 1, 2, 3, 4, 5]).status == .securityStatusNotSatisfied)
    }

    /// What changes content needs a C-MAC; nothing needs less than authentication but GET DATA.
    @Test func rightsWithoutAndWithLowSession() throws {
        let commands = [
            "80E60C0000", "80E6200000", "80E2800000", "80E400000A4F08A000000151000000", "80F0800F", "80D8008101",
        ]
        for command in commands + ["80F28002024F0000"] {
            #expect(try host.status(command + (command.hasSuffix("01") ? "01" : "")) == .securityStatusNotSatisfied)
        }
        try host.open(level: 0x00)
        #expect(try host.status("80F28002024F0000") == .ok)
        for command in commands {
            #expect(try host.status(command + (command.hasSuffix("01") ? "01" : "")) == .securityStatusNotSatisfied)
        }
    }

    // MARK: - GET STATUS

    @Test func statusLists() throws {
        try host.open(level: 0x13)
        #expect(try host.secure(0xF2, 0x40, 0x02, [0x4F, 0x00]) == ResponseAPDU(status: .ok))
        #expect(
            try host.secure(0xF2, 0x80, 0x02, [0x4F, 0x00]).data.hex == "E3134F08A0000001510000009F70010FC5039E0000")
        #expect(try host.secure(0xF2, 0x80, 0x00, [0x4F, 0x00]).data.hex == "08A0000001510000000F9E")
        #expect(
            try host.secure(0xF2, 0x10, 0x02, [0x4F, 0x00]).data.hex
                == "E3284F06F045434152449F7001018407F04543415244018407F0454341524402CC08A000000151000000")
        #expect(
            try host.secure(0xF2, 0x10, 0x00, [0x4F, 0x00]).data.hex
                == "06F0454341524401000207F045434152440107F0454341524402")
        #expect(try host.secure(0xF2, 0x20, 0x00, [0x4F, 0x00]).data.hex == "06F045434152440100")
        #expect(try host.secure(0xF2, 0x40, 0x02, [0x4F, 0x02, 0xF0, 0x46]).status == .referencedDataNotFound)
        #expect(try host.secure(0xF2, 0x41, 0x02, [0x4F, 0x00]).status == .incorrectP1P2)
        #expect(try host.secure(0xF2, 0x40, 0x02, [0x4F, 0x05]).status == .wrongData)
        #expect(try host.secure(0xF2, 0x40, 0x02, []).status == .wrongData)
    }

    @Test func longStatusListComesInPieces() throws {
        try host.open(level: 0x33)
        for number in UInt8(1)...12 { try host.install(module: .payment, aid: TestProfile.paymentAID + [number]) }
        var found: [[UInt8]] = []
        var answer = try host.secure(0xF2, 0x40, 0x02, [0x4F, 0x00])
        var pieces = 1
        found += try BERTLV.parse(answer.data).compactMap { $0.first(0x4F)?.value }
        while answer.status == .moreDataAvailable {
            answer = try host.secure(0xF2, 0x40, 0x03, [0x4F, 0x00])
            pieces += 1
            found += try BERTLV.parse(answer.data).compactMap { $0.first(0x4F)?.value }
        }
        #expect(answer.status == .ok)
        #expect(pieces > 1)
        #expect(found == (UInt8(1)...12).map { TestProfile.paymentAID + [$0] })
        #expect(try host.secure(0xF2, 0x40, 0x03, [0x4F, 0x00]).status == .conditionsNotSatisfied)
    }

    // MARK: - Content

    @Test func installAndDelete() throws {
        try host.open(level: 0x03)
        try host.install(module: .payment, aid: TestProfile.paymentAID)
        let entry = try host.secure(0xF2, 0x40, 0x02, [0x4F, 0x00])
        #expect(try BERTLV.parse(entry.data).first(0x9F70)?.value == [0x07])
        let object = [0x4F, UInt8(TestProfile.paymentAID.count)] + TestProfile.paymentAID
        #expect(try host.secure(0xE4, 0x00, 0x80, object) == ResponseAPDU(data: [0x00], status: .ok))
        #expect(try host.secure(0xE4, 0x00, 0x00, object).status == .referencedDataNotFound)
        #expect(try host.secure(0xE4, 0x00, 0x00, [0x4F, 0x08] + CardState.domain).status == .conditionsNotSatisfied)
        #expect(try host.secure(0xE4, 0x00, 0x00, [0x4F, 0x06] + Module.loadFile).status == .conditionsNotSatisfied)
        #expect(try host.secure(0xE4, 0x00, 0x00, [0xD0, 0x01, 0x01]).status == .wrongData)
    }

    @Test(arguments: [
        // Unknown load file, unknown module, name too short, privileges asked for, field missing, length beyond the end.
        ("0C", "06F04543415245" + "07F0454341524401" + "05F045434152" + "0100" + "02C900" + "00", 0x6A88),
        ("0C", "06F04543415244" + "07F0454341524409" + "05F045434152" + "0100" + "02C900" + "00", 0x6A88),
        ("0C", "06F04543415244" + "07F0454341524401" + "04F0454341" + "0100" + "02C900" + "00", 0x6A80),
        ("0C", "06F04543415244" + "07F0454341524401" + "05F045434152" + "0180" + "02C900" + "00", 0x6A80),
        ("0C", "06F04543415244" + "07F0454341524401" + "05F045434152" + "0100" + "02C900", 0x6A80),
        ("0C", "06F04543415244" + "07F0454341524401" + "05F045434152" + "0100" + "FFC900", 0x6A80),
        ("0C", "06F04543415244" + "07F0454341524401" + "08A000000151000000" + "0100" + "02C900" + "00", 0x6985),
        // Other forms of INSTALL; an application that is not there.
        ("02", "06F04543415244" + "00000000", 0x6A80), ("04", "000000000000", 0x6A86),
        ("20", "0000050102030405000000", 0x6A88),
    ])
    func installRefuses(p1: String, data: String, status: Int) throws {
        try host.open(level: 0x01)
        let answer = try host.secure(0xE6, try bytes(p1)[0], 0x00, bytes(data))
        #expect(answer.status == StatusWord(rawValue: UInt16(status)))
    }

    @Test func installTwice() throws {
        try host.open(level: 0x01)
        try host.install(module: .payment, aid: TestProfile.paymentAID)
        let fields = [Module.loadFile, Module.payment.aid, TestProfile.paymentAID, [0x00], [], []]
        #expect(
            try host.secure(0xE6, 0x0C, 0x00, fields.flatMap { [UInt8($0.count)] + $0 }).status
                == .conditionsNotSatisfied)
    }

    // MARK: - Life cycle

    @Test func cardLifeCycle() throws {
        let chip = try TestProfile.personalizedChip(try TemporaryFolder())
        let host = TestHost(chip)
        try host.open(level: 0x01)
        #expect(try host.secure(0xF0, 0x80, 0x07).status == .conditionsNotSatisfied)
        #expect(try host.secure(0xF0, 0x80, 0x55).status == .incorrectP1P2)
        #expect(try host.secure(0xF0, 0x80, 0x7F).status == .ok)
        // Locked: the applications are gone, the domain answers with a warning and can unlock.
        #expect(try host.select(TestProfile.paymentAID).status == .functionNotSupported)
        #expect(try host.select([]).status == .selectedFileInvalidated)
        try host.open(level: 0x01)
        #expect(try host.secure(0xF0, 0x80, 0x0F).status == .ok)
        #expect(try host.select(TestProfile.paymentAID).status == .ok)
        #expect(try host.select([]).status == .ok)
        // Terminated: nothing but GET DATA, for good.
        try host.open(level: 0x01)
        #expect(try host.secure(0xF0, 0x80, 0xFF).status == .ok)
        for name in [[], CardState.domain, TestProfile.paymentAID, TestProfile.directoryAID] {
            #expect(try host.select(name).status == .functionNotSupported)
        }
        #expect(try host.status("8050000008000102030405060700") == .conditionsNotSatisfied)
        #expect(try host.status("80CA9F7F00") == .ok)
    }

    @Test func applicationLock() throws {
        let chip = try TestProfile.personalizedChip(try TemporaryFolder())
        let host = TestHost(chip)
        try host.open(level: 0x01)
        #expect(try host.secure(0xF0, 0x40, 0x80, TestProfile.paymentAID).status == .ok)
        #expect(try host.secure(0xF0, 0x40, 0x80, [1, 2, 3, 4, 5]).status == .referencedDataNotFound)
        let selected = try host.select(TestProfile.paymentAID)
        #expect(selected.status == .selectedFileInvalidated)
        #expect(!selected.data.isEmpty)
        #expect(try host.status("80A8000002830000") == .conditionsNotSatisfied)
        _ = try host.select([])
        try host.open(level: 0x01)
        #expect(try host.secure(0xF0, 0x40, 0x07, TestProfile.paymentAID).status == .conditionsNotSatisfied)
        #expect(try host.secure(0xF0, 0x40, 0x0F, TestProfile.paymentAID).status == .ok)
        #expect(try host.select(TestProfile.paymentAID).status == .ok)
    }
}
