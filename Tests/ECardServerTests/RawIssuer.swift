import ECardTesting
import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

@testable import ECardServer

/// An issuer with the right certificate that answers each request with the bytes that a test says, whatever they are.
final class RawIssuer: Sendable {
    let port: Int
    private let channel: any Channel

    /// - Parameter answer: for the first request, the second …; `nil` closes the connection without a word.
    init(_ parties: PartyTLS, answer: @escaping @Sendable (Int) -> (bytes: String, closes: Bool)?) async throws {
        let context = try NIOSSLContext(configuration: parties.server)
        let requests = Mutex(0)
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                    try channel.pipeline.syncOperations.addHandler(
                        Answers {
                            answer(
                                requests.withLock { count in
                                    count += 1
                                    return count
                                })
                        })
                }
            }.bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
    }

    func close() async throws { try await channel.close() }

    private final class Answers: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let next: () -> (bytes: String, closes: Bool)?

        init(_ next: @escaping () -> (bytes: String, closes: Bool)?) { self.next = next }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            // A head's end is a request; its body may come with it or later.
            guard String(buffer: unwrapInboundIn(data)).contains("\r\n\r\n") else { return }
            let answer = next()
            if let answer { context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer.bytes)), promise: nil) }
            if answer?.closes ?? true { context.close(promise: nil) }
        }
    }

    /// A whole answer.
    static func response(_ body: String, status: String = "200 OK") -> String {
        "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }
}
