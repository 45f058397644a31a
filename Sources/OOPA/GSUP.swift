import ByteCoding

/// A message of the Generic Subscriber Update Protocol, between a home location register and its peers: a type, then
/// information elements of tag, length (8 bits), value; the IMSI first (OsmoHLR User Manual, "Generic Subscriber Update
/// Protocol").
public struct GSUPMessage: Hashable, Sendable {
    /// The two low bits tell request (0), error (1) and result (2).
    public struct Kind: RawRepresentable, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        public static let supplementaryServiceRequest = Kind(rawValue: 0x20)
        public static let supplementaryServiceError = Kind(rawValue: 0x21)
        public static let supplementaryServiceResult = Kind(rawValue: 0x22)
    }

    public struct Tag: RawRepresentable, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        public static let imsi = Tag(rawValue: 0x01)
        public static let cause = Tag(rawValue: 0x02)
        public static let messageClass = Tag(rawValue: 0x0A)
        public static let sessionID = Tag(rawValue: 0x30)
        public static let sessionState = Tag(rawValue: 0x31)
        /// A component of TS 24.080: ``USSDComponent``.
        public static let supplementaryService = Tag(rawValue: 0x35)
    }

    public enum SessionState: UInt8, Sendable {
        case begin = 1
        case `continue` = 2
        case end = 3
    }

    public struct Element: Hashable, Sendable {
        public let tag: Tag
        /// At most 255 bytes.
        public let value: [UInt8]

        public init(_ tag: Tag, _ value: [UInt8]) {
            self.tag = tag
            self.value = value
        }
    }

    public let kind: Kind
    /// All of them, also those with tags that we do not know.
    public let elements: [Element]

    /// A message of a USSD session.
    /// - Parameters:
    ///   - imsi: 1 to 15 digits.
    ///   - component: at most 255 bytes.
    /// - Throws: ``MobileCoreError`` for values beyond that.
    public init(
        _ kind: Kind, imsi: String, session: UInt32, state: SessionState, component: [UInt8]?
    ) throws(MobileCoreError) {
        guard (1...15).contains(imsi.utf8.count), let digits = BCD.compressed(imsi) else {
            throw MobileCoreError("GSUP: IMSI", "1 to 15 digits wanted")
        }
        guard component?.count ?? 0 <= 255 else {
            throw MobileCoreError("GSUP: supplementary service", "\(component?.count ?? 0) bytes, at most 255 can be")
        }
        self.kind = kind
        elements =
            [
                // TBCD (TS 29.002, 17.7.8): the first digit in the low nibble.
                Element(.imsi, digits.map { $0 << 4 | $0 >> 4 }), Element(.sessionID, session.bigEndianBytes),
                Element(.sessionState, [state.rawValue]),
            ] + (component.map { [Element(.supplementaryService, $0)] } ?? [])
    }

    public init(_ bytes: [UInt8]) throws(MobileCoreError) {
        guard let kind = bytes.first else { throw MobileCoreError("GSUP: byte 0", "no message type") }
        self.kind = Kind(rawValue: kind)
        var elements: [Element] = []
        var position = 1
        while position < bytes.count {
            guard position + 1 < bytes.count else {
                throw MobileCoreError("GSUP: byte \(position)", "a tag without length")
            }
            let length = Int(bytes[position + 1])
            guard position + 2 + length <= bytes.count else {
                throw MobileCoreError(
                    "GSUP: element \([bytes[position]].hex) at byte \(position)",
                    "length \(length) exceeds \(bytes.count - position - 2) left")
            }
            elements.append(
                Element(Tag(rawValue: bytes[position]), Array(bytes[(position + 2)..<(position + 2 + length)])))
            position += 2 + length
        }
        self.elements = elements
    }

    public var encoded: [UInt8] {
        elements.reduce(into: [kind.rawValue]) { $0 += [$1.tag.rawValue, UInt8($1.value.count)] + $1.value }
    }

    public func value(_ tag: Tag) -> [UInt8]? { elements.first { $0.tag == tag }?.value }

    /// 1 to 15 digits; `nil` when there is none, or something else.
    public var imsi: String? {
        guard let value = value(.imsi), let digits = BCD.digits(value.map { $0 << 4 | $0 >> 4 }),
            (1...15).contains(digits.utf8.count)
        else { return nil }
        return digits
    }

    /// Unique together with the IMSI.
    public var session: UInt32? { value(.sessionID).flatMap { $0.count == 4 ? UInt32(bigEndian: $0) : nil } }

    public var sessionState: SessionState? {
        value(.sessionState).flatMap { $0.count == 1 ? SessionState(rawValue: $0[0]) : nil }
    }
}
