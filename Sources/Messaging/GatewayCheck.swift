import NIOCore
import NIOPosix
public import PaymentPorts

/// A gateway that can be asked whether it is there, without a message.
public protocol CheckableGateway: MessageDelivery {
    /// - Throws: ``DeliveryError`` (the outbox: ``OutboxError``) when it does not answer, or does not let us in as far as that shows without a message.
    func check() async throws
}

extension Outbox: CheckableGateway {
    /// - Throws: ``OutboxError`` for a folder that others can read or that cannot be used. One that is not there yet is made
    ///   with the first message.
    public func check() async throws {
        let folder = folder
        try await onQueue { try folder.check() }
    }
}

extension KannelSMS: CheckableGateway {
    public func check() async throws { try await http.connect() }
}

extension AfricasTalkingSMS: CheckableGateway {
    public func check() async throws { try await http.connect() }
}

extension SMTP: CheckableGateway {}

extension GatewayHTTP {
    /// Connects and says nothing: whether messages are taken shows with the first one alone.
    func connect() async throws {
        let (host, port) = Self.place(of: url)
        do {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(10)).connect(host: host, port: port).get()
            try await channel.close()
        } catch {
            throw DeliveryError(
                .unreachable, place: "\(name): connection", reason: "\(error)", advice: "Check that \(url) answers.")
        }
    }

    /// Host and port of an address that ``init(name:url:timeLimit:)`` has taken.
    static func place(of url: String) -> (host: String, port: Int) {
        let isSecure = url.hasPrefix("https://")
        let authority = url.dropFirst(isSecure ? 8 : 7).prefix { !"/?#".contains($0) }
        let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
        let hasPort = parts.count > 1 && !authority.hasSuffix("]")
        let port = hasPort ? parts.last.flatMap { Int($0) } : nil
        let host = hasPort ? authority.dropLast((parts.last?.count ?? 0) + 1) : authority
        return (host.filter { !"[]".contains($0) }, port ?? (isSecure ? 443 : 80))
    }
}
