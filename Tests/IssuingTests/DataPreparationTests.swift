import ByteCoding
import CardData
import ECardTesting
import EMV
import GlobalPlatform
@testable import Issuing
import Testing

@Suite("Data preparation") struct DataPreparationTests {
    private static func preparation(_ random: inout SeededGenerator) throws -> DataPreparation {
        let length = Int.random(in: 12...19, using: &random)
        let issuer = Bool.random(using: &random) ? "993600" : "99360012"
        let account = random.digits(length - 1 - issuer.utf8.count)
        let alphabets = ["ABCDEFGH IJ", "éàöñçß ", "ƐƆŊ ", "'.-/ ", "王李 ", "0123 ", "\u{0301}a ", "😀 "]
        let alphabet = Array(alphabets[Int.random(in: 0..<alphabets.count, using: &random)])
        var text = "x"
        for _ in 0..<Int.random(in: 0...60, using: &random) {
            text.append(alphabet[Int.random(in: 0..<alphabet.count, using: &random)])
        }
        if Bool.random(using: &random) { text.removeFirst() }
        return DataPreparation(
            profile: try Profiles.classic(), pan: try PAN(issuer: issuer, account: account),
            sequenceNumber: Int.random(in: 0...99, using: &random),
            expiry: try ExpiryDate(
                year: Int.random(in: 2000...2099, using: &random), month: Int.random(in: 1...12, using: &random)),
            effective: CalendarDate(unixSeconds: Int64.random(in: 0...4_000_000_000, using: &random)),
            name: try CardholderName(text.allSatisfy { $0 == " " } ? "x" : text),
            derivationKeyIndex: UInt8.random(in: 1...255, using: &random))
    }

    @Test("whatever the card, every grouping is data that parses, and holds what its tags ask for")
    func property() throws {
        var random = SeededGenerator()
        let seed = random.seed
        for round in 0..<200 {
            let data = try Self.preparation(&random)
            for grouping in try data.paymentGroupings() + data.environmentGroupings()
            where grouping.identifier != 0x9010 {
                let objects = try BERTLV.parse(grouping.data)
                #expect(objects.flatMap(\.encoded) == grouping.data, "seed \(seed), round \(round)")
                #expect(grouping.encoded.count <= 0xFFFF)
                for leaf in objects.leaves {
                    guard let lengths = DataElement[leaf.tag]?.lengths else { continue }
                    #expect(
                        lengths.contains(leaf.value.count),
                        "seed \(seed), round \(round): tag \(leaf.tag) of \(leaf.value.count) bytes")
                }
            }
            try Self.checkTrack2(data, "seed \(seed), round \(round)")
        }
    }

    private static func checkTrack2(_ data: DataPreparation, _ place: Comment) throws {
        let grouping = try #require(try data.paymentGroupings().first)
        let encoded = try #require(try BERTLV.parse(grouping.data).first?.first(0x57)?.value)
        #expect(encoded.count <= 19, place)
        let track = try Track2(encoded)
        #expect(
            track.pan == data.pan && track.expiry == data.expiry && track.serviceCode == data.profile.serviceCode, place
        )
        #expect(!track.discretionaryData.isEmpty && track.discretionaryData.allSatisfy { $0 == "0" }, place)
    }

    @Test(
        "the record with the name has the name as cards have it",
        arguments: [
            ("Ama Serwaa Mensah", "MENSAH/AMA SERWAA"), ("Ɛfua Ɔsɛɛ", "OSEE/EFUA"), ("Prince", "PRINCE/"),
            ("A very long name that goes on and on", "ON/A VERY LONG NAME THAT GO"), ("王", " /"),
        ])
    func name(_ typed: String, _ embossed: String) throws {
        let data = DataPreparation(
            profile: try Profiles.classic(), pan: try PAN(issuer: "993600", account: "123456789"), sequenceNumber: 1,
            expiry: try ExpiryDate(year: 2030, month: 1), effective: CalendarDate(year: 2026, month: 1, day: 2),
            name: try CardholderName(typed), derivationKeyIndex: 1)
        let record = try #require(try data.paymentGroupings().first)
        let value = try #require(try BERTLV.parse(record.data).first?.first(0x5F20)?.value)
        #expect(String(decoding: value, as: UTF8.self) == embossed.prefix(26))
    }

    @Test("what a known card's groupings are")
    func known() throws {
        let data = DataPreparation(
            profile: try Profiles.classic(), pan: try PAN(issuer: "993600", account: "123456789"), sequenceNumber: 1,
            expiry: try ExpiryDate(year: 2030, month: 2), effective: CalendarDate(year: 2026, month: 1, day: 2),
            name: try CardholderName("Ama Mensah"), derivationKeyIndex: 1)
        let groupings = try data.paymentGroupings()
        #expect(groupings.map(\.identifier) == [0x0101, 0x0201, 0x0202, 0x9102, 0x9104, 0x9200, 0x9010, 0x3000])
        #expect(groupings.allSatisfy { !$0.isEncrypted })
        let byTag = Dictionary(
            try groupings.prefix(6).flatMap { try BERTLV.parse($0.data).leaves }.map { ($0.tag, $0.value.hex) },
            uniquingKeysWith: { first, _ in first })
        // ISO/IEC 7813 without the check value; EMV Book 3, Annex A.
        #expect(byTag[0x57] == "\(data.pan.digits)D300222100000000")
        #expect(byTag[0x5A] == data.pan.digits)
        #expect(byTag[0x5F24] == "300228")
        #expect(byTag[0x5F25] == "260102")
        #expect(byTag[0x5F28] == "0288")
        #expect(byTag[0x5F30] == "0221")
        #expect(byTag[0x5F34] == "01")
        #expect(byTag[0x9F1F] == "3030303030303030")
        #expect(byTag[0x9F42] == "0936")
        #expect(byTag[0x8C] == "9F02069F03069F1A0295055F2A029A039C019F3704")
        #expect(byTag[0x8D] == "8A029F02069F03069F1A0295055F2A029A039C019F3704")
        // File 1: record 1. File 2: records 1 and 2. Nothing signed (EMV Book 3, 10.2).
        #expect(byTag[0x94] == "0801010010010200")
        #expect(byTag[0x82] == "1C00")
        #expect(byTag[0x9F10] == "06011203000000")
    }
}
