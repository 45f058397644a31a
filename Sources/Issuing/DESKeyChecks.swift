/// What a DES key from elsewhere is looked at for. Keys that a token makes need none of this.
enum DESKeyChecks {
    /// Gives every byte odd parity, as DES keys are kept (NIST SP 800-67 revision 2, 3.1). The parity bits take no part in
    /// encryption.
    /// - Returns: whether anything changed.
    @discardableResult
    static func setOddParity(_ key: inout [UInt8]) -> Bool {
        var changed = false
        for index in key.indices where key[index].nonzeroBitCount.isMultiple(of: 2) {
            key[index] ^= 1
            changed = true
        }
        return changed
    }

    /// Whether eight bytes of odd parity are one of the four weak or twelve semi-weak keys (NIST SP 800-67 revision 2,
    /// 3.3.2): encrypting twice, or under its partner, gives the plaintext back.
    static func isWeak(_ half: some Collection<UInt8>) -> Bool { weak.contains { $0.elementsEqual(half) } }

    /// Each is eight bytes that alternate: two of the first half, two of the second.
    private static let weak: [[UInt8]] = {
        /// `first` and `second` alternate in the left four bytes, their companions in the right four.
        func key(_ first: (UInt8, UInt8), _ second: (UInt8, UInt8)) -> [UInt8] {
            [first.0, second.0, first.0, second.0, first.1, second.1, first.1, second.1]
        }
        let bytes: [(UInt8, UInt8)] = [(0x01, 0x01), (0x1F, 0x0E), (0xE0, 0xF1), (0xFE, 0xFE)]
        return bytes.flatMap { first in bytes.map { key(first, $0) } }
    }()
}
