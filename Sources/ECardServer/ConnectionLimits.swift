import NIOCore

/// What one connection may take of the server's memory, and how long it may leave its answers untaken.
///
/// The framework parses everything that one read brings before the first request of it is answered, at some kilobytes a request,
/// and its idle time does not run while an answer waits to be taken.
final class ConnectionLimits: ChannelInboundHandler, RemovableChannelHandler {
    /// What is read passes by.
    typealias InboundIn = Never

    /// Bytes that are read at once: some ten requests that come together, and any that a merchant's program sends.
    static let readAtOnce = 2048

    private let patience: TimeAmount
    private var end: Scheduled<Void>?

    /// - Parameter seconds: for which a client may take nothing of what waits for it.
    init(untakenSeconds seconds: Int64) { patience = .seconds(seconds) }

    func handlerAdded(context: ChannelHandlerContext) {
        guard let options = context.channel.syncOptions else { return }
        do {
            try options.setOption(
                .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.readAtOnce))
            try options.setOption(.maxMessagesPerRead, value: 1)
        } catch {
            // A channel that is closed already.
            context.close(promise: nil)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        end?.cancel()
        end = nil
        if !context.channel.isWritable {
            let channel = context.channel
            end = context.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
        }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end?.cancel()
        end = nil
        context.fireChannelInactive()
    }
}
