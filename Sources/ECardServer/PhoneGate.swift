import ByteCoding
import Crypto
import Foundation
import HTTPTypes
import Hummingbird

/// Who may use the telephone of `/phone`: the page that this process served, in a browser on this machine.
///
/// The page's requests are a gateway's of its own, known by a secret that is as old as the process. What else a person's
/// browser has open reaches this address, too: another site is refused by `Origin` and `Sec-Fetch-Site`, and cannot read
/// the secret, since nothing is allowed by CORS; a name of its own that it points to this machine, by `Host`.
struct PhoneGate: Sendable {
    private let secret = WebhookSecret.random()
    private let scheme: String

    /// - Parameter scheme: `http` or `https`, as the server's own addresses begin.
    init(scheme: String) { self.scheme = scheme }

    /// 32 bytes in hexadecimal: what the page sends as `Authorization: Bearer …`.
    var token: String { secret.withBytes { Array($0).hex } }

    /// Lets requests pass that came by a name of this machine's.
    func requireOwnName(_ request: Request) throws {
        guard ListeningPlace.isLoopback(Self.host(of: request.head.authority ?? "")) else {
            throw Self.refusal("Open the page as \(scheme)://127.0.0.1 or \(scheme)://localhost.")
        }
    }

    /// Of these, those that no other site's page sent.
    func requireNoOtherSite(_ request: Request) throws {
        try requireOwnName(request)
        if let origin = request.headers[.origin], origin != "\(scheme)://\(request.head.authority ?? "")" {
            throw Self.refusal("Another site's page may not use this one.")
        }
        if let site = request.headers[.secFetchSite], !["same-origin", "none"].contains(site) {
            throw Self.refusal("Another site's page may not use this one.")
        }
    }

    /// Of these, those of servers: what a page sends by `POST` has an origin, which it cannot leave out.
    func requireNoPage(_ request: Request) throws {
        try requireNoOtherSite(request)
        guard request.headers[.origin] == nil else { throw Self.refusal("Pages do not send webhooks.") }
    }

    /// Those of this server's page: they have the secret.
    func requirePage(_ request: Request) throws {
        try requireNoOtherSite(request)
        let given = request.headers[.authorization] ?? ""
        // Digests: not even the length shows.
        guard
            constantTimeEqual(
                Array(SHA256.hash(data: Data(given.utf8))), Array(SHA256.hash(data: Data("Bearer \(token)".utf8))))
        else {
            throw APIError(
                .unauthorized, .authentication, "gateway_unknown",
                "This server did not serve your page, or was started anew: load /phone again.")
        }
    }

    private static func refusal(_ advice: String) -> APIError {
        APIError(.forbidden, .authentication, "origin_refused", advice)
    }

    /// `127.0.0.1:8080`, `[::1]:8080`: without port and brackets.
    private static func host(of authority: String) -> String {
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            return String(authority[authority.index(after: authority.startIndex)..<end])
        }
        return authority.prefix { $0 != ":" }.lowercased()
    }
}

extension HTTPField.Name {
    // swift-format-ignore: NeverForceUnwrap
    static let secFetchSite = HTTPField.Name("Sec-Fetch-Site")!
}
