/// A BER tag as it stands on the wire, up to three bytes (EMV Book 3, Annex B1).
public struct BERTag: RawRepresentable, Hashable, Sendable, Comparable, ExpressibleByIntegerLiteral {
    /// The tag's bytes read as one big-endian number: `0x9F36`, `0x5A`.
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }
    public init(integerLiteral value: UInt32) { rawValue = value }

    /// The tag's bytes as encoded.
    public var bytes: [UInt8] {
        let all = rawValue.bigEndianBytes
        return Array(all[(all.firstIndex { $0 != 0 } ?? 3)...])
    }

    /// Whether the value is itself a list of data objects (bit 6 of the first byte).
    public var isConstructed: Bool {
        var first = rawValue
        while first > 0xFF { first >>= 8 }
        return first & 0x20 != 0
    }

    public static func < (first: BERTag, second: BERTag) -> Bool { first.rawValue < second.rawValue }
}

extension BERTag: CustomStringConvertible {
    public var description: String { bytes.hex }
}

/// Why bytes are not the data objects they should be, and where.
public struct BERTLVError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Reason: Equatable, Sendable {
        /// The bytes end inside a tag or a length.
        case truncated
        /// A length reaches beyond what is left.
        case lengthBeyondBuffer(length: Int, left: Int)
        /// Length byte 80: the indefinite form has no place on a card.
        case indefiniteLength
        /// A length of more than four bytes.
        case lengthTooLong
        /// A tag of more than three bytes.
        case tagTooLong
        /// Templates nested deeper than ``BERTLV/maximumDepth``.
        case tooDeep
        /// A data object list asks for more than 255 bytes of one element.
        case entryTooLong(Int)
    }

    public let reason: Reason
    /// The tag being read, where one was read.
    public let tag: BERTag?
    /// Where, from the start of the outermost bytes.
    public let offset: Int

    public var description: String {
        let place = (tag.map { "tag \($0) " } ?? "") + "at byte \(offset)"
        return switch reason {
        case .truncated: "\(place): the bytes end inside a tag or a length"
        case .lengthBeyondBuffer(let length, let left): "\(place): length \(length) exceeds \(left) left"
        case .indefiniteLength: "\(place): indefinite length is not allowed"
        case .lengthTooLong: "\(place): a length of more than four bytes"
        case .tagTooLong: "\(place): a tag of more than three bytes"
        case .tooDeep: "\(place): templates nested deeper than \(BERTLV.maximumDepth)"
        case .entryTooLong(let length): "\(place): a list entry of \(length) bytes, at most 255 can be"
        }
    }
}

/// One BER-TLV data object (EMV Book 3, Annex B).
public struct BERTLV: Equatable, Sendable {
    /// Templates deeper than this are refused: no card of any scheme nests beyond five.
    public static let maximumDepth = 16

    public let tag: BERTag
    /// The value field; for a constructed object, its encoded children.
    public let value: [UInt8]
    /// The children of a constructed object, empty for a primitive one.
    public let children: [BERTLV]

    /// A primitive object, or a constructed one whose value is already encoded. The children of one whose value is
    /// not well-formed are empty.
    public init(_ tag: BERTag, _ value: [UInt8]) {
        self.tag = tag
        self.value = value
        children = tag.isConstructed ? (try? BERTLV.parse(value)) ?? [] : []
    }

    /// A constructed object.
    public init(_ tag: BERTag, _ children: [BERTLV]) {
        self.tag = tag
        self.children = children
        value = children.flatMap(\.encoded)
    }

    init(tag: BERTag, value: [UInt8], children: [BERTLV]) {
        self.tag = tag
        self.value = value
        self.children = children
    }

    /// Tag, length in the shortest form, value.
    public var encoded: [UInt8] { tag.bytes + BERTLV.encodedLength(value.count) + value }

    /// A length field in the shortest form.
    public static func encodedLength(_ length: Int) -> [UInt8] {
        switch length {
        case ..<0x80: [UInt8(length)]
        case ..<0x100: [0x81, UInt8(length)]
        case ..<0x10000: [0x82, UInt8(length >> 8), UInt8(length & 0xFF)]
        default: [0x83, UInt8(length >> 16 & 0xFF), UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF)]
        }
    }

    /// All data objects in `bytes`, templates parsed down to their leaves. Zero bytes between objects are padding.
    public static func parse(_ bytes: some Collection<UInt8>) throws(BERTLVError) -> [BERTLV] {
        let buffer = Array(bytes)
        return try parse(buffer, from: 0, to: buffer.count, depth: 0)
    }

    /// Parses only the outermost level: constructed objects keep their value unparsed. For templates whose content a
    /// card is free to fill with anything.
    public static func parseFlat(_ bytes: some Collection<UInt8>) throws(BERTLVError) -> [BERTLV] {
        let buffer = Array(bytes)
        return try parse(buffer, from: 0, to: buffer.count, depth: nil)
    }

    /// The first object with `tag`, searched depth first.
    public func first(_ tag: BERTag) -> BERTLV? {
        self.tag == tag ? self : children.first(tag)
    }

    private static func parse(
        _ buffer: [UInt8], from start: Int, to end: Int, depth: Int?
    ) throws(BERTLVError) -> [BERTLV] {
        if let depth, depth > maximumDepth { throw BERTLVError(reason: .tooDeep, tag: nil, offset: start) }
        var objects: [BERTLV] = []
        var position = start
        while position < end {
            if buffer[position] == 0 {
                position += 1
                continue
            }
            let offset = position
            let tag = try parseTag(buffer, &position, end)
            let length = try parseLength(buffer, &position, end, tag: tag, offset: offset)
            guard length <= end - position else {
                throw BERTLVError(
                    reason: .lengthBeyondBuffer(length: length, left: end - position), tag: tag, offset: offset)
            }
            var children: [BERTLV] = []
            if tag.isConstructed, let depth {
                children = try parse(buffer, from: position, to: position + length, depth: depth + 1)
            }
            objects.append(
                BERTLV(tag: tag, value: Array(buffer[position..<position + length]), children: children))
            position += length
        }
        return objects
    }

    static func parseTag(_ buffer: [UInt8], _ position: inout Int, _ end: Int) throws(BERTLVError) -> BERTag {
        let offset = position
        var raw = UInt32(buffer[position])
        position += 1
        guard raw & 0x1F == 0x1F else { return BERTag(raw) }
        for _ in 0..<2 {
            guard position < end else { throw BERTLVError(reason: .truncated, tag: nil, offset: offset) }
            let byte = buffer[position]
            position += 1
            raw = raw << 8 | UInt32(byte)
            if byte & 0x80 == 0 { return BERTag(raw) }
        }
        throw BERTLVError(reason: .tagTooLong, tag: nil, offset: offset)
    }

    static func parseLength(
        _ buffer: [UInt8], _ position: inout Int, _ end: Int, tag: BERTag, offset: Int
    ) throws(BERTLVError) -> Int {
        guard position < end else { throw BERTLVError(reason: .truncated, tag: tag, offset: offset) }
        let first = buffer[position]
        position += 1
        guard first & 0x80 != 0 else { return Int(first) }
        let count = Int(first & 0x7F)
        guard count > 0 else { throw BERTLVError(reason: .indefiniteLength, tag: tag, offset: offset) }
        guard count <= 4 else { throw BERTLVError(reason: .lengthTooLong, tag: tag, offset: offset) }
        guard end - position >= count else { throw BERTLVError(reason: .truncated, tag: tag, offset: offset) }
        let length = buffer[position..<position + count].reduce(0) { $0 << 8 | Int($1) }
        position += count
        return length
    }
}

extension Sequence<BERTLV> {
    /// The first object with `tag`, searched depth first.
    public func first(_ tag: BERTag) -> BERTLV? {
        for object in self {
            if let found = object.first(tag) { return found }
        }
        return nil
    }

    /// All leaves, in order of appearance: what a terminal collects from templates.
    public var leaves: [BERTLV] {
        flatMap { $0.children.isEmpty ? [$0] : $0.children.leaves }
    }
}
