import NIOCore
import NIOHTTP1

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

    /// Told to the connection when the body of a request is wanted whose client asks first.
    struct BodyWanted: Sendable {}

    /// Bytes that are read at once: some ten requests that come together, and any that a merchant's program sends.
    static let readAtOnce = 2048

    private let patience: TimeAmount
    private var untaken: Scheduled<Void>?
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
        let pipeline = context.pipeline.syncOperations
        guard let decoder = try? pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self) else { return }
        try? pipeline.addHandler(
            HeadRules(), position: ChannelPipeline.SynchronousOperations.Position.after(decoder))
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        untaken?.cancel()
        untaken = nil
        if !context.channel.isWritable {
            let channel = context.channel
            untaken = context.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
        }
        context.fireChannelWritabilityChanged()
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        switch event {
        case is LastAnswerWritten: end(context)
        case is BodyWanted: askForBody(context)
        default: return context.triggerUserOutboundEvent(event, promise: promise)
        }
        promise?.succeed(())
    }

    /// Closes in two stages (RFC 9112, 9.6): what the client has on the way would otherwise cost it the answer. Nothing that comes
    /// from now on is a request.
    private func end(_ context: ChannelHandlerContext) {
        guard !isEnding else { return }
        isEnding = true
        let channel = context.channel
        lingering = context.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
        context.close(mode: .output, promise: nil)
        context.read()
    }

    /// An interim answer (RFC 9110, 15.2.1), from where the encoder stands: what goes through it is taken for the answer.
    private func askForBody(_ context: ChannelHandlerContext) {
        let pipeline = context.pipeline.syncOperations
        guard let encoder = try? pipeline.context(handlerType: HTTPResponseEncoder.self) else { return }
        let line = ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")
        encoder.writeAndFlush(NIOAny(IOData.byteBuffer(line)), promise: nil)
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
        untaken?.cancel()
        untaken = nil
        lingering?.cancel()
        lingering = nil
        context.fireChannelInactive()
    }
}
