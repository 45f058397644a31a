import Foundation
import NIOCore

/// An IP address, and what kind of place it leads to.
struct NetworkAddress: Hashable, Sendable {
    /// 4 or 16 bytes, network order. An IPv4 address inside an IPv6 one is the IPv4 address.
    let bytes: [UInt8]

    /// - Precondition: none; an address that is no IP address has no bytes, and is not public.
    init(_ address: SocketAddress) {
        switch address {
        case .v4(let address):
            bytes = withUnsafeBytes(of: address.address.sin_addr.s_addr) { Array($0) }
        case .v6(let address):
            let all = withUnsafeBytes(of: address.address.sin6_addr) { Array($0) }
            bytes = NetworkAddress.embedded(all) ?? all
        case .unixDomainSocket:
            bytes = []
        }
    }

    /// The IPv4 address that an IPv6 address stands for: mapped (RFC 4291, 2.5.5.2), compatible (2.5.5.1), translated
    /// (64:ff9b::/96, RFC 6052) or 6to4 (2002::/16, RFC 3056).
    private static func embedded(_ all: [UInt8]) -> [UInt8]? {
        let zeros = all.prefix(10).allSatisfy { $0 == 0 }
        if zeros, all[10] == 0xFF, all[11] == 0xFF { return Array(all.suffix(4)) }
        if zeros, all[10] == 0, all[11] == 0, all.suffix(4) != [0, 0, 0, 0], all.suffix(4) != [0, 0, 0, 1] {
            return Array(all.suffix(4))
        }
        if all.starts(with: [0x00, 0x64, 0xFF, 0x9B]), all[4..<12].allSatisfy({ $0 == 0 }) {
            return Array(all.suffix(4))
        }
        if all.starts(with: [0x20, 0x02]) { return Array(all[2..<6]) }
        return nil
    }

    var isLoopback: Bool {
        bytes.count == 4 ? bytes[0] == 127 : bytes == Array(repeating: 0, count: 15) + [1]
    }

    /// Whether it may be anybody's on the Internet: none of the blocks that the registries of special-purpose addresses
    /// (RFC 6890 and IANA's lists) keep from being global, multicast, or a cloud's metadata service (169.254.169.254 and
    /// fd00:ec2::254 are in them).
    var isPublic: Bool {
        if bytes.count == 4 { return !Self.special4.contains { Self.matches(bytes, $0) } }
        // 2000::/3 is what is given out; within it are the exceptions.
        guard bytes.count == 16, bytes[0] & 0xE0 == 0x20 else { return false }
        return !Self.special6.contains { Self.matches(bytes, $0) }
    }

    private typealias Block = (prefix: [UInt8], bits: Int)

    private static func matches(_ bytes: [UInt8], _ block: Block) -> Bool {
        for bit in 0..<block.bits {
            let mask = UInt8(0x80) >> (bit % 8)
            let wanted = bit / 8 < block.prefix.count ? block.prefix[bit / 8] : 0
            if bytes[bit / 8] & mask != wanted & mask { return false }
        }
        return true
    }

    private static let special4: [Block] = [
        ([0], 8),  // this network
        ([10], 8), ([172, 16], 12), ([192, 168], 16),  // private, RFC 1918
        ([100, 64], 10),  // carriers' shared space, RFC 6598
        ([127], 8),  // loopback
        ([169, 254], 16),  // link-local, and clouds' metadata
        ([192, 0, 0], 24), ([192, 0, 2], 24), ([198, 51, 100], 24), ([203, 0, 113], 24),  // protocols, documentation
        ([192, 88, 99], 24),  // 6to4 relays
        ([198, 18], 15),  // measurements, RFC 2544
        ([224], 4), ([240], 4),  // multicast; reserved, and broadcast
    ]

    private static let special6: [Block] = [
        ([0x20, 0x01], 23),  // protocols, Teredo among them
        ([0x20, 0x01, 0x0D, 0xB8], 32), ([0x3F, 0xFF], 20),  // documentation
    ]
}

extension NetworkAddress {
    /// A host of a URL without the brackets that an IPv6 address has there (RFC 3986, 3.2.2).
    static func text(ofURLHost host: String) -> String {
        host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
    }
}
