import Foundation
import HTTPTypes
import Hummingbird
import KeyCustody
import Logging
import NIOCore
import PaymentPorts

/// One line a request: what was asked, by its template and not by its text, and what came of it. Neither query nor body nor
/// header is in it.
struct AccessLog: RouterMiddleware {
    /// Paths whose lines are for `debug`.
    let routine: Set<String>
    let logger: Logger

    func handle(
        _ request: Request, context: ServerContext, next: (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        guard logger.logLevel <= .info else { return try await next(request, context) }
        let begun = ContinuousClock.now
        let response = try await next(request, context)
        var facts: Logger.Metadata = [
            "method": "\(request.method.rawValue)", "route": "\(context.endpointPath ?? "none")",
            "status": "\(response.status.code)", "request": "\(context.request)",
            "milliseconds": "\(Int((ContinuousClock.now - begun) / .milliseconds(1)))",
        ]
        if let payment = Self.payment(request, response, context) { facts["payment"] = "\(payment)" }
        let isRoutine = context.endpointPath.map(routine.contains) ?? false
        logger.log(level: isRoutine ? .debug : .info, "request", metadata: facts)
        return response
    }

    /// The payment that the body, the path or the answer names, where it has a payment's form: anything else may be anything.
    private static func payment(_ request: Request, _ response: Response, _ context: ServerContext) -> Substring? {
        let place = response.headers[.location] ?? request.uri.path
        let named = context.payment.id.map { $0.rawValue[...] } ?? place.split(separator: "/").dropFirst(2).first
        guard let named, named.hasPrefix("pay_"), named.utf8.count == 20,
            named.utf8.dropFirst(4).allSatisfy({ (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) })
        else { return nil }
        return named
    }
}

/// Ends the connection behind an answer that says so (`Connection: close`), because its request did or by our own will, whatever
/// requests came behind it (RFC 9112, 9.6).
struct LastAnswer: RouterMiddleware {
    /// Keeps the framework from the requests that it has read already.
    private struct ConnectionEnded: Error {}

    func handle(
        _ request: Request, context: ServerContext, next: (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        var response = try await next(request, context)
        if request.headers[.connection] == "close" { response.headers[.connection] = "close" }
        guard response.headers[.connection] == "close" else { return response }
        let (body, channel) = (response.body, context.channel)
        response.body = ResponseBody(contentLength: body.contentLength) { writer in
            try await body.write(writer)
            channel.triggerUserOutboundEvent(ConnectionLimits.LastAnswerWritten(), promise: nil)
            try await channel.closeFuture.get()
            throw ConnectionEnded()
        }
        return response
    }
}

/// Reads the body before anybody looks at the request. A client that sends a byte a minute, or more than it may, loses its
/// connection.
struct WholeBody: RouterMiddleware {
    let limits: HTTPService.Limits
    /// `http` or `https`, which the framework leaves at `http`.
    let scheme: String

    func handle(
        _ request: Request, context: ServerContext, next: (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        let channel = context.channel
        let end = channel.eventLoop.scheduleTask(in: .seconds(limits.requestSeconds)) { channel.close(promise: nil) }
        if let declared = request.headers[.contentLength].flatMap({ Int($0) }), declared > limits.body {
            return try APIError.tooLarge(limits.body).response(from: request, context: context)
        }
        // RFC 9110, 10.1.1.
        if request.headers[.expect]?.lowercased() == "100-continue" {
            channel.triggerUserOutboundEvent(ConnectionLimits.BodyWanted(), promise: nil)
        }
        var head = request.head
        head.scheme = scheme
        var request = Request(head: head, body: request.body)
        do {
            _ = try await request.collectBody(upTo: limits.body)
        } catch is NIOTooManyBytesError {
            // What is left of it is read and thrown away until the time is over.
            return try APIError.tooLarge(limits.body).response(from: request, context: context)
        }
        end.cancel()
        return try await next(request, context)
    }
}

/// Every failure as a typed answer.
struct Refusals: RouterMiddleware {
    let routes: [Route]
    let logger: Logger

    func handle(
        _ request: Request, context: ServerContext, next: (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        do {
            try Self.requireHost(of: request)
            try Self.requirePlainBody(of: request)
            return try await next(request, context)
        } catch let error as APIError {
            return try error.response(from: request, context: context)
        } catch let error as HTTPError where error.status == .notFound {
            let allowed = routes.filter { $0.isAt(request.uri.path) }.map(\.method)
            let refusal =
                allowed.isEmpty
                ? APIError.notFound("There is nothing here. /openapi.yaml describes what there is.")
                : .wrongMethod(allowed)
            return try refusal.response(from: request, context: context)
        } catch let error as IssuerServiceError where error.kind != .refused {
            return try failure(.unavailable, error, request, context)
        } catch let error as StoreError where error.kind == .unavailable {
            return try failure(.unavailable, error, request, context)
        } catch let error as KeyStoreError {
            // The bank's HSM: what would have been sealed or signed by it was not written either.
            return try failure(.unavailable, error, request, context)
        } catch {
            return try failure(.ours("\(context.request)"), error, request, context)
        }
    }

    /// RFC 9112, 3.2: a request says whom it is for, once. A proxy in between may have read another of two.
    private static func requireHost(of request: Request) throws(APIError) {
        let others = HTTPField.Name("Host").map { request.headers[values: $0] } ?? []
        guard let host = request.head.authority, isHost(host.utf8), others.isEmpty else {
            throw APIError(
                .badRequest, .invalidRequest, "host_wrong",
                "One field Host is wanted: a name or address, and perhaps a port (RFC 9112, 3.2).",
                headers: [.connection: "close"])
        }
    }

    /// `uri-host [ ":" port ]` (RFC 9110, 7.2; RFC 3986, 3.2.2), with a name in it.
    private static func isHost(_ text: String.UTF8View) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF)
        }
        let rest: Substring.UTF8View
        if text.first == UInt8(ascii: "[") {
            guard let end = text.firstIndex(of: UInt8(ascii: "]")) else { return false }
            let address = text[..<end].dropFirst()
            guard !address.isEmpty, address.allSatisfy({ isAlphanumeric($0) || ":.%-_~".utf8.contains($0) }) else {
                return false
            }
            rest = text[end...].dropFirst()
        } else {
            let name = text.prefix { $0 != UInt8(ascii: ":") }
            guard !name.isEmpty, name.allSatisfy({ isAlphanumeric($0) || "-._~%!$&'()*+,;=".utf8.contains($0) }) else {
                return false
            }
            rest = text[name.endIndex...]
        }
        return rest.isEmpty
            || rest.first == UInt8(ascii: ":") && rest.dropFirst().allSatisfy { (0x30...0x39).contains($0) }
    }

    /// RFC 9112, 6.1, and RFC 9110, 8.4: of the codings that a body may come in, only `chunked` is undone here.
    private static func requirePlainBody(of request: Request) throws(APIError) {
        if let coding = request.headers[.transferEncoding], coding.lowercased() != "chunked" {
            throw APIError(
                .notImplemented, .invalidRequest, "transfer_encoding_unsupported",
                "Send the body with Content-Length, or with 'Transfer-Encoding: chunked' alone.",
                headers: [.connection: "close"])
        }
        if let coding = request.headers[.contentEncoding], coding.lowercased() != "identity" {
            throw APIError(
                .unsupportedMediaType, .invalidRequest, "content_encoding_unsupported",
                "Send the body as it is, without Content-Encoding.", headers: [.acceptEncoding: "identity"])
        }
    }

    private func failure(
        _ answer: APIError, _ error: any Error, _ request: Request, _ context: ServerContext
    ) throws -> Response {
        logger.error(
            "failed",
            metadata: [
                "route": "\(context.endpointPath ?? "none")", "request": "\(context.request)", "error": "\(error)",
            ])
        return try answer.response(from: request, context: context)
    }
}
