public import SmartCard

/// One STORE DATA command (GlobalPlatform Card Specification v2.3.1, 11.11).
public struct StoreDataBlock: Equatable, Sendable {
    /// One or more data groupings, or a piece of one that is longer than a block.
    public let data: [UInt8]
    /// P1 bits 7 and 6: the data of every grouping is encrypted under K-DEK.
    public let isEncrypted: Bool
    /// P1 bit 8.
    public let isLast: Bool
    /// P2, from 0.
    public let number: UInt8

    public var command: CommandAPDU {
        CommandAPDU(0x80, 0xE2, (isLast ? 0x80 : 0) | (isEncrypted ? 0x60 : 0), number, data, le: 256)
    }

    /// Fills blocks with groupings, in order. Plain and encrypted groupings never share a block, and one is divided
    /// only when it is longer than a whole block; its pieces then have blocks to themselves.
    /// - Parameter limit: the most bytes that one command takes, 1 to 65,535: 255, or less in a secure channel.
    /// - Throws: `.malformedData` when there is nothing to store, `.tooLong` when 256 blocks do not hold it.
    public static func blocks(
        of groupings: [DataGrouping], limit: Int
    ) throws(GlobalPlatformError) -> [StoreDataBlock] {
        guard !groupings.isEmpty, (1...0xFFFF).contains(limit) else {
            throw GlobalPlatformError(
                .malformedData, "STORE DATA of \(groupings.count) groupings, \(limit) bytes a block")
        }
        var filled: [(data: [UInt8], isEncrypted: Bool)] = []
        var roomLeft = 0
        for grouping in groupings {
            var rest = grouping.encoded[...]
            if rest.count <= roomLeft, let last = filled.last, last.isEncrypted == grouping.isEncrypted {
                filled[filled.count - 1].data += rest
                roomLeft -= rest.count
                continue
            }
            roomLeft = rest.count <= limit ? limit - rest.count : 0
            while !rest.isEmpty {
                filled.append((Array(rest.prefix(limit)), grouping.isEncrypted))
                rest = rest.dropFirst(limit)
            }
        }
        guard filled.count <= 256 else {
            throw GlobalPlatformError(
                .tooLong, "STORE DATA in \(filled.count) blocks, P2 counts to 256", advice: "Use extended length.")
        }
        return filled.enumerated().map { index, block in
            StoreDataBlock(
                data: block.data, isEncrypted: block.isEncrypted, isLast: index == filled.count - 1,
                number: UInt8(truncatingIfNeeded: index))
        }
    }
}
