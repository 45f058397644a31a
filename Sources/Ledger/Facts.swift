import ByteCoding

/// The detail of an audit record: one JSON object, its keys sorted so that equal facts are equal bytes. No PAN, no code,
/// no digest of a code ever belongs in it.
struct Facts: ExpressibleByDictionaryLiteral {
    enum Value: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral {
        case text(String)
        case number(Int64)
        case flag(Bool)
        case amounts([String: Int64])

        init(stringLiteral value: String) { self = .text(value) }
        init(booleanLiteral value: Bool) { self = .flag(value) }
    }

    private var values: [(key: String, value: Value)]

    init(dictionaryLiteral elements: (String, Value)...) { values = elements.map { ($0.0, $0.1) } }

    /// Both; where they share a key, `other`'s value.
    func and(_ other: Facts) -> Facts {
        var result = self
        for (key, value) in other.values { result[key] = value }
        return result
    }

    subscript(key: String) -> Value? {
        get { values.first { $0.key == key }?.value }
        set {
            values.removeAll { $0.key == key }
            if let newValue { values.append((key, newValue)) }
        }
    }

    /// RFC 8259, without white space.
    var json: String {
        var text: [UInt8] = []
        text.reserveCapacity(320)
        Facts.write(values, to: &text) { value, text in
            switch value {
            case .text(let string): Facts.write(string, to: &text)
            case .number(let number): text += String(number).utf8
            case .flag(let flag): text += (flag ? "true" : "false").utf8
            case .amounts(let amounts):
                Facts.write(amounts.map { ($0.key, $0.value) }, to: &text) { $1 += String($0).utf8 }
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func write<Content>(
        _ members: [(key: String, value: Content)], to text: inout [UInt8], _ write: (Content, inout [UInt8]) -> Void
    ) {
        text.append(UInt8(ascii: "{"))
        // Keys are ASCII, where strings have the order of their bytes.
        for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
            if index > 0 { text.append(UInt8(ascii: ",")) }
            Facts.write(member.key, to: &text)
            text.append(UInt8(ascii: ":"))
            write(member.value, &text)
        }
        text.append(UInt8(ascii: "}"))
    }

    private static func write(_ string: String, to text: inout [UInt8]) {
        text.append(UInt8(ascii: "\""))
        if string.hasNoByte(where: isEscaped) {
            text += string.utf8
        } else {
            for byte in string.utf8 {
                if !isEscaped(byte) {
                    text.append(byte)
                } else if byte < 0x20 {
                    text += "\\u00\([byte].hex)".utf8
                } else {
                    text += [UInt8(ascii: "\\"), byte]
                }
            }
        }
        text.append(UInt8(ascii: "\""))
    }

    private static func isEscaped(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }
}

extension String {
    /// In one piece: byte by byte, a string's own view of its bytes is slower by far.
    func hasNoByte(where isSought: (UInt8) -> Bool) -> Bool {
        var text = self
        return text.withUTF8 { bytes in !bytes.contains(where: isSought) }
    }
}
