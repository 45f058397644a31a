/// Comma-separated values as RFC 4180 has them, read from bytes: quoted fields, quotes doubled inside them, line breaks
/// inside quotes, CRLF or LF, a UTF-8 byte order mark.
///
/// A record that cannot be read is one error with its place, and the records after it are read; but where a quote leaves
/// open at which line its record ends, what follows is not read at all: text that a stranger put between quotes must never
/// become a record of its own. Empty lines are no records. Nothing is trimmed here.
public struct CSVReader: Sequence, IteratorProtocol, Sendable {
    /// Bytes of a file.
    public static let fileLimit = 16 << 20
    /// Bytes of a field, its outer quotes not counted.
    public static let fieldLimit = 4096
    /// Fields of a record.
    public static let columnLimit = 64

    private let bytes: [UInt8]
    private var position = 0
    private var line = 1
    /// Where the present line begins.
    private var lineStart = 0

    /// - Throws: ``CSVError`` for a file that is too long or is no UTF-8 text by its first bytes.
    public init(_ bytes: [UInt8]) throws(CSVError) {
        guard bytes.count <= Self.fileLimit else {
            throw CSVError(1, 1, "the file has \(bytes.count) bytes, more than \(Self.fileLimit); divide it")
        }
        if bytes.starts(with: [0xFE, 0xFF]) || bytes.starts(with: [0xFF, 0xFE]) {
            throw CSVError(1, 1, "the file is UTF-16; save it as UTF-8")
        }
        self.bytes = bytes
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { (position, lineStart) = (3, 3) }
    }

    /// The next record, or why there is none; `nil` at the end.
    public mutating func next() -> Result<CSVRecord, CSVError>? {
        while skipLineEnd() {}
        guard position < bytes.count else { return nil }
        let start = (line, position)
        do throws(CSVError) {
            return .success(try record())
        } catch {
            guard recover(from: start) else {
                return .failure(
                    CSVError(
                        error.line, error.column,
                        error.reason + "; where this record ends is uncertain, so nothing behind it was read"))
            }
            return .failure(error)
        }
    }

    private mutating func record() throws(CSVError) -> CSVRecord {
        let first = line
        var fields: [CSVField] = []
        while true {
            guard fields.count < Self.columnLimit else { throw error("more than \(Self.columnLimit) fields") }
            fields.append(try field())
            guard position < bytes.count, bytes[position] == UInt8(ascii: ",") else { break }
            position += 1
        }
        guard position == bytes.count || skipLineEnd() else {
            // A field ends at a comma, a line end or the end; here stands a carriage return alone.
            throw error("a carriage return without a line feed")
        }
        return CSVRecord(line: first, fields: fields)
    }

    private mutating func field() throws(CSVError) -> CSVField {
        let place = (line, column(of: position))
        let content = try peek() == UInt8(ascii: "\"") ? quoted() : plain()
        guard let text = String(validating: content, as: UTF8.self) else {
            throw CSVError(place.0, place.1, "the field is not UTF-8 text; save the file as UTF-8")
        }
        guard !content.contains(0) else { throw CSVError(place.0, place.1, "a NUL character") }
        return CSVField(text: text, line: place.0, column: place.1)
    }

    private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func plain() throws(CSVError) -> [UInt8] {
        let start = position
        while let byte = peek(), byte != UInt8(ascii: ","), byte != 0x0A, byte != 0x0D {
            guard byte != UInt8(ascii: "\"") else {
                throw error("a quote inside a field that does not begin with one; quote the field and double the quote")
            }
            position += 1
            guard position - start <= Self.fieldLimit else { throw tooLong }
        }
        return Array(bytes[start..<position])
    }

    private mutating func quoted() throws(CSVError) -> [UInt8] {
        let opening = error("the quote that begins here is not closed")
        position += 1
        var content: [UInt8] = []
        while let byte = peek() {
            position += 1
            if byte == UInt8(ascii: "\"") {
                guard peek() == UInt8(ascii: "\"") else {
                    guard peek().map({ [UInt8(ascii: ","), 0x0A, 0x0D].contains($0) }) ?? true else {
                        throw error("text behind a closing quote; double a quote that is part of the text")
                    }
                    return content
                }
                position += 1
            }
            if byte == 0x0A { (line, lineStart) = (line + 1, position) }
            content.append(byte)
            guard content.count <= Self.fieldLimit else { throw tooLong }
        }
        throw opening
    }

    /// Skips CRLF or LF.
    private mutating func skipLineEnd() -> Bool {
        let length = peek() == 0x0D && position + 1 < bytes.count ? 2 : 1
        guard position + length <= bytes.count, bytes[position + length - 1] == 0x0A else { return false }
        position += length
        (line, lineStart) = (line + 1, position)
        return true
    }

    /// Goes on behind the bad record where its end is certain: on its first line every quote is closed.
    private mutating func recover(from start: (line: Int, position: Int)) -> Bool {
        let end = bytes[start.position...].firstIndex(of: 0x0A) ?? bytes.count
        let isCertain = bytes[start.position..<end].count { $0 == UInt8(ascii: "\"") } % 2 == 0
        position = isCertain ? Swift.min(end + 1, bytes.count) : bytes.count
        (line, lineStart) = (start.line + 1, position)
        return isCertain
    }

    private var tooLong: CSVError { error("a field of more than \(Self.fieldLimit) bytes") }

    private func error(_ reason: String) -> CSVError { CSVError(line, column(of: position), reason) }

    /// Characters from the line's beginning, the first being 1.
    private func column(of position: Int) -> Int {
        // Every byte of a character but the first is 10xxxxxx.
        bytes[lineStart..<Swift.max(lineStart, position)].count { $0 & 0xC0 != 0x80 } + 1
    }
}

/// One record of a CSV file.
public struct CSVRecord: Hashable, Sendable {
    /// Where it begins, the first line being 1.
    public let line: Int
    /// One at least.
    public let fields: [CSVField]

    /// A record as a file has it, CRLF behind it; fields in quotes where they need them (RFC 4180, section 2, rules 5 to 7).
    ///
    /// By bytes: to Swift a quote and the accent behind it are one character, which is no quote.
    public static func line(_ fields: [String]) -> String {
        fields.map { field in
            // A byte order mark at the beginning of a file would be taken for the file's own.
            let isMarked = field.utf8.starts(with: [0xEF, 0xBB, 0xBF])
            guard isMarked || field.utf8.contains(where: { [0x22, 0x2C, 0x0A, 0x0D].contains($0) }) else {
                return field
            }
            let quote = UInt8(ascii: "\"")
            let content = field.utf8.flatMap { $0 == quote ? [quote, quote] : [$0] }
            return String(decoding: [quote] + content + [quote], as: UTF8.self)
        }.joined(separator: ",") + "\r\n"
    }
}

/// One field, without its quotes.
public struct CSVField: Hashable, Sendable {
    public let text: String
    public let line: Int
    /// In characters, the first being 1.
    public let column: Int
}

/// What is wrong in a CSV file, and where. Never quotes the file: it is about people.
public struct CSVError: Error, Hashable, Sendable, CustomStringConvertible {
    public let line: Int
    /// In characters, the first being 1.
    public let column: Int
    public let reason: String

    public init(_ line: Int, _ column: Int, _ reason: String) {
        self.line = line
        self.column = column
        self.reason = reason
    }

    public var description: String { "line \(line), column \(column): \(reason)" }
}
