import NIOCore

/// What one connection may take of the server's memory, how long it may leave its answers untaken, and how it ends behind an answer
/// that says so.
///
/// The framework parses everything that one read brings before the first request of it is answered, at some kilobytes a request,
/// and its idle time does not run while an answer waits to be taken.
final class ConnectionLimits: ChannelDuplexHandler, RemovableChannelHandler {
    /// What is read and written passes by.
    typealias InboundIn = Never
    typealias OutboundIn = Never

    /// Told to the connection behind the last answer that it gives.
    struct LastAnswerWritten: Sendable {}

    /// Bytes that are read at once: some ten requests that come together, and any that a merchant's program sends.
    static let readAtOnce = 2048

    private let patience: TimeAmount
    private var end: Scheduled<Void>?
    private var isEnding = false
    private var lingering: Scheduled<Void>?

    /// - Parameter seconds: for which a client may take nothing of what waits for it, or go on sending behind the last answer.
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

    /// Closed in two stages (RFC 9112, 9.6): what the client has on the way would otherwise cost it the answer. Nothing that comes
    /// from now on is a request.
    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is LastAnswerWritten else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        promise?.succeed(())
        guard !isEnding else { return }
        isEnding = true
        let channel = context.channel
        lingering = context.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
        context.close(mode: .output, promise: nil)
        context.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if !isEnding { context.fireChannelRead(data) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        // Nobody behind us asks for more, since nobody gets any.
        if isEnding { context.read() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end?.cancel()
        end = nil
        lingering?.cancel()
        lingering = nil
        context.fireChannelInactive()
    }
}
