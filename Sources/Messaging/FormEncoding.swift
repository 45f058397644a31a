/// `application/x-www-form-urlencoded` (WHATWG URL standard, 5.2).
func formEncoded(_ fields: [(String, String)]) -> [UInt8] {
    fields.map { "\(formEncoded($0))=\(formEncoded($1))" }.joined(separator: "&").utf8.map { $0 }
}

private func formEncoded(_ text: String) -> String {
    let hex = Array("0123456789ABCDEF")
    return text.utf8.reduce(into: "") { encoded, byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "*"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"):
            encoded.append(Character(Unicode.Scalar(byte)))
        case UInt8(ascii: " "): encoded.append("+")
        default: encoded += "%\(hex[Int(byte >> 4)])\(hex[Int(byte & 0x0F)])"
        }
    }
}
