import Foundation
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// A TCP server that does what a test says, however wrong: it answers, breaks off in the middle, sends garbage, or says
/// nothing. Nobody else is given its port of loopback, also when it has closed.
public final class ScriptedServer: Sendable {
    public enum Reaction: Sendable {
        /// Waits for more.
        case wait
        /// Sends this and waits for more.
        case send([UInt8])
        /// Sends this and ends the connection.
        case end([UInt8])
    }

    /// What each connection has said so far, in the order in which they came.
    public var received: [[UInt8]] { log.withLock { $0 } }
    public var port: Int { bound.port }

    private let bound: BoundSocket
    private let channel: any Channel
    private let log: ReceivedLog

    /// - Parameters:
    ///   - greeting: what a connection begins with.
    ///   - react: given all that a connection has said since the last reaction that was not `.wait`.
    public init(
        greeting: Reaction = .wait, react: @escaping @Sendable (_ said: [UInt8]) -> Reaction = { _ in .wait }
    ) async throws {
        let log = ReceivedLog()
        let bound = try BoundSocket()
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ScriptedConnection(greeting: greeting, react: react, log: log))
                }
            }
            .withBoundSocket(bound.descriptor).get()
        self.log = log
        self.bound = bound
    }

    /// Takes no further connections.
    public func close() async throws {
        // The socket itself: a child between its fork and its program still has a descriptor for it. The channel may notice,
        // and close by itself.
        shutdown(bound.descriptor, CInt(SHUT_RDWR))
        do { try await channel.close() } catch ChannelError.alreadyClosed {}
    }

    /// A whole HTTP request has been said (RFC 9112): head, empty line, and as much as Content-Length tells.
    public static func isWholeRequest(_ said: [UInt8]) -> Bool {
        let text = String(decoding: said, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n") else { return false }
        let length = text[..<end.lowerBound].split(separator: "\r\n").lazy.compactMap { line -> Int? in
            let field = line.split(separator: ":", maxSplits: 1)
            guard field.count == 2, field[0].lowercased() == "content-length" else { return nil }
            return Int(field[1].drop { $0 == " " })
        }.first
        return text[end.upperBound...].utf8.count >= length ?? 0
    }

    /// Answers every whole request with `status` and `body`.
    public static func http(_ status: Int, _ body: String) -> @Sendable ([UInt8]) -> Reaction {
        { said in
            guard isWholeRequest(said) else { return .wait }
            return .end(
                Array(
                    "HTTP/1.1 \(status) X\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)"
                        .utf8))
        }
    }
}

/// Shared by the connections and the test.
private final class ReceivedLog: Sendable {
    private let connections = Mutex<[[UInt8]]>([])

    func withLock<Value: Sendable>(_ body: (inout sending [[UInt8]]) -> sending Value) -> Value {
        connections.withLock(body)
    }
}

private final class ScriptedConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let greeting: ScriptedServer.Reaction
    private let react: @Sendable ([UInt8]) -> ScriptedServer.Reaction
    private let log: ReceivedLog
    private var number = 0
    private var said: [UInt8] = []

    init(
        greeting: ScriptedServer.Reaction, react: @escaping @Sendable ([UInt8]) -> ScriptedServer.Reaction,
        log: ReceivedLog
    ) {
        self.greeting = greeting
        self.react = react
        self.log = log
    }

    func channelActive(context: ChannelHandlerContext) {
        number = log.withLock { connections in
            connections.append([])
            return connections.count - 1
        }
        perform(greeting, context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Array(unwrapInboundIn(data).readableBytesView)
        log.withLock { [number] in $0[number] += bytes }
        said += bytes
        perform(react(said), context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func perform(_ reaction: ScriptedServer.Reaction, _ context: ChannelHandlerContext) {
        switch reaction {
        case .wait: break
        case .send(let bytes):
            said = []
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
        case .end(let bytes):
            said = []
            let channel = context.channel
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes))).whenComplete { _ in
                channel.close(promise: nil)
            }
        }
    }
}
