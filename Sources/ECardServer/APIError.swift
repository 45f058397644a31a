import Foundation
import HTTPTypes
import Hummingbird

/// What a client is told when its request was not done: `{"error": {"type": …, "code": …, "message": …, "param": …}}`.
///
/// No text of it repeats a value that the request carried.
struct APIError: Error, Sendable {
    /// Who has to do something about it.
    enum Kind: String, Sendable, Encodable {
        /// The request is to be changed.
        case invalidRequest = "invalid_request_error"
        /// The key is unknown, has ended, or may not do this.
        case authentication = "authentication_error"
        /// An `Idempotency-Key` was used twice for different things.
        case idempotency = "idempotency_error"
        /// Ours: the same request may be sent again.
        case api = "api_error"
    }

    let status: HTTPResponse.Status
    let kind: Kind
    /// For programs: `parameter_missing`.
    let code: String
    /// For people.
    let message: String
    /// The member of the request that it is about: `card.number`.
    var param: String?
    var headers: HTTPFields = [:]

    init(
        _ status: HTTPResponse.Status, _ kind: Kind, _ code: String, _ message: String, param: String? = nil,
        headers: HTTPFields = [:]
    ) {
        self.status = status
        self.kind = kind
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers
    }
}

extension APIError: HTTPResponseError {
    private struct Body: Encodable {
        struct Content: Encodable {
            let type: Kind
            let code: String
            let message: String
            let param: String?
        }
        let error: Content
    }

    func json() throws -> [UInt8] {
        try JSONBytes.of(Body(error: .init(type: kind, code: code, message: message, param: param)))
    }

    func response(from request: Request, context: some RequestContext) throws -> Response {
        Response(status, Response.json, try json(), headers: headers)
    }
}

extension APIError {
    static func missing(_ param: String) -> APIError {
        APIError(.badRequest, .invalidRequest, "parameter_missing", "\(param) is missing.", param: param)
    }

    static func invalid(_ param: String, _ message: String) -> APIError {
        APIError(.badRequest, .invalidRequest, "parameter_invalid", "\(param): \(message)", param: param)
    }

    static func unknown(_ param: String) -> APIError {
        APIError(
            .badRequest, .invalidRequest, "parameter_unknown", "This request has no parameter of that name.",
            param: param)
    }

    /// The holder's code is asked of the holder alone, on the telephone.
    static func securityCode(_ param: String) -> APIError {
        APIError(
            .badRequest, .invalidRequest, "security_code_refused",
            "This scheme has no CVV: leave the field out, and never ask your customers for it. The bank asks the holder "
                + "for a secret code on the telephone.", param: param)
    }

    static let nonceMissing = APIError(
        .badRequest, .invalidRequest, "nonce_missing",
        "nonce is missing: 128 random bits or more, new for each payment. What you sign is kept and shown to others with the "
            + "body's SHA-256, from which the card's number could be found by trying if nothing in the body were unknown.",
        param: "nonce")

    static func notFound(_ what: String, param: String? = nil) -> APIError {
        APIError(.notFound, .invalidRequest, "resource_missing", what, param: param)
    }

    static func tooLarge(_ limit: Int) -> APIError {
        APIError(
            .contentTooLarge, .invalidRequest, "body_too_large", "The body has more than \(limit) bytes.",
            headers: [.connection: "close"])
    }

    static func wrongMediaType(_ wanted: String) -> APIError {
        APIError(
            .unsupportedMediaType, .invalidRequest, "content_type_unsupported", "Send the body as \(wanted).")
    }

    /// What answers GET answers HEAD, too (RFC 9110, 9.1).
    static func wrongMethod(_ allowed: [HTTPRequest.Method]) -> APIError {
        let all = allowed + (allowed.contains(.get) ? [.head] : [])
        let names = all.map(\.rawValue).sorted().joined(separator: ", ")
        return APIError(
            .methodNotAllowed, .invalidRequest, "method_not_allowed", "What is answered here: \(names).",
            headers: [.allow: names])
    }

    static let wrongKey = APIError(
        .unauthorized, .authentication, "api_key_invalid",
        "Send a key of yours as 'Authorization: Bearer sk_…'. This one is missing, unknown or ended.",
        headers: [.wwwAuthenticate: "Bearer realm=\"ecard\""])

    static let notVerified = APIError(
        .forbidden, .authentication, "merchant_not_verified",
        "Your identity is not verified yet: use a key that begins with sk_test_.")

    /// What a failure of ours, or of what stands behind us, looks like from outside.
    static func ours(_ request: String) -> APIError {
        APIError(
            .internalServerError, .api, "internal_error",
            "Something failed on our side. Send the request again with the same Idempotency-Key; if it goes on, name "
                + "request \(request) to us.")
    }

    static let unavailable = APIError(
        .serviceUnavailable, .api, "unavailable",
        "A part of the service does not answer. Nothing is lost: send the request again with the same Idempotency-Key.",
        headers: [.retryAfter: "5"])
}

/// JSON as it leaves us.
enum JSONBytes {
    static func of(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return [UInt8](try encoder.encode(value))
    }
}
