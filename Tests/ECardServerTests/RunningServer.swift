import AsyncHTTPClient
import ECardServer
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import Synchronization
import Testing

/// A server of a test on a port of the system's choice.
struct RunningServer: Sendable {
    let port: Int
    var base: String { "http://127.0.0.1:\(port)" }

    /// Runs `body` against a server with these routes, then ends it.
    static func with<Value: Sendable>(
        _ routes: [Route], parties: PartyTLS? = nil, limits: HTTPService.Limits = .init(), logger: Logger = .silent,
        _ body: @escaping @Sendable (RunningServer) async throws -> Value
    ) async throws -> Value {
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        let place =
            try parties.map { try ListeningPlace(host: "127.0.0.1", port: 0, parties: $0) }
            ?? ListeningPlace(host: "127.0.0.1", port: 0, certificate: nil)
        let service = try HTTPService(
            place, routes: routes, limits: limits, logger: logger, onListening: { listening.yield($0) })
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask {
                try await service.run()
                return nil
            }
            group.addTask {
                for await port in ports { return try await body(RunningServer(port: port)) }
                return nil
            }
            defer { group.cancelAll() }
            while let value = try await group.next() { if let value { return value } }
            throw CancellationError()
        }
    }

    struct Answer: Sendable {
        let status: Int
        let headers: [String: String]
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
        var json: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(body)) as? [String: Any]) ?? [:] }
        /// The member `error` of a refusal.
        var error: [String: Any] { json["error"] as? [String: Any] ?? [:] }
        var code: String { error["code"] as? String ?? "" }
        var param: String { error["param"] as? String ?? "" }
    }

    /// One request on the shared client, which keeps connections alive.
    func send(
        _ method: String, _ path: String, _ body: String? = nil, headers: [String: String] = [:]
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: base + path)
        request.method = .init(rawValue: method)
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        if let body {
            if !request.headers.contains(name: "content-type") {
                request.headers.add(name: "content-type", value: "application/json")
            }
            request.body = .bytes(Array(body.utf8))
        }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(240))
        let bytes = try await response.body.collect(upTo: 1 << 20)
        return Answer(
            status: Int(response.status.code),
            headers: Dictionary(
                response.headers.map { ($0.name.lowercased(), $0.value) }, uniquingKeysWith: { first, _ in first }),
            body: Array(bytes.readableBytesView))
    }
}

extension Logger {
    static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}
