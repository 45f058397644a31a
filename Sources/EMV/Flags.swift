import ByteCoding

/// A data element whose bits have names: bytes on the wire, a set in Swift.
///
/// The raw value is the element's bytes read as one big-endian number, so no bit is ever lost; ``bit(_:_:)`` counts
/// as the books do: byte 1 is the leftmost, bit 8 the highest.
public protocol DataElementFlags: OptionSet, Hashable, Sendable, CustomStringConvertible
where RawValue: FixedWidthInteger & UnsignedInteger {
    /// How many bytes the element has.
    static var byteCount: Int { get }
    /// The named bits with their text, in the order of the book.
    static var names: [(Self, String)] { get }
}

extension DataElementFlags {
    /// The flag at `byte` (1 is leftmost) and `bit` (8 is highest).
    static func bit(_ byte: Int, _ bit: Int) -> Self {
        Self(rawValue: 1 << RawValue((byteCount - byte) * 8 + bit - 1))
    }

    /// - Returns: `nil` when the number of bytes is not ``byteCount``.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount, let value = RawValue(bigEndian: bytes) else { return nil }
        self.init(rawValue: value)
    }

    /// The element's bytes.
    public var bytes: [UInt8] { Array(rawValue.bigEndianBytes.suffix(Self.byteCount)) }

    /// The names of the bits that are set; a bit without a name by its place, `byte 2 bit 3`.
    public var meanings: [String] { flagMeanings(among: Self(rawValue: .max)) }

    /// The same of some of the bits, where others are numbers.
    func flagMeanings(among flags: Self) -> [String] {
        (0..<Self.byteCount * 8).compactMap { index -> String? in
            let byte = index / 8 + 1
            let bit = 8 - index % 8
            let flag = Self.bit(byte, bit)
            guard !intersection(flags).isDisjoint(with: flag) else { return nil }
            return Self.names.first { $0.0 == flag }?.1 ?? "byte \(byte) bit \(bit)"
        }
    }

    public var description: String {
        let all = meanings
        return bytes.hex + (all.isEmpty ? "" : " (\(all.joined(separator: ", ")))")
    }
}
