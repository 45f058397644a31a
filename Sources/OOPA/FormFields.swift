/// The fields of an `application/x-www-form-urlencoded` body (WHATWG URL, 5.1).
struct FormFields {
    /// Fields of one body.
    static let countLimit = 64

    private let fields: [String: String]

    /// - Throws: ``USSDRequestError`` for a percent sign without two digits, bytes that are no UTF-8, a field that stands
    ///   twice, and too many fields.
    init(_ body: [UInt8], rules: CallbackRules) throws(USSDRequestError) {
        var fields: [String: String] = [:]
        for (place, pair) in body.split(separator: UInt8(ascii: "&")).enumerated() {
            guard place < Self.countLimit else { throw rules.mistake("body", "more than \(Self.countLimit) fields") }
            let equals = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            guard let name = Self.decoded(pair[..<equals]), let value = Self.decoded(pair[equals...].dropFirst()) else {
                throw rules.mistake("field \(place + 1) of the body", "percent-encoded UTF-8 wanted")
            }
            guard fields.updateValue(value, forKey: name) == nil else {
                throw rules.mistake("field \(place + 1) of the body", "stands twice")
            }
        }
        self.fields = fields
    }

    subscript(_ name: String) -> String? { fields[name] }

    private static func decoded(_ bytes: ArraySlice<UInt8>) -> String? {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var rest = bytes
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "+"): decoded.append(UInt8(ascii: " "))
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue) else {
                    return nil
                }
                decoded.append(high << 4 | low)
            default: decoded.append(byte)
            }
        }
        return String(validating: decoded, as: UTF8.self)
    }

    private static func hexValue(_ digit: UInt8) -> UInt8? {
        Character(Unicode.Scalar(digit)).hexDigitValue.map(UInt8.init)
    }
}
