public import ByteCoding

/// Card recognition data, tag 66: what a card says of itself before anybody authenticates (GlobalPlatform Card
/// Specification v2.3.1, H.2).
public struct CardRecognitionData: Equatable, Sendable {
    /// One secure channel protocol: `03` with its "i" parameter. Both stand in the object identifier as plain bytes, not
    /// as arcs: `80` is SCP80.
    public struct SecureChannel: Equatable, Sendable {
        public let scp: UInt8
        public let options: UInt8
    }

    /// GlobalPlatform version, `2.3.1`.
    public let version: String?
    public let secureChannels: [SecureChannel]
    /// All of it, parsed.
    public let objects: [BERTLV]

    /// Reads the answer to GET DATA 0066.
    /// - Throws: `.malformedAnswer` when it is not the template 66 { 73 { … } }.
    public init(_ bytes: [UInt8]) throws(GlobalPlatformError) {
        objects = try parseTemplates(bytes, of: "GET DATA 0066")
        guard let template = objects.first(0x66)?.children.first(0x73) else {
            throw GlobalPlatformError(.malformedAnswer, "GET DATA 0066: no template 66 with a 73 inside")
        }
        let identifiers = template.children.filter(\.tag.isConstructed).compactMap { object in
            object.children.first(0x06).flatMap { Self.globalPlatformArcs($0.value) }
        }
        version = identifiers.first { $0.first == 2 }.map { $0.dropFirst().map { String($0) }.joined(separator: ".") }
        secureChannels = identifiers.filter { $0.first == 4 && $0.count == 3 }.map {
            SecureChannel(scp: $0[1], options: $0[2])
        }
    }

    /// What follows 1.2.840.114283, the arc of GlobalPlatform; `nil` for another identifier.
    private static func globalPlatformArcs(_ identifier: [UInt8]) -> [UInt8]? {
        let prefix: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xFC, 0x6B]
        return identifier.starts(with: prefix) ? Array(identifier.dropFirst(prefix.count)) : nil
    }
}

/// One key of a security domain, from the key information template (GlobalPlatform Card Specification v2.3.1,
/// 11.3.3.1).
public struct KeyInformation: Hashable, Sendable {
    /// One part of a key. Symmetric keys have one.
    public struct Component: Hashable, Sendable {
        /// `88` AES, `80` DES, others as in table 11-16.
        public let type: UInt8
        /// Bytes.
        public let length: Int
    }

    /// 1 ENC, 2 MAC, 3 DEK in a key set of a secure channel.
    public let identifier: UInt8
    /// KVN.
    public let version: UInt8
    /// Empty for a key in the extended format (type `FF`), which no key of SCP03 needs.
    public let components: [Component]

    /// Reads the answer to GET DATA 00E0.
    /// - Throws: `.malformedAnswer` when it is not the template E0 with C0 objects of an even length.
    public static func parse(_ bytes: [UInt8]) throws(GlobalPlatformError) -> [KeyInformation] {
        let objects = try parseTemplates(bytes, of: "GET DATA 00E0")
        guard let template = objects.first, template.tag == 0xE0 else {
            throw GlobalPlatformError(.malformedAnswer, "GET DATA 00E0: no template E0")
        }
        var keys: [KeyInformation] = []
        for object in template.children where object.tag == 0xC0 {
            let value = object.value
            let isExtended = value.count > 2 && value[2] == 0xFF
            guard isExtended || (value.count >= 4 && value.count % 2 == 0) else {
                throw GlobalPlatformError(.malformedAnswer, "GET DATA 00E0: tag C0 of \(value.count) bytes")
            }
            let components = stride(from: 2, to: isExtended ? 2 : value.count, by: 2).map {
                Component(type: value[$0], length: Int(value[$0 + 1]))
            }
            keys.append(KeyInformation(identifier: value[0], version: value[1], components: components))
        }
        return keys
    }
}

/// Card production life cycle data, tag 9F7F: who made and handled the chip, 42 bytes.
public struct CPLC: Hashable, Sendable {
    /// One field, as it stands in the card.
    public struct Field: Hashable, Sendable {
        public let name: String
        public let value: [UInt8]
    }

    /// In the order of the card.
    public let fields: [Field]

    private static let layout = [
        ("IC fabricator", 2), ("IC type", 2), ("operating system identifier", 2), ("operating system release date", 2),
        ("operating system release level", 2), ("IC fabrication date", 2), ("IC serial number", 4),
        ("IC batch identifier", 2), ("IC module fabricator", 2), ("IC module packaging date", 2),
        ("ICC manufacturer", 2), ("IC embedding date", 2), ("IC pre-personalizer", 2),
        ("IC pre-personalization date", 2), ("IC pre-personalization equipment", 4), ("IC personalizer", 2),
        ("IC personalization date", 2), ("IC personalization equipment", 4),
    ]

    /// Reads the answer to GET DATA 9F7F, with or without its tag: cards do both.
    /// - Throws: `.malformedAnswer` when it is not 42 bytes.
    public init(_ bytes: [UInt8]) throws(GlobalPlatformError) {
        let value = bytes.starts(with: [0x9F, 0x7F, 42]) ? Array(bytes.dropFirst(3)) : bytes
        guard value.count == 42 else {
            throw GlobalPlatformError(.malformedAnswer, "GET DATA 9F7F: \(value.count) bytes, 42 wanted")
        }
        var rest = value[...]
        fields = Self.layout.map { name, length in
            defer { rest = rest.dropFirst(length) }
            return Field(name: name, value: Array(rest.prefix(length)))
        }
    }
}

/// TLV of an answer; what breaks in it is the answer's fault.
func parseTemplates(_ bytes: [UInt8], of command: String) throws(GlobalPlatformError) -> [BERTLV] {
    do {
        return try BERTLV.parse(bytes)
    } catch {
        throw GlobalPlatformError(.malformedAnswer, "\(command): \(error)")
    }
}
