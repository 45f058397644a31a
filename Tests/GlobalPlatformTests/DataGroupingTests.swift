import GlobalPlatform
import SmartCard
import Testing

struct DataGroupingTests {
    @Test(arguments: [
        (0, "010100"), (1, "01010100"), (254, "0101FE" + String(repeating: "00", count: 254)),
        (255, "0101FF00FF" + String(repeating: "00", count: 255)),
        (256, "0101FF0100" + String(repeating: "00", count: 256)),
    ])
    func theLengthTakesOneByteUpTo254(count: Int, encoded: String) throws {
        let grouping = try DataGrouping(0x0101, [UInt8](repeating: 0, count: count))
        #expect(grouping.encoded == bytes(encoded))
        #expect(try DataGrouping.parse(bytes(encoded)) == [grouping])
    }

    @Test func theLongestFitsAndOneByteMoreDoesNot() throws {
        let longest = try DataGrouping(0x8000, [UInt8](repeating: 1, count: 0xFFFF))
        #expect(try DataGrouping.parse(longest.encoded) == [longest])
        let error = #expect(throws: GlobalPlatformError.self) {
            try DataGrouping(0x8000, [UInt8](repeating: 1, count: 0x10000))
        }
        #expect(error?.kind == .tooLong)
    }

    @Test func severalStandOneBehindTheOther() throws {
        let groupings = try DataGrouping.parse(bytes("8000 02 AABB 9000 00 0101 FF0001 CC"))
        #expect(groupings.map(\.identifier) == [0x8000, 0x9000, 0x0101])
        #expect(groupings.map(\.data) == [[0xAA, 0xBB], [], [0xCC]])
        #expect(try DataGrouping.parse([]) == [])
    }

    @Test(arguments: [
        ("80", 0), ("8000", 0), ("800001", 0), ("8000FF", 0), ("8000FF01", 0), ("8000FF0100", 0),
        ("800001AA9000", 4), ("800001AA900002BB", 4),
    ])
    func whatEndsTooSoonIsRefusedWithItsPlace(hex: String, offset: Int) {
        let error = #expect(throws: GlobalPlatformError.self) { try DataGrouping.parse(bytes(hex)) }
        #expect(error?.kind == .malformedData)
        #expect(error?.place.contains("at byte \(offset)") == true)
    }

    @Test func noBytesAtAllMakeTheParserTrap() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            let hostile = (0..<Int.random(in: 0...12)).map { _ in UInt8.random(in: 0...255, using: &generator) }
            if let groupings = try? DataGrouping.parse(hostile) {
                #expect(groupings.reduce(0) { $0 + $1.data.count } <= hostile.count)
            }
        }
    }
}

struct StoreDataTests {
    private func plain(_ identifier: UInt16, _ count: Int) throws -> DataGrouping {
        try DataGrouping(identifier, [UInt8](repeating: UInt8(identifier & 0xFF), count: count))
    }

    @Test func groupingsShareABlockWhileTheyFit() throws {
        let groupings = [try plain(0x0101, 4), try plain(0x0102, 4), try plain(0x0103, 4)]
        let blocks = try StoreDataBlock.blocks(of: groupings, limit: 14)
        #expect(blocks.map(\.data) == [groupings[0].encoded + groupings[1].encoded, groupings[2].encoded])
        #expect(
            blocks.map(\.command.encoded) == [
                bytes("80E2 00 00 0E 01010401010101 01020402020202 00"), bytes("80E2 80 01 07 01030403030303 00"),
            ])
        #expect(try StoreDataBlock.blocks(of: groupings, limit: 21).count == 1)
        #expect(try StoreDataBlock.blocks(of: groupings, limit: 20).count == 2)
        #expect(try StoreDataBlock.blocks(of: groupings, limit: 13).count == 3)
    }

    @Test func plainAndEncryptedNeverShareABlock() throws {
        let groupings = [
            try plain(0x0101, 1), try DataGrouping(0x8000, [1, 2], isEncrypted: true),
            try DataGrouping(0x9000, [3], isEncrypted: true), try plain(0x9102, 1),
        ]
        let blocks = try StoreDataBlock.blocks(of: groupings, limit: 255)
        // P1: 60 encrypted, 80 the last.
        #expect(blocks.map { $0.command.p1 } == [0x00, 0x60, 0x80])
        #expect(blocks.map { $0.command.p2 } == [0, 1, 2])
        #expect(blocks[1].data == groupings[1].encoded + groupings[2].encoded)
        #expect(try StoreDataBlock.blocks(of: [groupings[1]], limit: 255).map { $0.command.p1 } == [0xE0])
    }

    @Test func onlyAGroupingLongerThanABlockIsDivided() throws {
        let groupings = [try plain(0x0101, 5), try plain(0x0102, 20), try plain(0x0103, 5)]
        let blocks = try StoreDataBlock.blocks(of: groupings, limit: 10)
        #expect(blocks.map(\.data.count) == [8, 10, 10, 3, 8])
        #expect(blocks.flatMap(\.data) == groupings.flatMap(\.encoded))
        #expect(blocks.map(\.isLast) == [false, false, false, false, true])
    }

    @Test func everyByteArrivesInOrderWhateverTheLimit() throws {
        let groupings = try (1...30).map { try plain(UInt16($0), $0 * 7) }
        for limit in [20, 64, 239, 255, 1000] {
            let blocks = try StoreDataBlock.blocks(of: groupings, limit: limit)
            #expect(blocks.flatMap(\.data) == groupings.flatMap(\.encoded))
            #expect(blocks.allSatisfy { (1...limit).contains($0.data.count) })
            #expect(blocks.map { Int($0.number) } == Array(0..<blocks.count))
        }
    }

    @Test func twoHundredFiftySixBlocksAreTheMost() throws {
        let groupings = try (0..<256).map { try plain(UInt16($0), 7) }
        #expect(try StoreDataBlock.blocks(of: groupings, limit: 10).count == 256)
        let error = #expect(throws: GlobalPlatformError.self) {
            try StoreDataBlock.blocks(of: groupings + [plain(0x0FFF, 7)], limit: 10)
        }
        #expect(error?.kind == .tooLong)
    }

    @Test(arguments: [0, -1, 0x10000])
    func anImpossibleLimitIsRefused(limit: Int) throws {
        let groupings = [try plain(0x0101, 1)]
        #expect(throws: GlobalPlatformError.self) { try StoreDataBlock.blocks(of: groupings, limit: limit) }
    }

    @Test func nothingToStoreIsRefused() {
        #expect(throws: GlobalPlatformError.self) { try StoreDataBlock.blocks(of: [], limit: 255) }
    }
}
