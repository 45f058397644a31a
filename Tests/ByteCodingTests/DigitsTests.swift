import ByteCoding
import Testing

struct HexTests {
    @Test(arguments: [
        ("", [UInt8]()), ("00ff", [0, 255]), ("00FF", [0, 255]), ("0a:1B-2c 3D\n4e", [0x0A, 0x1B, 0x2C, 0x3D, 0x4E]),
    ])
    func textToBytes(text: String, expected: [UInt8]) {
        #expect([UInt8](hex: text) == expected)
    }

    @Test(arguments: ["0", "0g", "0 0", "é0", "0x00", "000"])
    func otherTextIsRefused(text: String) { #expect([UInt8](hex: text) == nil) }

    @Test func everyByteRoundTrips() {
        let all = [UInt8](0...255)
        #expect([UInt8](hex: all.hex) == all)
        #expect(all.hex.hasPrefix("000102") && all.hex.hasSuffix("FDFEFF"))
    }

    @Test func numbersAreBigEndian() {
        #expect(UInt32(0x0102_0304).bigEndianBytes == [1, 2, 3, 4])
        #expect(UInt16(bigEndian: [0x12, 0x34]) == 0x1234)
        #expect(UInt16(bigEndian: [0x12]) == 0x12)
        #expect(UInt16(bigEndian: [UInt8]()) == 0)
        #expect(UInt16(bigEndian: [1, 2, 3]) == nil)
        #expect(UInt8(bigEndian: [0xFF]) == 0xFF)
        #expect(UInt64(bigEndian: [UInt8](repeating: 0xFF, count: 8)) == .max)
    }

    @Test func xorGoesOverTheShorter() { #expect([1, 2, 3].xor([3, 2]) == [2, 0]) }
}

struct BCDTests {
    @Test(arguments: [("", 2, "0000"), ("1", 2, "0001"), ("1234", 2, "1234"), ("999999999999", 6, "999999999999")])
    func numericIsRightJustified(digits: String, length: Int, expected: String) {
        #expect(BCD.numeric(digits, length: length)?.hex == expected)
    }

    @Test(arguments: [("12345", 2), ("1a", 2), (" 1", 2), ("-1", 2), ("1", 0), ("١", 2)])
    func numericRefuses(digits: String, length: Int) { #expect(BCD.numeric(digits, length: length) == nil) }

    @Test func numbers() {
        #expect(BCD.numeric(Int64(2500), length: 6)?.hex == "000000002500")
        #expect(BCD.numeric(Int64(-1), length: 6) == nil)
        #expect(BCD.numeric(Int64(1_000_000_000_000), length: 6) == nil)
        #expect(BCD.number([0, 0, 0x25, 0]) == 2500)
        #expect(BCD.number([0x2F]) == nil)
        #expect(BCD.number([0xA0]) == nil)
        #expect(BCD.number([UInt8](repeating: 0x99, count: 12)) == nil)
        // Nothing is no number.
        #expect(BCD.number([UInt8]()) == nil)
    }

    @Test(
        arguments: [("123", nil, "123F"), ("1234", nil, "1234"), ("", nil, ""), ("123", 4, "123FFFFF")]
            as [(String, Int?, String)])
    func compressedIsLeftJustified(digits: String, length: Int?, expected: String) throws {
        let bytes = try #require(BCD.compressed(digits, length: length))
        #expect(bytes.hex == expected)
        #expect(BCD.digits(bytes) == digits)
    }

    @Test func compressedRefuses() {
        #expect(BCD.compressed("12345", length: 2) == nil)
        #expect(BCD.compressed("1D") == nil)
        #expect(BCD.digits([0xF1]) == nil)
        #expect(BCD.digits([0x1F, 0x11]) == nil)
        #expect(BCD.digits([0x1A]) == nil)
        #expect(BCD.digits([0x12, 0xFF]) == "12")
    }
}

struct SecretBytesTests {
    static let secret = SecretBytes(Array("4711-secret".utf8))

    @Test func nothingPrintsThem() {
        var dumped = ""
        dump(Self.secret, to: &dumped)
        for text in [
            "\(Self.secret)", String(reflecting: Self.secret), dumped, "\([Self.secret])", "\((1, Self.secret))",
        ] {
            #expect(!text.contains("4711") && !text.contains("secret\""))
            #expect(!text.contains("52"), "nor their numbers: \(text)")
        }
        #expect("\(Self.secret)".contains("11"))
    }

    @Test func bytesAreGivenByName() {
        #expect(Self.secret.withBytes { Array($0) } == Array("4711-secret".utf8))
        #expect(Self.secret.exposedCopy() == Array("4711-secret".utf8))
        #expect(Self.secret == SecretBytes(Array("4711-secret".utf8)))
        #expect(Self.secret != SecretBytes(Array("4711-secreT".utf8)))
        #expect(SecretBytes([]) == SecretBytes([]))
    }

    @Test func wipingTakesTheCallersCopy() {
        var bytes: [UInt8] = [1, 2, 3]
        let secret = SecretBytes(wiping: &bytes)
        #expect(bytes.isEmpty && secret.count == 3)
        var empty: [UInt8] = []
        SecretBytes.wipe(&empty)
        #expect(empty.isEmpty)
    }

    @Test(arguments: [
        ([UInt8](), [UInt8](), true), ([1, 2], [1, 2], true), ([1, 2], [1, 3], false), ([1, 2], [1], false),
        ([0x80], [0x00], false),
    ])
    func comparisonIsRight(first: [UInt8], second: [UInt8], equal: Bool) {
        #expect(constantTimeEqual(first, second) == equal)
    }
}
