import ByteCoding
import EMV

/// Data elements of a card that are more than a number: what is taken is well-formed, and explaining never fails.
extension FuzzTarget {
    static let emv = FuzzTarget("emv", limit: 512) { bytes in
        var reader = ByteReader(bytes)
        switch reader.below(4) {
        case 0: try checkLocator(reader.everything())
        case 1: try checkMethods(reader.everything())
        case 2: try checkIssuerData(reader.everything())
        default:
            let elements = DataElement.all
            let element = elements[reader.below(256) % elements.count]
            let object = BERTLV(element.tag, reader.everything())
            let meaning = object.meaning ?? ""
            try require(
                meaning.utf8.count <= 4096 + 160 * object.value.count,
                "\(element.tag): \(meaning.utf8.count) characters about \(object.value.count) bytes")
        }
    }

    private static func checkLocator(_ bytes: [UInt8]) throws {
        guard let locator = try? ApplicationFileLocator(bytes) else { return }
        try require(
            4 * locator.entries.count == bytes.count, "\(locator.entries.count) entries of \(bytes.count) bytes")
        for entry in locator.entries {
            try require((1...30).contains(entry.file) && entry.records.lowerBound > 0, "\(entry): no file or record")
            try require(Int(entry.signed) <= entry.records.count, "\(entry): more signed than there are")
        }
        try require(locator.entries.map(\.records.count).reduce(0, +) <= 512, "more records than any card has")
    }

    private static func checkMethods(_ bytes: [UInt8]) throws {
        guard let list = CVMList(bytes) else {
            return try require(bytes.count < 8 || bytes.count % 2 == 1, "\(bytes.count) bytes are no CVM list")
        }
        let again =
            list.amountX.bigEndianBytes + list.amountY.bigEndianBytes + list.rules.flatMap { [$0.code, $0.condition] }
        try require(again == bytes, "the CVM list does not come back")
        try require(list.rules.allSatisfy { !$0.description.isEmpty }, "a rule without words")
    }

    private static func checkIssuerData(_ bytes: [UInt8]) throws {
        guard let data = try? IssuerApplicationData(bytes) else { return }
        try require((7...32).contains(bytes.count) && data.bytes == bytes, "an IAD of \(bytes.count) bytes")
        try require(data.cvr.bytes.elementsEqual(bytes[3..<7]), "the CVR is not the IAD's")
        try require(data.cvr.meanings.count >= 2, "a CVR says of both cryptograms what they are")
    }
}
