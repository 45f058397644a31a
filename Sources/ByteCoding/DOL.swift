/// A data object list: tags and lengths without values (EMV Book 3, 5.4). PDOL, CDOL1, CDOL2, DDOL, TDOL.
public struct DOL: Equatable, Sendable {
    public struct Entry: Equatable, Sendable {
        public let tag: BERTag
        /// Length in bytes that the card wants, 0 to 255.
        public let length: Int

        public init(_ tag: BERTag, _ length: Int) {
            self.tag = tag
            self.length = length
        }
    }

    public let entries: [Entry]

    public init(_ entries: [Entry]) { self.entries = entries }

    /// Reads tag-length pairs. A length is one byte (EMV Book 3, 5.4): a list cannot ask for more memory than that.
    public init(_ bytes: some Collection<UInt8>) throws(BERTLVError) {
        let buffer = Array(bytes)
        var position = 0
        var entries: [Entry] = []
        while position < buffer.count {
            let offset = position
            let tag = try BERTLV.parseTag(buffer, &position, buffer.count)
            let length = try BERTLV.parseLength(buffer, &position, buffer.count, tag: tag, offset: offset)
            guard length <= 0xFF else {
                throw BERTLVError(reason: .entryTooLong(length), tag: tag, offset: offset)
            }
            entries.append(Entry(tag, length))
        }
        self.entries = entries
    }

    /// The number of bytes that the filled list has.
    public var filledLength: Int { entries.reduce(0) { $0 + $1.length } }

    public var encoded: [UInt8] { entries.flatMap { $0.tag.bytes + BERTLV.encodedLength($0.length) } }

    /// Fills the list by the rules of EMV Book 3, 5.4: a value not known is zeros; a value too long loses its
    /// leftmost bytes if numeric, else its rightmost; one too short is padded with leading zeros if numeric, trailing
    /// `FF` if compressed numeric, else trailing zeros.
    public func fill(_ lookup: (BERTag) -> (value: [UInt8], format: DOLFormat)?) -> [UInt8] {
        entries.flatMap { entry -> [UInt8] in
            guard let (value, format) = lookup(entry.tag) else { return [UInt8](repeating: 0, count: entry.length) }
            let missing = entry.length - value.count
            if missing <= 0 {
                return format == .numeric ? Array(value.suffix(entry.length)) : Array(value.prefix(entry.length))
            }
            return switch format {
            case .numeric: [UInt8](repeating: 0, count: missing) + value
            case .compressedNumeric: value + [UInt8](repeating: 0xFF, count: missing)
            case .other: value + [UInt8](repeating: 0, count: missing)
            }
        }
    }

    /// Splits filled bytes back into values.
    /// - Returns: `nil` when `data` is not exactly ``filledLength`` bytes.
    public func split(_ data: some Collection<UInt8>) -> [(tag: BERTag, value: [UInt8])]? {
        guard data.count == filledLength else { return nil }
        var rest = Array(data)[...]
        return entries.map { entry in
            defer { rest = rest.dropFirst(entry.length) }
            return (entry.tag, Array(rest.prefix(entry.length)))
        }
    }
}

/// How a data object is padded or cut when a list asks for another length than it has.
public enum DOLFormat: Equatable, Sendable {
    case numeric, compressedNumeric, other
}
