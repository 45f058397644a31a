import ByteCoding
import CardData
import Testing

struct PANTests {
    /// Test numbers of the schemes, as their developer pages print them.
    @Test(arguments: [
        "4111111111111111", "5555555555554444", "378282246310005", "6011111111111117", "3530111333300000",
        "30569309025904", "4761739001010119", "6799990100000000019",
    ])
    func schemeTestNumbers(digits: String) throws {
        let pan = try PAN(digits)
        #expect(pan.digits == digits)
        #expect(try PAN(compressedNumeric: pan.compressedNumeric) == pan)
        #expect(pan.compressedNumeric.count == (digits.utf8.count + 1) / 2)
        #expect(try PAN(issuer: String(digits.prefix(6)), account: String(digits.dropFirst(6).dropLast())) == pan)
    }

    @Test(arguments: [
        "", "4111111111111112", "4111111111111101", "41111111111", "41111111111111111111", "4111 1111 1111 1111",
        "411111111111111a", "+411111111111111", "４１１１１１１１１１１１", "-4111111111111111",
    ])
    func refused(digits: String) {
        let error = #expect(throws: CardDataError.self) { try PAN(digits) }
        #expect(error?.field == .pan)
        // What was typed is never said again.
        #expect(digits.isEmpty || error?.description.contains(digits) == false)
    }

    /// Every mistyped single digit is found (ISO/IEC 7812-1, Annex B).
    @Test func luhnFindsEveryWrongDigit() throws {
        let right = Array("4761739001010119".utf8)
        for index in right.indices {
            for digit in UInt8(0x30)...0x39 where digit != right[index] {
                var wrong = right
                wrong[index] = digit
                let text = String(decoding: wrong, as: UTF8.self)
                #expect(throws: CardDataError.self) { try PAN(text) }
            }
        }
    }

    @Test(arguments: [("4761739001010119", "476173******0119"), ("6799990100000000019", "679999*********0019")])
    func whatPrintsIsTruncated(digits: String, masked: String) throws {
        let pan = try PAN(digits)
        var dumped = ""
        dump(pan, to: &dumped)
        for text in ["\(pan)", String(reflecting: pan), dumped, "\([pan])"] {
            #expect(text.contains(masked) && !text.contains(digits))
        }
        #expect(pan.masked.utf8.count == digits.utf8.count)
        #expect(pan.issuerIdentification == String(digits.prefix(6)))
    }

    @Test(arguments: ["476173900101011F", "4761739001010119FF", "47617390010101A9", "F761739001010119", "FF", ""])
    func malformedTag5A(text: String) throws {
        let bytes = try #require([UInt8](hex: text))
        // Padding is only at the end; the second is the right number with padding to a longer field.
        if text == "4761739001010119FF" {
            #expect(try PAN(compressedNumeric: bytes).digits == "4761739001010119")
        } else {
            #expect(throws: CardDataError.self) { try PAN(compressedNumeric: bytes) }
        }
    }
}

struct Track2Tests {
    @Test func bothWays() throws {
        let track = Track2(
            pan: try PAN("4761739001010119"), expiry: try ExpiryDate(yymm: "3012"), serviceCode: try ServiceCode("201"),
            discretionaryData: "0000000000000")
        #expect(track.encoded.hex == "4761739001010119D30122010000000000000F")
        #expect(try Track2(track.encoded) == track)
        #expect("\(track)" == "476173******0119D3012201…")
    }

    @Test func withoutDiscretionaryData() throws {
        let track = try Track2(try #require([UInt8](hex: "4761739001010119D3012201")))
        #expect(track.discretionaryData.isEmpty)
        #expect(try Track2(track.encoded) == track)
    }

    @Test(arguments: [
        "", "4761739001010119", "D3012201", "4761739001010119D301220", "4761739001010119D3013201F0",
        "4761739001010118D3012201", "4761739001010119D30A2201", "4761739001010119D3012201D000", "FFFFFFFF",
    ])
    func refused(text: String) throws {
        let even = text.utf8.count % 2 == 0 ? text : text + "F"
        let bytes = try #require([UInt8](hex: even))
        let error = #expect(throws: CardDataError.self) { try Track2(bytes) }
        #expect(error?.description.contains("4761739001010119") == false)
    }

    @Test(arguments: ["", "20", "2011", "2a1", "+20"])
    func serviceCodesHaveThreeDigits(text: String) {
        #expect(throws: CardDataError.self) { try ServiceCode(text) }
    }
}

struct CardValueInputTests {
    @Test(arguments: [
        ("4761739001010119", "000", CardValueInput.ExpiryOrder.yymm, "47617390010101193012000000000000"),
        ("4761739001010119", "999", .mmyy, "47617390010101191230999000000000"),
        ("6799990100000000019", "201", .yymm, "67999901000000000193012201000000"),
    ])
    func block(pan: String, service: String, order: CardValueInput.ExpiryOrder, expected: String) throws {
        let input = CardValueInput(
            pan: try PAN(pan), expiry: try ExpiryDate(yymm: "3012"), serviceCode: try ServiceCode(service),
            expiryOrder: order)
        #expect(input.block.hex == expected)
    }
}
