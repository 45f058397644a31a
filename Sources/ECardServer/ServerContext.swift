import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import PaymentPorts
import Synchronization

/// What travels with a request: the framework's own part, and who is on the other end of the socket.
struct ServerContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel
    /// What the log calls this request.
    let request = RequestID()
    /// The payment that a body names, for the log.
    let payment = NotedPayment()
    /// The address of the socket's other end. No header is believed.
    var peer: SocketAddress? { channel.remoteAddress }

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}

/// The payment that a request turned out to be about.
final class NotedPayment: Sendable {
    private let noted = Mutex<PaymentID?>(nil)

    var id: PaymentID? {
        get { noted.withLock { $0 } }
        set { noted.withLock { $0 = newValue } }
    }
}

/// One operation of the server's: what is asked, and what answers.
public struct Route: Sendable {
    let method: HTTPRequest.Method
    /// As the OpenAPI description writes it: `/v1/payments/{id}`.
    let path: String
    /// Asked again and again by a program that waits: the log has it at `debug`.
    let isRoutine: Bool
    let answer: @Sendable (Request, ServerContext) async throws -> Response

    init(
        _ method: HTTPRequest.Method, _ path: String, isRoutine: Bool = false,
        _ answer: @escaping @Sendable (Request, ServerContext) async throws -> Response
    ) {
        self.method = method
        self.path = path
        self.isRoutine = isRoutine
        self.answer = answer
    }

    /// Whether `path` is one of this operation's.
    func isAt(_ path: String) -> Bool {
        let (mine, theirs) = (self.path.split(separator: "/"), path.split(separator: "/"))
        return mine.count == theirs.count && zip(mine, theirs).allSatisfy { $0 == $1 || $0.hasPrefix("{") }
    }

    /// `GET /v1/payments/{id}`
    public var name: String { "\(method.rawValue) \(path)" }
}

extension Request {
    /// The whole body, which ``WholeBody`` has read.
    func bytes() async throws -> [UInt8] { Array(buffer: try await body.collect(upTo: .max)) }

    /// The media type without its parameters, in lower case.
    var mediaType: String? {
        headers[.contentType]?.split(separator: ";").first.map {
            $0.trimmingCharacters(in: .whitespaces).lowercased()
        }
    }
}

extension Response {
    /// An answer whose bytes are there already.
    init(_ status: HTTPResponse.Status, _ contentType: String, _ body: some Sequence<UInt8>, headers: HTTPFields = [:])
    {
        let buffer = ByteBuffer(bytes: body)
        var fields = headers
        fields[.contentType] = contentType
        fields[.contentLength] = "\(buffer.readableBytes)"
        // Payments are nobody's to keep on the way.
        fields[.cacheControl] = "no-store"
        self.init(status: status, headers: fields, body: ResponseBody(byteBuffer: buffer))
    }

    static let json = "application/json"

    /// An answer in JSON whose bytes are always the same for the same value.
    init(_ status: HTTPResponse.Status, json value: some Encodable, headers: HTTPFields = [:]) throws {
        self.init(status, Response.json, try JSONBytes.of(value), headers: headers)
    }
}
