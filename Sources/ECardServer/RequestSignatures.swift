import HTTPTypes
import Hummingbird
import KeyCustody
import OOPA
import PaymentPorts

extension HTTPField.Name {
    // swift-format-ignore: NeverForceUnwrap
    static let signatureInput = HTTPField.Name("Signature-Input")!
    // swift-format-ignore: NeverForceUnwrap
    static let signature = HTTPField.Name("Signature")!
    // swift-format-ignore: NeverForceUnwrap
    static let acceptSignature = HTTPField.Name("Accept-Signature")!
}

/// Merchants' signatures over their requests (RFC 9421), looked at before anything else of a request is.
struct RequestSignatures: Sendable {
    let merchants: any MerchantStore
    let time: any TimeSource

    /// The request as it is kept, if it is signed. One that is signed wrongly is refused even where none need be signed.
    /// - Throws: ``APIError`` 401.
    func signed(_ request: Request, by merchant: Merchant, isLive: Bool) async throws -> MerchantRequest? {
        let changes = request.method == .post
        do {
            switch (request.headers[.signatureInput], request.headers[.signature]) {
            case (let input?, let signature?):
                return try await RequestSignature.verify(
                    Self.message(request, changes: changes), input: input, signature: signature, at: time.now()
                ) { id in
                    guard let key = try await merchants.signingKey(id), key.merchant == merchant.id,
                        key.isLive == isLive
                    else { return nil }
                    return P256PublicKey(point: key.point)
                }
            case (nil, nil):
                guard changes, merchant.requiresSignatures else { return nil }
                throw RequestSignatureError(
                    .missing, "this merchant's requests must be signed, with Signature-Input and Signature (RFC 9421)")
            default:
                throw RequestSignatureError(.malformed, "Signature-Input and Signature go together (RFC 9421, 4)")
            }
        } catch let error as RequestSignatureError {
            throw APIError.signature(error)
        }
    }

    private static func message(_ request: Request, changes: Bool) async throws -> RequestSignature.Message {
        var fields: [String: String] = [:]
        for name in RequestSignature.fields {
            if let name = HTTPField.Name(name) { fields[name.canonicalName] = request.headers[name] }
        }
        return RequestSignature.Message(
            method: request.method.rawValue, scheme: request.head.scheme ?? "http",
            authority: request.head.authority ?? "", path: request.uri.path, query: request.uri.query, fields: fields,
            body: try await request.bytes(), changes: changes)
    }
}

extension APIError {
    /// What was wrong with a signature, and what to cover.
    fileprivate static func signature(_ error: RequestSignatureError) -> APIError {
        APIError(
            .unauthorized, .authentication, error.kind.rawValue,
            "The request was not done: \(error.description).",
            headers: [.wwwAuthenticate: "Bearer realm=\"ecard\"", .acceptSignature: RequestSignature.wanted])
    }
}
