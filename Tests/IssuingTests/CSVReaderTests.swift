import ByteCoding
import ECardTesting
import Issuing
import Testing

/// RFC 4180, and the places of its errors.
@Suite struct CSVReaderTests {
    private static func read(_ text: String) throws -> [Result<CSVRecord, CSVError>] {
        Array(try CSVReader(Array(text.utf8)))
    }

    /// RFC 4180, section 2, rules 1 to 7, and what spreadsheets add to it.
    @Test(arguments: [
        ("aaa,bbb,ccc\r\nzzz,yyy,xxx\r\n", [["aaa", "bbb", "ccc"], ["zzz", "yyy", "xxx"]]),
        ("aaa,bbb,ccc\nzzz,yyy,xxx", [["aaa", "bbb", "ccc"], ["zzz", "yyy", "xxx"]]),
        ("\"aaa\",\"b \r\nbb\",\"ccc\"\r\nzzz,yyy,xxx", [["aaa", "b \r\nbb", "ccc"], ["zzz", "yyy", "xxx"]]),
        ("\"aaa\",\"b\"\"bb\",\"ccc\"", [["aaa", "b\"bb", "ccc"]]),
        ("\u{FEFF}\"a\",b\n", [["a", "b"]]),
        (",\n\"\",\n", [["", ""], ["", ""]]),
        ("a, b \n\n\r\n\nÉ,ŋ\n", [["a", " b "], ["É", "ŋ"]]),
        ("\"a,b\",\"\"\"\"\n", [["a,b", "\""]]),
        ("", []),
    ])
    func good(_ text: String, _ expected: [[String]]) throws {
        #expect(try Self.read(text).map { try $0.get().fields.map(\.text) } == expected)
    }

    /// The bad record with its place, and whether the one after it was read.
    @Test(arguments: [
        ("a\"b,c\"d,e\nnext,row\n", 1, 2, true),
        ("ok,ok\n\"a\" ,\"b\"\nnext,row\n", 2, 4, true),
        ("É,\"a\"x\nnext,row\n", 1, 6, true),
        ("a\rb\nnext,row\n", 1, 2, true),
        ("a,b\u{0}\nnext,row\n", 1, 3, true),
        ("a,\"b\nnext,row\n", 1, 3, false),
        // Whoever opens a quote behind a blank may go on in the next line: nothing of it may become a record.
        ("a, \"b\nnext,row\n\"\n", 1, 4, false),
        ("a,\"b\nc\"x\nnext,row\n", 2, 3, false),
        (String(repeating: "x", count: 4097) + "\nnext,row\n", 1, 4098, true),
        ("\"" + String(repeating: "x", count: 4097) + "\"\nnext,row\n", 1, 4099, true),
        (String(repeating: ",", count: 64) + "\nnext,row\n", 1, 65, true),
    ])
    func bad(_ text: String, _ line: Int, _ column: Int, _ goesOn: Bool) throws {
        let records = try Self.read(text)
        let errors = records.compactMap { if case .failure(let error) = $0 { error } else { nil } }
        let error = try #require(errors.first)
        #expect(errors.count == 1 && error.line == line && error.column == column, "\(error)")
        #expect(error.reason.hasSuffix("nothing behind it was read") != goesOn, "\(error)")
        #expect(records.contains { (try? $0.get().fields.map(\.text)) == ["next", "row"] } == goesOn)
    }

    @Test func notText() throws {
        let records = Array(try CSVReader([0x61, 0x2C, 0xC3, 0x28, 0x0A, 0x62, 0x0A]))
        #expect(records.count == 2)
        #expect(throws: CSVError(1, 3, "the field is not UTF-8 text; save the file as UTF-8")) { try records[0].get() }
        #expect(throws: CSVError.self) { try CSVReader([0xFF, 0xFE, 0x61, 0x00]) }
        #expect(throws: CSVError.self) { try CSVReader([UInt8](repeating: 0x61, count: CSVReader.fileLimit + 1)) }
    }

    /// What is written by the rules is read back, whatever it holds; and nothing that is read is longer than its source.
    @Test func writtenAndReadBack() throws {
        var generator = SeededGenerator()
        print("CSV written and read back: ECARD_TEST_SEED=\(generator.seed)")
        let alphabet = Array("ab,\"\r\n é\u{6E2}\u{FEFF}".unicodeScalars)
        for _ in 0..<2_000 {
            let rows = (0..<Int.random(in: 1...4, using: &generator)).map { _ in
                (0..<Int.random(in: 1...4, using: &generator)).map { _ in
                    (0..<Int.random(in: 0...6, using: &generator)).reduce(into: "") { text, _ in
                        text.unicodeScalars.append(alphabet.randomElement(using: &generator)!)
                    }
                }
            }
            // A field alone that is empty would be an empty line, which is no record.
            .filter { $0 != [""] }
            let text = rows.map(CSVRecord.line).joined()
            #expect(try Self.read(text).map { try $0.get().fields.map(\.text) } == rows, "\(text.debugDescription)")
            let noise = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                "a,\"\r\n".utf8.randomElement(using: &generator)!
            }
            for case .success(let record) in try CSVReader(noise) {
                #expect(record.line >= 1 && record.fields.reduce(0) { $0 + $1.text.utf8.count } <= noise.count)
            }
        }
    }
}
