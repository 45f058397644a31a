import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1

/// What heads say that the framework's own types know no more: a request's version, whether its client goes on, and why it could
/// not be read.
///
/// Stands where requests have just been parsed, and answers are about to be written.
final class HeadRules: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private var refusal: APIError?

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(var head) = unwrapInboundIn(data), head.version != .http1_1 || !head.isKeepAlive else {
            context.fireChannelRead(data)
            return
        }
        // In whatever way it is spelled (RFC 9112, 9.3): the framework knows one.
        head.headers.replaceOrAdd(name: "connection", value: "close")
        if head.version != .http1_1 {
            // HTTP/1.0 has no interim answers (RFC 9110, 10.1.1), and need not say whom it is for (RFC 9112, 3.2).
            head.headers.remove(name: "expect")
            if !head.headers.contains(name: "host") { head.headers.add(name: "host", value: "localhost") }
        }
        context.fireChannelRead(wrapInboundOut(.head(head)))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? HTTPParserError { refusal = Self.refusal(error) }
        context.fireErrorCaught(error)
    }

    /// The framework's answer to what it could not read is 400 and nothing else; ours never lack a body.
    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard let refusal, case .head(var head) = unwrapOutboundIn(data), head.status == .badRequest,
            head.headers["content-length"] == ["0"], let body = try? refusal.json()
        else {
            context.write(data, promise: promise)
            return
        }
        head.status = HTTPResponseStatus(statusCode: refusal.status.code)
        head.headers.replaceOrAdd(name: "content-length", value: "\(body.count)")
        head.headers.add(name: "content-type", value: Response.json)
        context.write(wrapOutboundOut(.head(head)), promise: promise)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: body)))), promise: nil)
    }

    private static func refusal(_ error: HTTPParserError) -> APIError {
        switch error {
        case .headerOverflow:
            APIError(
                .requestHeaderFieldsTooLarge, .invalidRequest, "head_too_large",
                "The request's target or one of its fields is longer than \(HTTPService.Limits.field) bytes, or all are longer "
                    + "than \(HTTPService.Limits.head), or there are more than \(HTTPService.Limits.fields).")
        case .invalidVersion:
            APIError(.httpVersionNotSupported, .invalidRequest, "http_version_unsupported", "Send HTTP/1.1.")
        default:
            APIError(.badRequest, .invalidRequest, "http_invalid", "This is no request as RFC 9112 has it.")
        }
    }
}
