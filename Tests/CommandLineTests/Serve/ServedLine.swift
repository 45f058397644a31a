import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization

/// The way from shops and telephones to a server that dies and comes back: requests wait for the next life, and which were on
/// their way at a death is counted.
final class ServedLine: Sendable {
    /// What a request asks for.
    enum Operation: String, Sendable, CaseIterable {
        case create, dial, code, refuse, capture, refund, cancel, look
    }

    struct Answer: Sendable {
        let status: Int
        let body: String
        let isReplayed: Bool

        /// What a shop, or a telephone, is told when a part of the service does not answer.
        var isRefusal: Bool { status == 503 || body.hasPrefix("END We cannot do this now") }

        /// A member of the JSON object that the body is.
        func text(_ member: String) -> String? { object?[member] as? String }
        func number(_ member: String) -> Int64? { (object?[member] as? NSNumber)?.int64Value }
        private var object: [String: Any]? {
            try? JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any]
        }
    }

    private struct State {
        var url: String?
        var isOver = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var underWay: [Operation: Int] = [:]
        var sent = 0
        var unanswered = 0
        var refused = 0
    }

    private let state = Mutex(State())
    private let client: HTTPClient
    private let key: String

    /// - Parameter key: the merchant's.
    init(key: String) {
        self.key = key
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .seconds(2)
        // Another life listens at another port: the old one is not to be tried for long.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    // Also where a test throws before it closes the line: a client that was not shut down ends the process of all tests.
    deinit { client.shutdown { _ in } }

    func close() async throws { try await client.shutdown() }

    /// The server listens there from now on; `nil`: it is dead.
    func goesTo(_ url: String?) {
        let waiting = state.withLock { state in
            state.url = url
            guard url != nil else { return [CheckedContinuation<Void, Never>]() }
            defer { state.waiting = [] }
            return state.waiting
        }
        waiting.forEach { $0.resume() }
    }

    /// No server comes any more: whoever waits gets no answer.
    func end() {
        let waiting = state.withLock { state in
            state.isOver = true
            defer { state.waiting = [] }
            return state.waiting
        }
        waiting.forEach { $0.resume() }
    }

    var isOver: Bool { state.withLock { $0.isOver } }

    /// What is on its way now.
    var underWay: [Operation] { state.withLock { state in state.underWay.filter { $0.value > 0 }.map(\.key) } }
    /// Requests that were sent, those of them that got no answer, and those that were told to come again.
    var counts: (sent: Int, unanswered: Int, refused: Int) {
        state.withLock { ($0.sent, $0.unanswered, $0.refused) }
    }

    /// Returns when the counts have grown by so much, or more.
    func wait(sent: Int = 0, refused: Int = 0) async throws {
        let begin = counts
        let deadline = ContinuousClock.now + .seconds(180)
        while counts.sent < begin.sent + sent || counts.refused < begin.refused + refused {
            guard ContinuousClock.now < deadline else {
                throw Shell.Failure("not \(sent) requests, \(refused) refusals in 3 minutes: \(begin), \(counts)")
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    private func url() async -> String? {
        while !isOver {
            if let url = state.withLock({ $0.url }) { return url }
            await withCheckedContinuation { continuation in
                let waits = state.withLock { state in
                    guard state.url == nil, !state.isOver else { return false }
                    state.waiting.append(continuation)
                    return true
                }
                if !waits { continuation.resume() }
            }
        }
        return nil
    }

    // MARK: Requests

    /// A merchant's request, sent once to whatever life listens; `nil`: no answer came.
    func ask(
        _ operation: Operation, _ path: String, _ body: String? = nil, idempotencyKey: String? = nil
    ) async -> Answer? {
        var headers = ["authorization": "Bearer \(key)"]
        if let idempotencyKey { headers["idempotency-key"] = idempotencyKey }
        if body != nil { headers["content-type"] = "application/json" }
        return await send(operation, operation == .look ? .get : .post, path, body, headers)
    }

    /// A callback of the telephones' gateway (Africa's Talking): all inputs so far, with stars between.
    func dial(_ operation: Operation, session: String, phone: String, inputs: [String]) async -> String? {
        let form = [
            "sessionId": session, "phoneNumber": phone, "networkCode": "62001", "serviceCode": "*920*55#",
            "text": inputs.joined(separator: "*"),
        ]
        let body = form.map { name, value in
            let escaped = value.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
            return "\(name)=\(escaped)"
        }
        let headers = [
            "authorization": "Bearer \(ServedBank.gatewaySecret)",
            "content-type": "application/x-www-form-urlencoded",
        ]
        let answer = await send(
            operation, .post, "/ussd/africastalking", body.joined(separator: "&"), headers)
        return answer.map { $0.status == 200 ? $0.body : "status \($0.status): \($0.body)" }
    }

    /// - Returns: `nil` when no answer came.
    func send(
        _ operation: Operation, _ method: RequestMethod, _ path: String, _ body: String?, _ headers: [String: String]
    ) async -> Answer? {
        guard let url = await url() else { return nil }
        var request = HTTPClientRequest(url: url + path)
        request.method = method == .get ? .GET : .POST
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        if let body { request.body = .bytes(ByteBuffer(string: body)) }
        state.withLock { state in
            state.underWay[operation, default: 0] += 1
            state.sent += 1
        }
        let answer = try? await answer(to: request)
        state.withLock { state in
            state.underWay[operation, default: 0] -= 1
            if answer == nil { state.unanswered += 1 }
            if answer?.isRefusal == true { state.refused += 1 }
        }
        return answer
    }

    private func answer(to request: HTTPClientRequest) async throws -> Answer {
        // Far beyond what any answer takes: one that hangs is found, and asked again.
        let response = try await client.execute(request, timeout: .seconds(60))
        let body = try await response.body.collect(upTo: 1 << 20)
        return Answer(
            status: Int(response.status.code), body: String(buffer: body),
            isReplayed: response.headers.first(name: "idempotent-replayed") == "true")
    }
}

/// The methods that are used.
enum RequestMethod: Sendable { case get, post }
