import NIOCore
import NIOPosix
import OOPA

/// A connection to a home location register, in frames.
enum RegisterConnection {
    typealias Inbound = NIOAsyncChannelInboundStream<IPAFrame>
    typealias Outbound = NIOAsyncChannelOutboundWriter<ByteBuffer>

    private static let connectLimit = TimeAmount.seconds(10)

    /// Connects, runs `body`, and ends the connection with it.
    static func with<Value: Sendable>(
        host: String, port: Int, _ body: @escaping @Sendable (Inbound, Outbound) async throws -> Value
    ) async throws -> Value {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(connectLimit)
            .connect(host: host, port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(IPAFrameDecoder()))
                    return try NIOAsyncChannel<IPAFrame, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in try await body(inbound, outbound) }
    }
}

private struct IPAFrameDecoder: ByteToMessageDecoder {
    typealias InboundOut = IPAFrame

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let (frame, length) = try IPAFrame.first(in: buffer.readableBytesView) else { return .needMoreData }
        buffer.moveReaderIndex(forwardBy: length)
        context.fireChannelRead(wrapInboundOut(frame))
        return .continue
    }

    mutating func decodeLast(
        context: ChannelHandlerContext, buffer: inout ByteBuffer, seenEOF: Bool
    ) throws -> DecodingState { try decode(context: context, buffer: &buffer) }
}

extension RegisterConnection.Outbound {
    func send(_ frame: IPAFrame) async throws { try await write(ByteBuffer(bytes: frame.encoded)) }
}
