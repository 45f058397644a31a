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

    private(set) var values: [String: Value]

    init(dictionaryLiteral elements: (String, Value)...) {
        values = [:]
        for (key, value) in elements { values[key] = value }
    }

    /// Both; where they share a key, `other`'s value.
    func and(_ other: Facts) -> Facts {
        var result = self
        result.values.merge(other.values) { $1 }
        return result
    }

    /// RFC 8259, without white space.
    var json: String { Facts.object(values.map { ($0.key, Facts.json($0.value)) }) }

    private static func json(_ value: Value) -> String {
        switch value {
        case .text(let text): quoted(text)
        case .number(let number): String(number)
        case .flag(let flag): flag ? "true" : "false"
        case .amounts(let amounts): object(amounts.map { ($0.key, String($0.value)) })
        }
    }

    private static func object(_ members: [(String, String)]) -> String {
        let sorted = members.sorted { $0.0.utf8.lexicographicallyPrecedes($1.0.utf8) }
        return "{" + sorted.map { quoted($0.0) + ":" + $0.1 }.joined(separator: ",") + "}"
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\" + String(scalar)
            case "\u{0}"..."\u{1F}":
                result += "\\u00" + [UInt8(scalar.value)].hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
