public import ByteCoding
import Crypto
import Foundation
import Hummingbird
public import Logging
public import OOPA
import Metrics
import NIOCore

/// The gateways' callbacks under `/ussd` (process O of the paper). A gateway that is not configured is not there.
public struct USSDAPI: Sendable {
    private static let types: [any USSDGateway.Type] = [AfricasTalking.self, Arkesel.self, Hubtel.self]
    /// Their names, as paths and settings have them.
    public static var known: [String] { types.map { $0.name } }

    /// A gateway that may call, and how it is known. A telephone's number is believed because its gateway is.
    public struct Gateway: Sendable {
        let type: any USSDGateway.Type
        let secret: SecretBytes?
        let peers: Set<NetworkAddress>

        /// - Parameters:
        ///   - secret: at least 16 bytes, which the gateway sends as `Authorization: Bearer …`, or as the last part of the
        ///     path where it can send no header.
        ///   - peers: addresses that it calls from. With both, both are wanted.
        public init(_ name: String, secret: SecretBytes?, peers: [String]) throws {
            guard let type = types.first(where: { $0.name == name }) else {
                throw ServerError("no USSD gateway '\(name)'; there are \(known.joined(separator: ", "))")
            }
            guard secret != nil || !peers.isEmpty else {
                throw ServerError("gateway \(name): a secret or the addresses that it calls from are wanted")
            }
            if let secret, secret.count < 16 {
                throw ServerError(
                    "gateway \(name): its secret has \(secret.count) bytes, 16 at least wanted",
                    advice: "Make one: openssl rand -hex 32")
            }
            self.type = type
            self.secret = secret
            self.peers = Set(
                try peers.map { text in
                    guard let address = try? SocketAddress(ipAddress: text, port: 0) else {
                        throw ServerError("gateway \(name): '\(text)' is no IP address")
                    }
                    return NetworkAddress(address)
                })
        }

        fileprivate func lets(_ request: Request, _ context: ServerContext) -> Bool {
            if !peers.isEmpty, !(context.peer.map { peers.contains(NetworkAddress($0)) } ?? false) { return false }
            guard let secret else { return true }
            let words = (request.headers[.authorization] ?? "").split(separator: " ")
            let given =
                words.count == 2 && words[0].lowercased() == "bearer"
                ? String(words[1]) : context.parameters.get("secret") ?? ""
            // Digests: not even the length shows.
            return constantTimeEqual(
                Array(SHA256.hash(data: Data(given.utf8))), secret.withBytes { Array(SHA256.hash(data: Data($0))) })
        }
    }

    private let gateways: [Gateway]
    private let dialogue: USSDDialogue
    private let logger: Logger

    public init(gateways: [Gateway], dialogue: USSDDialogue, logger: Logger) {
        self.gateways = gateways
        self.dialogue = dialogue
        self.logger = logger
    }

    public var routes: [Route] {
        gateways.flatMap { gateway in
            ["", "/{secret}"].map { end in
                Route(.post, "/ussd/\(gateway.type.name)\(end)") { try await answer($0, $1, gateway) }
            }
        }
    }

    private func answer(_ request: Request, _ context: ServerContext, _ gateway: Gateway) async throws -> Response {
        guard gateway.lets(request, context) else {
            throw APIError(
                .unauthorized, .authentication, "gateway_unknown",
                "The gateway's secret is missing or wrong, or it calls from another address than was agreed.")
        }
        let asked: USSDRequest
        do {
            asked = try gateway.type.request(
                from: try await request.bytes(), contentType: request.headers[.contentType])
        } catch let error as USSDRequestError {
            throw APIError(.badRequest, .invalidRequest, "callback_invalid", "\(error)", param: error.place)
        }
        let answer = try await dialogue.respond(to: asked)
        context.payment.id = answer.payment
        if let failure = answer.failure {
            logger.error("telephone", metadata: ["gateway": "\(asked.gateway)", "error": "\(failure)"])
        }
        let (contentType, body) = gateway.type.response(to: asked, with: answer)
        return Response(.ok, contentType, body)
    }
}
