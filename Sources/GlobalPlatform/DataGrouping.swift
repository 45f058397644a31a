import ByteCoding

/// A data grouping of personalization: identifier (DGI), length, data (EMV Card Personalization Specification v1.1,
/// 2.2; GlobalPlatform Card Specification v2.3.1, 11.11.3.2).
public struct DataGrouping: Equatable, Sendable {
    /// DGI, two bytes.
    public let identifier: UInt16
    /// 0 to 65,535 bytes. For keys, the ciphertext.
    public let data: [UInt8]
    /// Whether ``data`` is encrypted under K-DEK. The card learns it from the block's P1, not from the grouping.
    public let isEncrypted: Bool

    /// - Throws: `.tooLong` over 65,535 bytes.
    public init(_ identifier: UInt16, _ data: [UInt8], isEncrypted: Bool = false) throws(GlobalPlatformError) {
        guard data.count <= 0xFFFF else {
            throw GlobalPlatformError(
                .tooLong, "DGI \(identifier.bigEndianBytes.hex): \(data.count) bytes, at most 65535 allowed")
        }
        self.identifier = identifier
        self.data = data
        self.isEncrypted = isEncrypted
    }

    /// DGI ‖ length ‖ data. The length is one byte up to 254, beyond that `FF` and two bytes.
    public var encoded: [UInt8] {
        let length =
            data.count < 0xFF ? [UInt8(data.count)] : [0xFF] + UInt16(truncatingIfNeeded: data.count).bigEndianBytes
        return identifier.bigEndianBytes + length + data
    }

    /// The groupings that stand one behind the other in `bytes`.
    /// - Throws: `.malformedData` with the offset when the bytes end inside one.
    public static func parse(
        _ bytes: some Collection<UInt8>, isEncrypted: Bool = false
    ) throws(GlobalPlatformError) -> [DataGrouping] {
        var rest = Array(bytes)[...]
        var groupings: [DataGrouping] = []
        while !rest.isEmpty {
            let offset = rest.startIndex
            let head = Array(rest.prefix(5))
            guard head.count >= 3, head[2] != 0xFF || head.count == 5 else {
                throw GlobalPlatformError(.malformedData, "data grouping at byte \(offset): ends inside its length")
            }
            let isLong = head[2] == 0xFF
            let length = isLong ? Int(head[3]) << 8 | Int(head[4]) : Int(head[2])
            rest = rest.dropFirst(isLong ? 5 : 3)
            guard length <= rest.count else {
                throw GlobalPlatformError(
                    .malformedData,
                    "DGI \(Array(head.prefix(2)).hex) at byte \(offset): length \(length) exceeds \(rest.count) left")
            }
            groupings.append(
                try DataGrouping(
                    UInt16(head[0]) << 8 | UInt16(head[1]), Array(rest.prefix(length)), isEncrypted: isEncrypted))
            rest = rest.dropFirst(length)
        }
        return groupings
    }
}
