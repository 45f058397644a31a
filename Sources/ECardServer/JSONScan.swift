import HTTPTypes

/// One pass over a JSON text before anything of it is decoded: its grammar to the letter (RFC 8259), each member once, and no
/// member that is a card's security code. The decoder is more patient: it takes trailing commas, and the first of two members.
///
/// Time and memory grow with the text; what is open is a list of ours, so depth costs no stack.
struct JSONScan {
    /// How many objects and lists may be open, as many as the decoder opens.
    static let depth = 512

    private struct Level {
        let isObject: Bool
        /// Members or elements that have begun.
        var count = 0
        var name = ""
        var names: Set<String> = []
    }

    private let bytes: [UInt8]
    private var at = 0
    private var levels: [Level] = []
    /// The place of the first security code: it is told before all else that is wrong.
    private var securityCode: String?
    /// The first thing that is wrong and leaves the rest readable.
    private var mistake: APIError?

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// - Parameter bytes: UTF-8.
    /// - Throws: ``APIError`` 400 with the place: for a security code wherever it stands, then for what is wrong first.
    static func check(_ bytes: [UInt8]) throws(APIError) {
        var scan = JSONScan(bytes)
        do {
            try scan.text()
        } catch {
            scan.mistake = scan.mistake ?? error
        }
        if let place = scan.securityCode { throw .securityCode(place) }
        if let mistake = scan.mistake { throw mistake }
    }

    /// One value, and white space around it.
    private mutating func text() throws(APIError) {
        skipSpace()
        try value()
        while !levels.isEmpty {
            // No copy of the level: its names would be copied with the next one.
            let (isObject, count) = (levels[levels.count - 1].isObject, levels[levels.count - 1].count)
            skipSpace()
            if take(isObject ? "}" : "]") {
                levels.removeLast()
                continue
            }
            if count > 0 {
                guard take(",") else { throw stop() }
                skipSpace()
            }
            levels[levels.count - 1].count += 1
            if isObject { try member() }
            try value()
        }
        skipSpace()
        guard at == bytes.count else { throw stop() }
    }

    /// A member's name and its colon.
    private mutating func member() throws(APIError) {
        let start = at
        guard next == UInt8(ascii: "\"") else { throw stop() }
        let name = try string()
        levels[levels.count - 1].name = name
        if !levels[levels.count - 1].names.insert(name).inserted {
            note("a member is there twice", at: start)
        }
        if securityCode == nil, SecurityCodeName.matches(name) { securityCode = place }
        skipSpace()
        guard take(":") else { throw stop() }
        skipSpace()
    }

    /// A whole value, or the beginning of an object or list.
    private mutating func value() throws(APIError) {
        guard let byte = next else { throw stop() }
        switch byte {
        case UInt8(ascii: "{"): try begin(isObject: true)
        case UInt8(ascii: "["): try begin(isObject: false)
        case UInt8(ascii: "\""): _ = try string()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try number()
        case UInt8(ascii: "t"): try word("true")
        case UInt8(ascii: "f"): try word("false")
        case UInt8(ascii: "n"): try word("null")
        default: throw stop()
        }
    }

    private mutating func begin(isObject: Bool) throws(APIError) {
        guard levels.count < Self.depth else {
            throw .invalidJSON("it opens more than \(Self.depth) objects and lists, at byte \(at)")
        }
        levels.append(Level(isObject: isObject))
        at += 1
    }

    private mutating func word(_ word: String) throws(APIError) {
        for byte in word.utf8 {
            guard next == byte else { throw stop() }
            at += 1
        }
    }

    /// RFC 8259, 6.
    private mutating func number() throws(APIError) {
        _ = take("-")
        if !take("0") { try digits() }
        if take(".") { try digits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits()
        }
    }

    private mutating func digits() throws(APIError) {
        let start = at
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { at += 1 }
        guard at > start else { throw stop() }
    }

    // MARK: Text

    /// RFC 8259, 7. What is wrong inside is noted, so that the names behind it are seen, too.
    private mutating func string() throws(APIError) -> String {
        at += 1
        var text: [UInt8] = []
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                at += 1
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"):
                escape(into: &text)
            case 0..<0x20:
                note("a control character in a text must be written as an escape", at: at)
                at += 1
            default:
                text.append(byte)
                at += 1
            }
        }
        throw stop()
    }

    private mutating func escape(into text: inout [UInt8]) {
        let start = at
        at += 1
        guard let byte = next else { return }
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "u"):
            if let scalar = escapedScalar(from: start) { text += Array(String(scalar).utf8) }
        default:
            at = start + 1
            note("a text has an escape that JSON does not have", at: start)
        }
    }

    /// The four digits behind `\u`, and of a surrogate the other half behind it.
    private mutating func escapedScalar(from start: Int) -> Unicode.Scalar? {
        guard let unit = hexadecimal() else {
            note("four hexadecimal digits are wanted behind \\u", at: start)
            return nil
        }
        if let scalar = Unicode.Scalar(unit) { return scalar }
        let behind = at
        if unit < 0xDC00, take("\\"), take("u"), let low = hexadecimal(), (0xDC00...0xDFFF).contains(low) {
            return Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
        }
        at = behind
        note("half of a surrogate pair stands alone in a text", at: start)
        return nil
    }

    private mutating func hexadecimal() -> UInt32? {
        guard at + 4 <= bytes.count else { return nil }
        var number: UInt32 = 0
        for byte in bytes[at..<at + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
            number = number << 4 | UInt32(digit)
        }
        at += 4
        return number
    }

    // MARK: Bytes and places

    private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        at += 1
        return true
    }

    /// RFC 8259, 2.
    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { at += 1 }
    }

    /// `card.number`, `list.[2].name`, as decoding has it; empty for the text as a whole.
    private var place: String {
        levels.filter { $0.count > 0 }
            .map { $0.isObject ? String($0.name.prefix(64)) : "[\($0.count - 1)]" }
            .joined(separator: ".")
    }

    private mutating func note(_ what: String, at byte: Int) {
        guard mistake == nil else { return }
        let param = place
        mistake = .invalidJSON("\(what), at byte \(byte)", param: param.isEmpty ? nil : param)
    }

    /// Why it cannot be read on.
    private func stop() -> APIError {
        .invalidJSON(at < bytes.count ? "it stops being JSON around byte \(at)" : "it ends too early")
    }
}

extension APIError {
    static func invalidJSON(_ why: String, param: String? = nil) -> APIError {
        APIError(
            .badRequest, .invalidRequest, "json_invalid", "The body is not JSON (RFC 8259): \(why).", param: param)
    }
}
