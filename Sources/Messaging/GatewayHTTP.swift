import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix

/// One HTTP request to a gateway for messages, with a limit on everything.
struct GatewayHTTP: Sendable {
    /// As it appears in errors.
    let name: String
    let url: String
    /// For the whole exchange, however slowly the answer drips.
    let timeLimit: Duration

    struct Answer: Sendable {
        let status: Int
        let body: [UInt8]
    }

    /// No answer of an SMS gateway to one message comes near.
    static let answerLimit = 65_536

    /// Redirects are not followed: the request has a key in it. A connection that fails is not tried again here: the
    /// sender knows when to.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow, timeout: .init(connect: .seconds(connectLimit)), decompression: .disabled)
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
    }()

    private static let connectLimit: Int64 = 10

    /// - Parameter url: `https`, or `http` to this machine's own loopback.
    /// - Throws: ``DeliveryError`` for an address that would show the key to the network.
    init(name: String, url: String, timeLimit: Duration) throws(DeliveryError) {
        guard Self.isProtected(url) else {
            throw DeliveryError(
                .noGateway, place: "\(name): address", reason: "it would carry the key in clear",
                advice: "Give an https address; http is for 127.0.0.1, [::1] and localhost.")
        }
        self.name = name
        self.url = url
        self.timeLimit = timeLimit
    }

    private static func isProtected(_ url: String) -> Bool {
        if url.hasPrefix("https://") { return true }
        guard url.hasPrefix("http://") else { return false }
        let authority = url.dropFirst("http://".count).prefix { !"/?#".contains($0) }
        return ["127.0.0.1", "[::1]", "localhost"].contains { host in
            authority == host
                || authority.hasPrefix(host + ":")
                    && authority.dropFirst(host.count + 1).allSatisfy { $0.isASCII && $0.isNumber }
        }
    }

    /// Posts `body`.
    /// - Throws: ``DeliveryError``: `.unreachable` when no connection came about, else `.noAnswer`.
    func post(_ body: [UInt8], headers: [(String, String)]) async throws -> Answer {
        var request = HTTPClientRequest(url: url)
        request.method = .POST
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        // A kept connection that the gateway has closed meanwhile breaks off with the request on its way, and nobody
        // knows whether the message arrived.
        request.headers.replaceOrAdd(name: "connection", value: "close")
        request.body = .bytes(ByteBuffer(bytes: body))
        let whole = request
        do {
            return try await within(timeLimit) {
                let response = try await Self.client.execute(whole, deadline: .distantFuture)
                let answer = try await response.body.collect(upTo: Self.answerLimit)
                return Answer(status: Int(response.status.code), body: Array(answer.readableBytesView))
            }
        } catch {
            throw failure(error)
        }
    }

    private func failure(_ error: any Error) -> DeliveryError {
        switch error {
        case is TimeIsUp:
            return DeliveryError(.noAnswer, place: "\(name): answer", reason: "none within \(timeLimit)")
        case is NIOTooManyBytesError:
            return DeliveryError(
                .garbled, place: "\(name): answer", reason: "longer than \(Self.answerLimit) bytes",
                advice: "Check that \(url) is the gateway's address.")
        // Before the first byte of the request leaves there is a connection; these are all the ways not to get one.
        case let error as HTTPClientError where error == .connectTimeout:
            return unreachable("no connection within \(Self.connectLimit) s")
        case is NIOConnectionError,
            is IOError where "\(error)".contains("connect"):
            return unreachable("\(error)")
        default:
            return DeliveryError(.noAnswer, place: "\(name): exchange", reason: "it broke off: \(type(of: error))")
        }
    }

    private func unreachable(_ reason: String) -> DeliveryError {
        DeliveryError(.unreachable, place: "\(name): connection", reason: reason, advice: "Check that \(url) answers.")
    }
}

extension GatewayHTTP.Answer {
    /// What a status that is none of success says of the message (RFC 9110, 15.4 to 15.6).
    ///
    /// A 4xx is about our request or our settings, not about the recipient: nothing was taken, and another try may be.
    /// Of 5xx only 503 says that nothing was taken; any other may come from a proxy in between, or from a gateway that
    /// failed after it took the message.
    /// - Parameter login: what to look at when it does not let us in.
    func failure(at place: String, login: String) -> DeliveryError {
        let reason = "HTTP status \(status)"
        switch status {
        case 401, 403: return DeliveryError(.unauthorized, place: place, reason: reason, advice: login)
        case 404, 405, 410:
            return DeliveryError(
                .unavailable, place: place, reason: reason, advice: "Check the URL, with its path.")
        case 429:
            return DeliveryError(
                .unavailable, place: place, reason: reason,
                advice: "It wants fewer messages in a time: send slower, or ask its operator for more.")
        case 408, 503:
            return DeliveryError(.unavailable, place: place, reason: reason, advice: "Look at the gateway's status.")
        case 400...499:
            return DeliveryError(
                .unavailable, place: place, reason: reason, advice: "Check the settings: URL, username and sender.")
        case 500...599:
            return DeliveryError(
                .noAnswer, place: place, reason: "\(reason) leaves open whether the message was taken",
                advice: "Look at the gateway's status.")
        default:
            return DeliveryError(
                .garbled, place: place, reason: reason, advice: "Check that the URL is the gateway's.")
        }
    }
}
