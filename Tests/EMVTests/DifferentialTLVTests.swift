import ByteCoding
import CardData
import ECardTesting
import KeyCustody
import Testing

@testable import EMV

/// Data objects, and cryptogram versions from issuer key to cryptogram, against pyemv.
extension DifferentialTests {
    /// Random templates: what we write pyemv reads and writes alike, and both see the same leaves.
    @Test func dataObjects() throws {
        var generator = SeededGenerator()
        print("differential test of BER-TLV: ECARD_TEST_SEED=\(generator.seed)")
        let objects = (0..<Self.count).map { _ in Self.object(&generator, depth: 0) }
        let rows = objects.map { [$0.encoded.hex] }
        let oracle = try PythonOracle()
        let (again, leaves) = (try oracle.call("tlv", rows), try oracle.call("tlv_leaves", rows))
        for (index, object) in objects.enumerated() {
            #expect([UInt8](hex: again[index]) == object.encoded, "\(rows[index])")
            let parsed = try BERTLV.parse(object.encoded)
            #expect(parsed == [object], "\(rows[index])")
            let ours = parsed.leaves.filter { !$0.tag.isConstructed }.map { "\($0.tag):\($0.value.hex)" }
            #expect(ours.joined(separator: " ") == leaves[index], "\(rows[index])")
        }
    }

    /// An object of one to three tag bytes, its value up to 300 bytes or up to four children of different tags.
    private static func object(_ generator: inout SeededGenerator, depth: Int) -> BERTLV {
        let isTemplate = depth == 0 || (depth < 4 && Int.random(in: 0...3, using: &generator) == 0)
        let tag = tag(&generator, isTemplate: isTemplate)
        guard isTemplate else {
            return BERTLV(
                tag, generator.bytes(Int.random(in: 0...(Bool.random(using: &generator) ? 300 : 12), using: &generator))
            )
        }
        var children: [BERTLV] = []
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let child = object(&generator, depth: depth + 1)
            // pyemv keeps a template as a dictionary: a tag stands in it once.
            if !children.contains(where: { $0.tag == child.tag }) { children.append(child) }
        }
        return BERTLV(tag, children)
    }

    private static func tag(_ generator: inout SeededGenerator, isTemplate: Bool) -> BERTag {
        let kind: UInt32 = isTemplate ? 0x20 : 0
        let form = UInt32.random(in: 1...3, using: &generator) << 6 | kind
        switch Int.random(in: 1...3, using: &generator) {
        case 1: return BERTag(form | UInt32.random(in: 1...0x1E, using: &generator))
        case 2: return BERTag((form | 0x1F) << 8 | UInt32.random(in: 0x1F...0x7F, using: &generator))
        default:
            let middle = UInt32.random(in: 0x81...0xFF, using: &generator)
            return BERTag((form | 0x1F) << 16 | middle << 8 | UInt32.random(in: 0...0x7F, using: &generator))
        }
    }

    /// From the issuer's master key to the cryptogram: option A, session key, input, padding and MAC in one.
    @Test(arguments: [(CryptogramVersion.cvn10, "VisaCVN10"), (.cvn18, "VisaCVN18")])
    func cryptogramVersions(version: CryptogramVersion, name: String) throws {
        var generator = SeededGenerator()
        print("differential test of \(name): ECARD_TEST_SEED=\(generator.seed)")
        let lengths: [(BERTag, Int)] = [
            (0x9F02, 6), (0x9F03, 6), (0x9F1A, 2), (0x95, 5), (0x5F2A, 2), (0x9A, 3), (0x9C, 1), (0x9F37, 4), (0x82, 2),
            (0x9F36, 2),
        ]
        var rows: [[String]] = []
        var inputs: [(key: [UInt8], pan: PAN, psn: Int, elements: [BERTag: [UInt8]])] = []
        for _ in 0..<Self.count {
            let key = generator.bytes(16)
            let pan = try PAN(issuer: generator.digits(6), account: generator.digits(9))
            let psn = Int.random(in: 0...99, using: &generator)
            let values = lengths.map { generator.bytes($0.1) }
            let cvr = [0x03] + generator.bytes(3)
            let data = [0x06, generator.bytes(1)[0], version.number] + cvr
            var elements = Dictionary(uniqueKeysWithValues: zip(lengths.map(\.0), values))
            elements[0x9F10] = data
            inputs.append((key, pan, psn, elements))
            let last = version.issuerData == .cvr ? cvr : data
            rows.append([
                name, key.hex, pan.digits, psn < 10 ? "0\(psn)" : "\(psn)",
                (values + [last]).map(\.hex).joined(separator: " "),
            ])
        }
        let expected = try PythonOracle().call("cvn", rows)
        try Fixture.withSession { session throws in
            for (index, (key, pan, psn, elements)) in inputs.enumerated() {
                let issuer = try session.importSecret(KeyTemplate(.des2, .derive), value: SecretBytes(key))
                defer { try? session.destroy(issuer) }
                let input = try version.input(elements)
                let counter = try #require(UInt16(bigEndian: elements[0x9F36] ?? []))
                let cryptogram = try RetailMACKey.withSessionKey(
                    issuerKey: issuer, pan: pan, sequenceNumber: psn, counter: counter, version: version, in: session
                ) { key throws(KeyStoreError) in try key.mac(input, padding: version.padding, in: session) }
                #expect(cryptogram == [UInt8](hex: expected[index]), "row \(index)")
            }
        }
    }
}
