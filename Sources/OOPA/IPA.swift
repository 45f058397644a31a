import ByteCoding

/// Why bytes of a mobile core are not what they should be, and where.
public struct MobileCoreError: Error, Hashable, Sendable, CustomStringConvertible {
    /// `GSUP: element 35 at byte 12`
    public let place: String
    public let reason: String

    init(_ place: String, _ reason: String) {
        self.place = place
        self.reason = reason
    }

    public var description: String { "\(place): \(reason)" }
}

/// One frame of the ip.access multiplex, which carries everything between Osmocom's core elements over TCP: length of the
/// payload (16 bits), stream, payload (OsmoHLR User Manual, "Generic Subscriber Update Protocol").
public struct IPAFrame: Hashable, Sendable {
    public enum Stream: Hashable, Sendable {
        /// Connection management: ping, and who is there.
        case management
        /// The control interface: questions and answers as text.
        case control
        case gsup
        /// Any other: the stream, and the extension where it is Osmocom's.
        case other(UInt8, UInt8?)
    }

    /// No frame is longer; the length field alone could tell 65,535.
    public static let payloadLimit = 4096

    public let stream: Stream
    public let payload: [UInt8]

    public init(_ stream: Stream, _ payload: [UInt8]) {
        self.stream = stream
        self.payload = payload
    }

    private static let managementStream: UInt8 = 0xFE
    private static let osmocomStream: UInt8 = 0xEE
    private static let controlExtension: UInt8 = 0x00
    private static let gsupExtension: UInt8 = 0x05

    /// The first frame of `bytes`, and how many bytes it takes; `nil` while it is not whole.
    /// - Throws: ``MobileCoreError`` for a frame that is empty or beyond ``payloadLimit``: the connection is of no use then.
    public static func first(
        in bytes: some Collection<UInt8>
    ) throws(MobileCoreError) -> (frame: IPAFrame, length: Int)? {
        let header = Array(bytes.prefix(3))
        guard header.count == 3 else { return nil }
        let length = Int(header[0]) << 8 | Int(header[1])
        let isOsmocom = header[2] == osmocomStream
        guard length >= (isOsmocom ? 1 : 0), length <= payloadLimit else {
            throw MobileCoreError("IPA: length at byte 0", "\(length) bytes are none of a frame")
        }
        let content = Array(bytes.dropFirst(3).prefix(length))
        guard content.count == length else { return nil }
        let stream: Stream
        switch (header[2], isOsmocom ? content[0] : nil) {
        case (managementStream, _): stream = .management
        case (osmocomStream, controlExtension): stream = .control
        case (osmocomStream, gsupExtension): stream = .gsup
        case (let other, let `extension`): stream = .other(other, `extension`)
        }
        return (IPAFrame(stream, isOsmocom ? Array(content.dropFirst()) : content), 3 + length)
    }

    public var encoded: [UInt8] {
        let prefix: (stream: UInt8, extension: [UInt8]) =
            switch stream {
            case .management: (Self.managementStream, [])
            case .control: (Self.osmocomStream, [Self.controlExtension])
            case .gsup: (Self.osmocomStream, [Self.gsupExtension])
            case .other(let stream, let `extension`): (stream, `extension`.map { [$0] } ?? [])
            }
        let length = UInt16(prefix.extension.count + payload.count)
        return length.bigEndianBytes + [prefix.stream] + prefix.extension + payload
    }
}

/// A message of the connection management stream.
public enum IPAManagement: Hashable, Sendable {
    case ping, pong
    /// Asks for these properties.
    case identityRequest([UInt8])
    /// Property and text.
    case identity([Property])
    case identityAcknowledge

    public struct Property: Hashable, Sendable {
        public let tag: UInt8
        public let text: String

        public init(tag: UInt8, text: String) {
            self.tag = tag
            self.text = text
        }
    }

    /// Properties of a peer. The home location register knows an external USSD entity by its serial number, `EUSE-name`,
    /// and an MSC by the same, as it sends it.
    public static let serialNumber: UInt8 = 0x00
    public static let unitName: UInt8 = 0x01
    /// `0/0/0` for who is no base station.
    public static let unitIdentifier: UInt8 = 0x08

    public init(_ payload: [UInt8]) throws(MobileCoreError) {
        guard let type = payload.first else { throw MobileCoreError("IPA management: byte 0", "no message type") }
        let rest = payload.dropFirst()
        switch type {
        case 0x00: self = .ping
        case 0x01: self = .pong
        case 0x04: self = .identityRequest(try Self.requested(rest))
        case 0x05: self = .identity(try Self.properties(rest))
        case 0x06: self = .identityAcknowledge
        default: throw MobileCoreError("IPA management: byte 0", "message type \([type].hex) is unknown")
        }
    }

    /// Entries of a length of 8 bits, which counts the tag and what follows it, and the tag.
    private static func requested(_ bytes: ArraySlice<UInt8>) throws(MobileCoreError) -> [UInt8] {
        var (tags, rest): ([UInt8], ArraySlice<UInt8>) = ([], bytes)
        while let length = rest.first {
            guard length >= 1, rest.count > Int(length) else {
                throw MobileCoreError("IPA identity request: byte \(rest.startIndex)", "length \(length) does not fit")
            }
            tags.append(rest[rest.startIndex + 1])
            rest = rest.dropFirst(1 + Int(length))
        }
        return tags
    }

    /// Entries of a length of 16 bits, which counts the tag and the text, the tag, and the text with a zero behind it.
    private static func properties(_ bytes: ArraySlice<UInt8>) throws(MobileCoreError) -> [Property] {
        var (properties, rest): ([Property], ArraySlice<UInt8>) = ([], bytes)
        while !rest.isEmpty {
            let start = rest.startIndex
            let length = rest.count < 3 ? 0 : Int(rest[start]) << 8 | Int(rest[start + 1])
            guard length >= 1, rest.count >= 2 + length else {
                throw MobileCoreError("IPA identity: byte \(start)", "a length that does not fit")
            }
            let text = rest[(start + 3)..<(start + 2 + length)].prefix { $0 != 0 }
            properties.append(Property(tag: rest[start + 2], text: String(decoding: text, as: UTF8.self)))
            rest = rest.dropFirst(2 + length)
        }
        return properties
    }

    public var frame: IPAFrame {
        let payload: [UInt8] =
            switch self {
            case .ping: [0x00]
            case .pong: [0x01]
            case .identityRequest(let tags): [0x04] + tags.flatMap { [1, $0] }
            case .identity(let properties):
                [0x05]
                    + properties.flatMap { property -> [UInt8] in
                        let text = Array(property.text.utf8) + [0]
                        return UInt16(1 + text.count).bigEndianBytes + [property.tag] + text
                    }
            case .identityAcknowledge: [0x06]
            }
        return IPAFrame(.management, payload)
    }
}
