import Foundation
import NIOCore
import NIOPosix

/// Where a webhook may go: an `https` URL whose every address is public. Merchants choose these URLs, and nobody reaches by
/// them what only this machine or its network should.
public struct WebhookTarget: Sendable {
    public let url: String
    let host: String
    let port: Int
    private let allowsPrivate: Bool

    /// - Parameter allowsPrivate: also `http`, and addresses that are not public: for tests and for merchants in one's own
    ///   network.
    /// - Throws: ``ServerError``
    public init(_ url: String, allowsPrivate: Bool) throws {
        guard url.utf8.count <= 2048, url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
            let parts = URLComponents(string: url), let host = parts.percentEncodedHost, !host.isEmpty,
            let scheme = parts.scheme
        else { throw ServerError("the webhook's URL is none: https://host/path wanted, at most 2048 characters") }
        guard scheme == "https" || (allowsPrivate && scheme == "http") else {
            throw ServerError("webhooks are sent by https alone")
        }
        guard parts.user == nil, parts.password == nil, parts.fragment == nil else {
            throw ServerError("the webhook's URL must have no user, password or fragment")
        }
        self.url = url
        self.host = NetworkAddress.text(ofURLHost: host)
        port = parts.port ?? (scheme == "https" ? 443 : 80)
        self.allowsPrivate = allowsPrivate
        if let literal = try? SocketAddress(ipAddress: self.host, port: 0) {
            try require([literal])
        } else if !self.host.utf8.allSatisfy(Self.isNameCharacter) {
            // Anything else two readers of URLs may read differently.
            throw ServerError("the webhook's host may have letters, digits, '-' and '.'")
        }
    }

    private static func isNameCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    /// The address to connect to. It is looked up now and used as it is, so that no second lookup can give another.
    /// - Throws: ``ServerError`` when the name has no address, or has one that is not public.
    func address() async throws -> String {
        let (host, port) = (host, port)
        let addresses = try await NIOThreadPool.singleton.runIfActive { try Self.resolve(host, port) }
        try require(addresses)
        guard let address = addresses.first?.ipAddress else {
            throw ServerError("the webhook's host has no address")
        }
        return address
    }

    private func require(_ addresses: [SocketAddress]) throws {
        guard !allowsPrivate, !addresses.allSatisfy({ NetworkAddress($0).isPublic }) else { return }
        throw ServerError(
            "the webhook's host has an address that is not public",
            advice: "'ecard serve --allow-private-webhooks' sends to such addresses, too")
    }

    private static func resolve(_ host: String, _ port: Int) throws -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &found) == 0 else {
            throw ServerError("the webhook's host is not found")
        }
        defer { freeaddrinfo(found) }
        return sequence(first: found, next: { $0?.pointee.ai_next }).compactMap { entry in
            guard let entry = entry?.pointee, let address = entry.ai_addr else { return nil }
            switch entry.ai_family {
            case AF_INET:
                return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { SocketAddress($0.pointee) }
            case AF_INET6:
                return address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { SocketAddress($0.pointee) }
            default: return nil
            }
        }
    }
}
