/// Bytes as hexadecimal text and back.
extension Array where Element == UInt8 {
    /// Upper-case hexadecimal without separators. For key or card material use it only where printing is intended.
    public var hex: String {
        let digits: StaticString = "0123456789ABCDEF"
        return String(unsafeUninitializedCapacity: count * 2) { buffer in
            var index = 0
            for byte in self {
                buffer[index] = digits.utf8Start[Int(byte >> 4)]
                buffer[index + 1] = digits.utf8Start[Int(byte & 0x0F)]
                index += 2
            }
            return index
        }
    }

    /// Bytes from hexadecimal text. White space, `:` and `-` between bytes are skipped; case does not matter.
    /// - Returns: `nil` when a character is no hexadecimal digit or the number of digits is odd.
    public init?(hex text: some StringProtocol) { self.init(hexDigits: text.utf8) }

    /// The same from ASCII characters, for key material, of which text would leave a copy that nobody wipes.
    public init?(hexDigits characters: some Collection<UInt8>) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(characters.count / 2)
        var high: UInt8?
        for character in characters {
            let nibble: UInt8
            switch character {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = character - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = character - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): nibble = character - UInt8(ascii: "A") + 10
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: ":"),
                UInt8(ascii: "-"):
                if high != nil { return nil }
                continue
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | nibble)
                high = nil
            } else {
                high = nibble
            }
        }
        guard high == nil else { return nil }
        self = bytes
    }

    /// `self ⊕ other`, byte by byte over the shorter of the two.
    @inlinable
    public func xor(_ other: [UInt8]) -> [UInt8] {
        zip(self, other).map { $0 ^ $1 }
    }

    /// Appends `field` behind its length as 4 bytes, big-endian: fields one behind the other that can be read in one way only.
    @inlinable
    public mutating func append(field: some Collection<UInt8>) {
        Swift.withUnsafeBytes(of: UInt32(field.count).bigEndian) { self += $0 }
        self += field
    }
}

/// An unsigned big-endian number in the fewest bytes asked for.
extension FixedWidthInteger where Self: UnsignedInteger {
    /// The bytes of this number, most significant first.
    @inlinable
    public var bigEndianBytes: [UInt8] {
        withUnsafeBytes(of: bigEndian) { Array($0) }
    }

    /// The number that `bytes` spell, most significant first.
    /// - Returns: `nil` when there are more bytes than the type holds.
    @inlinable
    public init?(bigEndian bytes: some Collection<UInt8>) {
        guard bytes.count <= Self.bitWidth / 8 else { return nil }
        self = bytes.reduce(0) { $0 << 8 | Self($1) }
    }
}
