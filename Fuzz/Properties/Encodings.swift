import ByteCoding

/// BER-TLV, data object lists, hexadecimal and BCD: what can be read can be written, and reads as the same again.
extension FuzzTarget {
    static let tlv = FuzzTarget("tlv") { bytes in
        let objects: [BERTLV]
        do throws(BERTLVError) {
            objects = try BERTLV.parse(bytes)
        } catch {
            try require((0...bytes.count).contains(error.offset), "\(error): the place is outside \(bytes.count) bytes")
            try require(!error.description.isEmpty, "an error without words")
            return
        }
        let encoded = objects.flatMap(\.encoded)
        try require(encoded.count <= bytes.count, "\(bytes.count) bytes became \(encoded.count)")
        try require((try? BERTLV.parse(encoded)) == objects, "parsing what was encoded gives other objects")
        let flat = try BERTLV.parseFlat(bytes)
        try require(
            flat.map(\.tag) == objects.map(\.tag) && flat.map(\.value) == objects.map(\.value),
            "the outermost level reads differently alone")
        for object in objects {
            try require(BERTLV(object.tag, object.value) == object, "\(object.tag): another object from tag and value")
            try require(
                object.children.first(object.tag) == nil || object.first(object.tag) == object,
                "\(object.tag): a search begins with the object itself")
        }
        try require(2 * objects.leaves.count <= bytes.count, "more leaves than fit \(bytes.count) bytes")
    }

    static let dol = FuzzTarget("dol", limit: 1024) { bytes in
        let list: DOL
        do throws(BERTLVError) {
            list = try DOL(bytes)
        } catch {
            return try require((0..<bytes.count).contains(error.offset), "\(error): the place is outside the list")
        }
        try require((try? DOL(list.encoded)) == list, "reading what was encoded gives another list")
        // Values of every length, from the list's own bytes, in each of the formats.
        let formats: [DOLFormat] = [.numeric, .compressedNumeric, .other]
        let filled = list.fill { tag in
            let choice = Int(tag.rawValue & 0xFF)
            return choice % 4 == 3 ? nil : (Array(bytes.prefix(choice)), formats[choice % 4])
        }
        try require(filled.count == list.filledLength, "\(filled.count) bytes, \(list.filledLength) promised")
        try require(list.filledLength <= 255 * list.entries.count, "an entry asks for more than 255 bytes")
        let values = list.split(filled)
        try require(values?.map(\.tag) == list.entries.map(\.tag), "splitting gives other tags")
        try require(values?.flatMap(\.value) == filled, "splitting loses bytes")
        try require(list.split(filled + [0]) == nil, "a filling with a byte too many is taken")
    }

    static let digits = FuzzTarget("digits", limit: 256) { bytes in
        try require([UInt8](hex: bytes.hex) == bytes, "hexadecimal does not come back")
        let text = String(decoding: bytes, as: UTF8.self)
        if let read = [UInt8](hex: text) {
            let plain = text.filter { $0.isHexDigit }.uppercased()
            try require(read.hex == plain, "'\(text)' read as \(read.hex)")
        }
        if let digits = BCD.digits(bytes) {
            try require(BCD.compressed(digits, length: bytes.count) == bytes, "\(bytes.hex): cn does not come back")
        }
        if let number = BCD.number(bytes) {
            try require(BCD.numeric(number, length: bytes.count) == bytes, "\(bytes.hex): n does not come back")
        }
        let length = Int(bytes.first ?? 0) % 16
        if let packed = BCD.numeric(text, length: length) {
            try require(packed.count == length, "n of \(length) bytes has \(packed.count)")
            let digits = String(repeating: "0", count: 2 * length - text.utf8.count) + text
            try require(BCD.digits(packed) == digits, "n of '\(text)' does not come back")
        }
        if let number = UInt64(bigEndian: bytes) {
            try require(number.bigEndianBytes.suffix(bytes.count).elementsEqual(bytes), "\(bytes.hex) is \(number)")
        } else {
            try require(bytes.count > 8, "\(bytes.hex) fits 64 bits")
        }
    }
}
