/// Takes an input apart into the choices of a structured target. Past the end everything is zero, so that every input
/// means something.
struct ByteReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var isEmpty: Bool { rest.isEmpty }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    /// A number below `limit`, 1 to 256.
    mutating func below(_ limit: Int) -> Int { Int(byte()) % limit }

    mutating func word() -> UInt16 { UInt16(byte()) << 8 | UInt16(byte()) }

    /// One byte of length, then as many bytes as there are of them.
    mutating func field() -> [UInt8] { take(Int(byte())) }

    /// The same with two bytes of length.
    mutating func longField() -> [UInt8] { take(Int(word())) }

    mutating func take(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func everything() -> [UInt8] { take(rest.count) }
}
