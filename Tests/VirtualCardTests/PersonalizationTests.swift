import ByteCoding
import ECardTesting
import SmartCard
import Testing

@testable import VirtualCard

@Suite("Personalization")
struct PersonalizationTests {
    let folder: TemporaryFolder
    let host: TestHost

    init() throws {
        folder = try TemporaryFolder()
        host = TestHost(try VirtualChip.manufacture(at: folder.file("chip"), exposed: true))
        try host.open(level: 0x33)
        try host.install(module: .payment, aid: TestProfile.paymentAID)
    }

    private func lifeCycle() throws -> [UInt8]? {
        if try host.select([]).status.isOK { try host.open(level: 0x33) }
        let answer = try host.secure(0xF2, 0x40, 0x02, [0x4F, 0x09] + TestProfile.paymentAID)
        return try BERTLV.parse(answer.data).first(0x9F70)?.value
    }

    @Test func wholeCard() throws {
        try host.install(module: .paymentSystemEnvironment, aid: TestProfile.directoryAID)
        #expect(try host.personalize(TestProfile()) == .ok)
        #expect(try host.personalizeDirectory(listing: TestProfile.paymentAID) == .ok)
        #expect(try lifeCycle() == [0x0F])

        let directory = try host.select(TestProfile.directoryAID)
        #expect(directory.data.hex == "6F15840E315041592E5359532E4444463031A503880101")
        #expect(try host.send("00B2010C00").data.first == 0x70)
        #expect(try host.status("00B2020C00") == .recordNotFound)
        #expect(try host.status("80A8000002830000") == .instructionNotSupported)

        let payment = try host.select(TestProfile.paymentAID)
        #expect(try BERTLV.parse(payment.data).first(0x84)?.value == TestProfile.paymentAID)
        #expect(try BERTLV.parse(host.send("00B2010C00").data).first(0x5A)?.value.hex == "4761739001010010")
    }

    @Test func onceIsEnough() throws {
        #expect(try host.personalize(TestProfile()) == .ok)
        #expect(try host.beginPersonalization(TestProfile.paymentAID) == .conditionsNotSatisfied)
        #expect(try host.secure(0xE2, 0x80, 0x00, []).status == .conditionsNotSatisfied)
    }

    @Test func noPersonalizationWithoutInstall() throws {
        let block = try #require(try TestProfile().blocks().first)
        #expect(try host.secure(0xE2, block.p1, 0x00, block.data).status == .conditionsNotSatisfied)
    }

    /// Each missing piece is found at the last block, and nothing of the rest stays.
    @Test(arguments: [
        "keys", "check values", "wrong check values", "9102", "9104", "9200", "first record", "second record",
        "A5 twice",
        "cryptogram version 10", "CDOL1 without amount", "CDOL2 missing", "AFL of 3 bytes", "AFL 0 records",
        "9F58 of 2 bytes",
    ])
    func incomplete(what: String) throws {
        var profile = TestProfile()
        if what == "CDOL1 without amount" { profile.riskList1 = "9F03069F1A0295055F2A029A039C019F3704" }
        if what == "9F58 of 2 bytes" { profile.riskData = "9F58020001" }
        var blocks = try profile.blocks()
        func drop(_ identifier: UInt16) { blocks.removeAll { $0.data.starts(with: identifier.bigEndianBytes) } }
        func replace(_ identifier: UInt16, _ data: String) throws {
            drop(identifier)
            blocks.append((0x00, TestProfile.encode(DataGrouping(rawValue: identifier), try bytes(data))))
        }
        switch what {
        case "keys": drop(0x8000)
        case "check values": drop(0x9000)
        case "wrong check values": try replace(0x9000, "112233445566778899")
        case "9102": drop(0x9102)
        case "9104": drop(0x9104)
        case "9200": drop(0x9200)
        case "first record": drop(0x0101)
        case "second record": drop(0x0201)
        case "A5 twice": try replace(0x9102, "A5028700A5028700")
        case "cryptogram version 10": try replace(0x9200, "9F100706010A03000000")
        case "CDOL2 missing": try replace(0x0201, "7004" + "8C029F02")
        case "AFL of 3 bytes": try replace(0x9104, "82021800" + "9403" + "080101")
        case "AFL 0 records": try replace(0x9104, "82021800" + "9404" + "08010000" + "9404" + "08000000")
        default: break
        }
        for index in blocks.indices { blocks[index].p1 &= 0x7F }
        blocks[blocks.count - 1].p1 |= 0x80
        if what == "AFL 0 records" { blocks.removeAll { $0.data.starts(with: [0x02, 0x01]) } }
        #expect(try host.beginPersonalization(TestProfile.paymentAID) == .ok)
        #expect(try host.store(blocks) == .conditionsNotSatisfied)
        #expect(try lifeCycle() == [0x07])
        #expect(try host.select(TestProfile.paymentAID).status == .conditionsNotSatisfied)
        // And it can be done right.
        _ = try lifeCycle()
        #expect(try host.personalize(TestProfile()) == .ok)
    }

    @Test(arguments: [
        // Block out of order, reserved P1, keys in clear, keys of the wrong length, something else encrypted.
        ("00", "01", "9102", 0x6A86), ("20", "00", "9102", 0x6A86), ("10", "00", "9102", 0x6A86),
        ("00", "00", "8000", 0x6982),
        ("60", "00", "800010" + "00112233445566778899AABBCCDDEEFF", 0x6A80),
        ("60", "00", "910210" + "00112233445566778899AABBCCDDEEFF", 0x6A80),
        // Unknown grouping; lengths beyond the end; a record that is no 70 template; PIN counter above its limit.
        ("00", "00", "770002AABB", 0x6A88), ("00", "00", "01010570", 0x6A80), ("00", "00", "0101FF", 0x6A80),
        ("00", "00", "0101FFFFFF00", 0x6A80), ("00", "00", "0101", 0x6A80), ("00", "00", "010102710070", 0x6A80),
        ("00", "00", "01010271007000", 0x6A80), ("00", "00", "0101047002FFFF", 0x6A80),
        ("00", "00", "9010020103", 0x6A80),
        ("00", "00", "0100027000", 0x6A88), ("00", "00", "01FF027000", 0x6A88), ("00", "00", "1F01027000", 0x6A88),
    ])
    func refusedBlocks(p1: String, p2: String, data: String, status: Int) throws {
        #expect(try host.beginPersonalization(TestProfile.paymentAID) == .ok)
        let data = try data == "9102" ? bytes("910202A500") : data == "8000" ? bytes("800001AA") : bytes(data)
        let answer = try host.secure(0xE2, bytes(p1)[0], bytes(p2)[0], data)
        #expect(answer.status == StatusWord(rawValue: UInt16(status)))
        // The personalization is spoiled.
        #expect(try host.secure(0xE2, 0x00, 0x00, bytes("910202A500")).status == .conditionsNotSatisfied)
    }

    /// Card keys under the wrong key-encryption key do not match their check values.
    @Test func keysUnderTheWrongKey() throws {
        let blocks = try TestProfile().blocks(dataEncryption: SecretBytes(UInt8(0)..<16))
        #expect(try host.beginPersonalization(TestProfile.paymentAID) == .ok)
        #expect(try host.store(blocks) == .conditionsNotSatisfied)
    }

    /// A personalization that stops at any block leaves an application that cannot be used, and can begin again.
    @Test(arguments: 0..<9, [true, false])
    func interrupted(after count: Int, byReset: Bool) throws {
        let blocks = try TestProfile().blocks()
        try #require(blocks.count == 9)
        #expect(try host.beginPersonalization(TestProfile.paymentAID) == .ok)
        #expect(try host.store(Array(blocks.prefix(count))) == .ok)
        if byReset {
            host.chip.reset()
            try host.open(level: 0x33)
            #expect(
                try host.secure(0xE2, blocks[count].p1, UInt8(count), blocks[count].data).status
                    == .conditionsNotSatisfied)
        }
        #expect(try lifeCycle() == [0x07])
        #expect(try host.select(TestProfile.paymentAID).status == .conditionsNotSatisfied)
        _ = try host.select([])
        try host.open(level: 0x33)
        #expect(try host.personalize(TestProfile()) == .ok)
    }

    /// Several groupings in one block, and one in the three-byte length form.
    @Test func groupingsTogether() throws {
        let blocks = try TestProfile().blocks()
        let plain = blocks.filter { $0.p1 & 0x60 == 0 }.flatMap(\.data)
        let keys = try #require(blocks.first { $0.p1 & 0x60 != 0 })
        let long = keys.data[0..<2] + [0xFF, 0x00, 0x30] + keys.data[3...]
        #expect(try host.beginPersonalization(TestProfile.paymentAID) == .ok)
        #expect(try host.store([(0x60, Array(long)), (0x80, plain)]) == .ok)
        #expect(try lifeCycle() == [0x0F])
    }

    /// Deep nesting and a stream of blocks without end.
    @Test func hostileContent() throws {
        var nested: [UInt8] = []
        for _ in 0..<60 { nested = BERTLV(0x70, nested).encoded }
        #expect(try host.beginPersonalization(TestProfile.paymentAID) == .ok)
        #expect(try host.store([(0x00, TestProfile.encode(.record(file: 1, number: 1), nested))]) == .wrongData)
        #expect(try host.beginPersonalization(TestProfile.paymentAID) == .ok)
        let big = TestProfile.encode(.riskData, [UInt8](repeating: 0, count: 30_000))
        #expect(try host.store([(0x00, big), (0x00, big), (0x00, big)]) == .notEnoughMemory)
    }
}
