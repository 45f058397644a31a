import CardData
import Foundation
import Issuing
import Testing

/// Rows of a customer file: what is good, and where what is not stands.
@Suite struct CustomerFileTests {
    private static func read(_ text: String) throws -> CustomerFile {
        let classic = try Profiles.classic()
        return try CustomerFile(Array(text.utf8), profile: "classic") { name in
            guard name == "classic" else { throw IssuingError(.invalidProfile, "no profile \(name)") }
            return classic
        }
    }

    @Test func theSampleIsGood() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("cards/customers.csv")
        let classic = try Profiles.classic()
        let file = try CustomerFile(Array(Data(contentsOf: path)), profile: "classic") { _ in classic }
        #expect(file.mistakes == [] && file.rows.count == 100)
        #expect(Set(file.rows.map(\.reference)).count == 100 && Set(file.rows.map(\.digest)).count == 100)
        // Names beyond ASCII are there, and what a chip holds of them is ASCII.
        let beyond = file.rows.filter { !$0.name.text.utf8.allSatisfy { $0 < 0x80 } }
        #expect(beyond.count >= 10 && beyond.allSatisfy { $0.name.embossed.count > 3 })
    }

    @Test func columnsInAnyOrderAndTrimmed() throws {
        let file = try Self.read(
            "\u{FEFF} Name ,CURRENCY,reference,address\r\n  Ama  Mensah ,ghs, A1 ,\"1 High St \r\n\r\n Ho\"\r\n")
        let row = try #require(file.rows.first)
        #expect(
            row.line == 2 && row.reference == "A1" && row.name.text == "Ama Mensah" && row.address == "1 High St\nHo")
        #expect(row.currency.code == "GHS" && row.profile == "classic" && row.sequenceNumber == 1 && row.deposit == nil)
        let same = try Self.read("reference,name,currency,address,sequence\nA1,Ama Mensah,GHS,\"1 High St\nHo\",1\n")
        #expect(same.rows.map(\.digest) == [row.digest])
        let other = try Self.read("reference,name,currency,phone\nA1,Ama Mensah,GHS,+233200000000\n")
        #expect(other.rows.map(\.digest) != [row.digest])
    }

    @Test(arguments: [
        ("", "line 1, column 1: the file is empty"),
        ("reference,name\nA,B\n", "line 1, column 1: column 'currency' is missing"),
        ("reference,name,currency,pin\n", "line 1, column 25: 'pin' is no column"),
        ("reference,name,currency,name\n", "line 1, column 25: column 'name' comes twice"),
        ("reference;name;currency\n", "commas divide columns"),
        ("reference,na\"me,currency\n", "line 1, column 13: a quote inside a field"),
    ])
    func badHeader(_ text: String, _ said: String) throws {
        let error = try #require(throws: CSVError.self) { try Self.read(text) }
        #expect(error.description.contains(said), "\(error)")
    }

    /// One bad row between two good ones; lines and columns as an editor counts them.
    @Test(
        arguments: [
            (",Ama Mensah,+233200000001,a@b.c,GHS,1,,1", 1, "reference", "a value is wanted"),
            ("A B,Ama Mensah,+233200000001,a@b.c,GHS,1,,1", 1, "reference", "letters, digits"),
            ("=1+1,Ama Mensah,+233200000001,a@b.c,GHS,1,,1", 1, "reference", "letters, digits"),
            ("R1,Ama Mensah,+233200000001,a@b.c,GHS,1,,1", 1, "reference", "on line 2 already"),
            ("R9,,+233200000001,a@b.c,GHS,1,,1", 4, "name", "a value is wanted"),
            ("R9,\(String(repeating: "x", count: 65)),+233200000001,a@b.c,GHS,1,,1", 4, "name", "64 printable"),
            ("R9,山田,+233200000001,a@b.c,GHS,1,,1", 4, "name", "Latin letters"),
            ("R9,Ama\u{1B}[2J,+233200000001,a@b.c,GHS,1,,1", 4, "name", "a control character"),
            ("R9,Ɔkyerɛ,0200000001,a@b.c,GHS,1,,1", 11, "phone", "E.164"),
            ("R9,Ama,+233200000001,a.b.c,GHS,1,,1", 22, "email", "one @"),
            ("R9,Ama,,,GHX,1,,1", 10, "currency", "ISO 4217"),
            ("R9,Ama,,,EUR,1,,1", 10, "currency", "pays in GHS"),
            ("R9,Ama,,,GHS,1.234,,1", 14, "deposit", "decimals"),
            ("R9,Ama,,,GHS,-1,,1", 14, "deposit", "positive"),
            ("R9,Ama,,,GHS,1,gold,1", 16, "profile", "no profile gold"),
            ("R9,Ama,,,GHS,1,../x,1", 16, "profile", "no profile has this name"),
            ("R9,Ama,,,GHS,1,,100", 17, "sequence", "0 to 99"),
            ("R9,Ama,,,GHS,1,", 16, nil, "7 fields, the header has 8"),
            ("R9,Ama,,,GHS,1,,1,1", 19, nil, "9 fields, the header has 8"),
            ("R9,A\"ma\",,,GHS,1,,1", 5, nil, "a quote inside"),
        ] as [(String, Int, String?, String)])
    func badRow(_ row: String, _ column: Int, _ name: String?, _ said: String) throws {
        let file = try Self.read(
            "reference,name,phone,email,currency,deposit,profile,sequence\nR1,Ama,,,GHS,,,\n\(row)\nR2,Esi,,,GHS,,,\n")
        #expect(file.rows.map(\.reference) == ["R1", "R2"])
        let mistake = try #require(file.mistakes.first)
        #expect(
            file.mistakes.count == 1 && mistake.line == 3 && mistake.column == column && mistake.name == name,
            "\(mistake)")
        #expect(mistake.reason.contains(said), "\(mistake)")
    }
}
