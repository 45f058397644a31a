import ByteCoding
import Testing

struct BERTLVTests {
    @Test func templatesOpenDownToTheirLeaves() throws {
        // The FCI of EMV 4.4 Book 1, Annex D, in short: 6F { 84, A5 { 50, 87, BF0C { 9F4D } } }.
        let bytes = try #require([UInt8](hex: "6F1C 8407A0000000031010 A511 5004 56495341 870101 BF0C05 9F4D020B0A"))
        let objects = try BERTLV.parse(bytes)
        #expect(objects.count == 1)
        #expect(objects.first(0x84)?.value == [0xA0, 0, 0, 0, 3, 0x10, 0x10])
        #expect(objects.first(0x9F4D)?.value == [0x0B, 0x0A])
        #expect(objects.first(0x9F38) == nil)
        #expect(objects.leaves.map(\.tag) == [0x84, 0x50, 0x87, 0x9F4D])
        #expect(objects.flatMap(\.encoded) == bytes)
    }

    @Test func zeroBytesBetweenObjectsArePadding() throws {
        let objects = try BERTLV.parse([0x00, 0x00, 0x5A, 0x01, 0x11, 0x00, 0x57, 0x00, 0x00])
        #expect(objects == [BERTLV(0x5A, [0x11]), BERTLV(0x57, [UInt8]())])
    }

    @Test func flatParsingLeavesTemplatesClosed() throws {
        let bytes: [UInt8] = [0x70, 0x02, 0x5A, 0x09]
        #expect(throws: BERTLVError.self) { try BERTLV.parse(bytes) }
        let flat = try BERTLV.parseFlat(bytes)
        #expect(flat.count == 1 && flat[0].value == [0x5A, 0x09] && flat[0].children.isEmpty)
    }

    @Test(arguments: [
        ("9F", BERTLVError.Reason.truncated, 0), ("5A", .truncated, 0), ("9F36", .truncated, 0),
        ("5A81", .truncated, 0), ("5A8201", .truncated, 0), ("5A0511", .lengthBeyondBuffer(length: 5, left: 1), 0),
        ("5A0111 5A0211", .lengthBeyondBuffer(length: 2, left: 1), 3),
        ("5A84FFFFFFFF", .lengthBeyondBuffer(length: 0xFFFF_FFFF, left: 0), 0),
        ("7080", .indefiniteLength, 0), ("5A850000000001", .lengthTooLong, 0), ("1F818181", .tagTooLong, 0),
        // A child that reaches beyond its template although the buffer has the bytes.
        ("7003 5A0211 5A0111", .lengthBeyondBuffer(length: 2, left: 1), 2),
    ])
    func malformedBytesAreRefusedWithTheirPlace(text: String, reason: BERTLVError.Reason, offset: Int) throws {
        let bytes = try #require([UInt8](hex: text))
        let error = #expect(throws: BERTLVError.self) { try BERTLV.parse(bytes) }
        #expect(error?.reason == reason)
        #expect(error?.offset == offset)
        #expect(error?.description.contains("byte \(offset)") == true)
    }

    @Test func nestingHasALimit() throws {
        func nested(_ levels: Int) -> [UInt8] {
            (0..<levels).reduce(BERTLV(0x5A, [1]).encoded) { inner, _ in BERTLV(0x70, inner).encoded }
        }
        #expect(try BERTLV.parse(nested(BERTLV.maximumDepth)).first(0x5A)?.value == [1])
        let error = #expect(throws: BERTLVError.self) { try BERTLV.parse(nested(BERTLV.maximumDepth + 1)) }
        #expect(error?.reason == .tooDeep)
        // A thousand levels do not exhaust the stack either.
        #expect(throws: BERTLVError.self) { try BERTLV.parse(nested(1000)) }
    }

    @Test(arguments: [0, 1, 127, 128, 255, 256, 65_535, 65_536, 70_000])
    func lengthsRoundTrip(length: Int) throws {
        let object = BERTLV(0x9F10, [UInt8](repeating: 0xAB, count: length))
        #expect(try BERTLV.parse(object.encoded) == [object])
    }

    @Test func constructedObjectsHoldTheirChildren() throws {
        let object = BERTLV(0x70, [BERTLV(0x5A, [1, 2]), BERTLV(0x9F36, [0, 9])])
        #expect(object.value == [0x5A, 2, 1, 2, 0x9F, 0x36, 2, 0, 9])
        #expect(try BERTLV.parse(object.encoded) == [object])
        #expect(object.first(0x9F36)?.value == [0, 9])
    }

    @Test func randomTreesRoundTrip() throws {
        var generator = SystemRandomNumberGenerator()
        func tree(_ depth: Int) -> BERTLV {
            let primitive: [BERTag] = [0x5A, 0x57, 0x9F36, 0x9F10, 0xDF8101]
            let constructed: [BERTag] = [0x70, 0x77, 0xA5, 0xBF0C]
            if depth == 0 || Bool.random(using: &generator) {
                let count = Int.random(in: 0...200, using: &generator)
                return BERTLV(
                    primitive.randomElement(using: &generator) ?? 0x5A,
                    (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) })
            }
            let children = (0..<Int.random(in: 1...4, using: &generator)).map { _ in tree(depth - 1) }
            return BERTLV(constructed.randomElement(using: &generator) ?? 0x70, children)
        }
        for _ in 0..<500 {
            let object = tree(5)
            #expect(try BERTLV.parse(object.encoded) == [object])
        }
    }

    /// Whatever comes, the parser answers or refuses; it never traps, and what it accepts it can write again.
    @Test func randomBytesNeverTrap() {
        var generator = SystemRandomNumberGenerator()
        var accepted = 0
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...24, using: &generator)
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
            if let objects = try? BERTLV.parse(bytes) {
                accepted += 1
                #expect((try? BERTLV.parse(objects.flatMap(\.encoded))) == objects, "\(bytes.hex)")
            }
            _ = try? BERTLV.parseFlat(bytes)
            _ = try? DOL(bytes)
        }
        #expect(accepted > 0)
    }

    @Test(arguments: [
        (BERTag(0x5A), "5A", false), (0x9F36, "9F36", false), (0x70, "70", true), (0xBF0C, "BF0C", true),
        (0xDF8101, "DF8101", false), (0x00, "00", false),
    ])
    func tagsAreTheirBytes(tag: BERTag, text: String, constructed: Bool) {
        #expect(tag.bytes.hex == text)
        #expect(tag.description == text)
        #expect(tag.isConstructed == constructed)
    }
}

struct DOLTests {
    @Test func listsAreTagLengthPairs() throws {
        let bytes = try #require([UInt8](hex: "9F02069F03069F1A0295055F2A029A039C019F3704"))
        let list = try DOL(bytes)
        #expect(list.entries.first == DOL.Entry(0x9F02, 6))
        #expect(list.filledLength == 29)
        #expect(list.encoded == bytes)
        #expect(try DOL([UInt8]()).entries.isEmpty)
    }

    @Test(arguments: ["9F", "9F02", "9F0206 9F", "9F0280", "1F81818101", "9F02 85 0000000001"])
    func malformedListsAreRefused(text: String) throws {
        let bytes = try #require([UInt8](hex: text))
        #expect(throws: BERTLVError.self) { try DOL(bytes) }
    }

    /// EMV 4.4 Book 3, 5.4, rule by rule.
    @Test(arguments: [
        (DOLFormat.numeric, "1234", 1, "34"), (.numeric, "1234", 2, "1234"), (.numeric, "1234", 4, "00001234"),
        (.compressedNumeric, "1234", 1, "12"), (.compressedNumeric, "1234", 4, "1234FFFF"),
        (.other, "1234", 1, "12"), (.other, "1234", 4, "12340000"), (.other, "", 2, "0000"),
    ])
    func valuesAreCutAndPadded(format: DOLFormat, value: String, length: Int, expected: String) throws {
        let bytes = try #require([UInt8](hex: value))
        let filled = DOL([DOL.Entry(0x9F7F, length)]).fill { _ in (bytes, format) }
        #expect(filled.hex == expected)
    }

    @Test func unknownValuesAreZeros() {
        #expect(DOL([DOL.Entry(0x9F7F, 3), DOL.Entry(0x5A, 0)]).fill { _ in nil } == [0, 0, 0])
    }

    @Test func fillingAndSplittingAreInverse() throws {
        let list = DOL([DOL.Entry(0x9F02, 6), DOL.Entry(0x9C, 1), DOL.Entry(0x95, 0)])
        let data: [UInt8] = [1, 2, 3, 4, 5, 6, 7]
        let parts = try #require(list.split(data))
        #expect(parts.map(\.tag) == [0x9F02, 0x9C, 0x95])
        #expect(parts.map(\.value) == [[1, 2, 3, 4, 5, 6], [7], []])
        #expect(list.split(data.dropLast()) == nil)
        #expect(list.split(data + [8]) == nil)
        #expect(list.split(data.dropFirst() + [8])?.first?.value == [2, 3, 4, 5, 6, 7])
    }
}
