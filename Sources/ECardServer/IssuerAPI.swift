import Hummingbird
import OOPA
public import PaymentPorts

/// The issuer's calls (``IssuerWire``) where it runs apart (processes N, P and R of the paper): for the bank alone, which is
/// known by its certificate.
public struct IssuerAPI: Sendable {
    private let desk: IssuerWireDesk
    private let callers: CallingParties

    /// What holds for the server of these routes: a message of the longest kind fits.
    public static var limits: HTTPService.Limits {
        var limits = HTTPService.Limits()
        limits.body = IssuerWire.longestBody
        return limits
    }

    /// - Parameter parties: whose authority's word is taken.
    public init(_ service: any IssuerService, parties: PartyTLS) {
        desk = IssuerWireDesk(service)
        callers = CallingParties(parties.verifier)
    }

    public var routes: [Route] {
        IssuerWire.Call.allCases.map { call in
            Route(.post, call.path) { try await answer(call, $0, $1) }
        }
    }

    private func answer(
        _ call: IssuerWire.Call, _ request: Request, _ context: ServerContext
    ) async throws -> Response {
        guard try await callers.party(of: context) == .bank else { throw APIError.notTheBank }
        guard request.mediaType == Response.json else { throw APIError.wrongMediaType(Response.json) }
        let payment = context.payment
        let reply = await desk.answer(call, try await request.bytes()) { payment.id = $0 }
        return Response(.init(code: reply.status), Response.json, reply.body)
    }
}

extension APIError {
    static let notTheBank = APIError(
        .forbidden, .authentication, "party_not_allowed",
        "Only the bank is answered here: call with the certificate of 'ecard pki issue bank'.")
}
