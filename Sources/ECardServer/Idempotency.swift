import ByteCoding
import HTTPTypes
import Hummingbird
import PaymentPorts
import Synchronization

extension HTTPField.Name {
    // swift-format-ignore: NeverForceUnwrap
    static let idempotencyKey = HTTPField.Name("Idempotency-Key")!
    // swift-format-ignore: NeverForceUnwrap
    static let idempotentReplayed = HTTPField.Name("Idempotent-Replayed")!
}

/// One request, done once, however often it is sent: `Idempotency-Key`, scoped to merchant and mode, kept 24 hours.
///
/// Only answers that say that something was done are kept. A refusal changed nothing, and the same request may be right
/// later.
struct Idempotency: Sendable {
    private struct Scope: Hashable {
        let merchant: MerchantID
        let key: String
    }

    let store: any OnlinePaymentStore
    let time: any TimeSource
    /// HMAC with the bank's index key: the body has a card number in it, of which a plain digest would be a dictionary.
    let digest: @Sendable ([UInt8]) async throws -> [UInt8]
    private let inFlight = InFlight()

    /// Requests that this process is answering.
    private final class InFlight: Sendable {
        private let scopes = Mutex<Set<Scope>>([])
        func begin(_ scope: Scope) -> Bool { scopes.withLock { $0.insert(scope).inserted } }
        func end(_ scope: Scope) { scopes.withLock { _ = $0.remove(scope) } }
    }

    init(
        store: any OnlinePaymentStore, time: any TimeSource,
        digest: @escaping @Sendable ([UInt8]) async throws -> [UInt8]
    ) {
        self.store = store
        self.time = time
        self.digest = digest
    }

    /// What a request gives to remember its answer by.
    struct Memory: Sendable {
        fileprivate let merchant: MerchantID
        /// The mode and the client's key.
        let key: String
        fileprivate let digest: [UInt8]
        fileprivate let at: Timestamp

        func request(_ status: HTTPResponse.Status, _ body: [UInt8]) -> RememberedRequest {
            RememberedRequest(
                merchant: merchant, key: key, digest: digest, status: status.code, body: body, at: at)
        }
    }

    /// Answers with `work`, or with what it answered to the same request before.
    /// - Parameter work: gets `nil` for a request without a key.
    /// - Throws: ``APIError`` 409 while the same key is being answered, 422 where it stood for something else.
    func once(
        _ request: Request, body: [UInt8], caller: Caller, _ work: (Memory?) async throws -> Response
    ) async throws -> Response {
        guard let key = try Self.key(of: request) else { return try await work(nil) }
        let scope = Scope(merchant: caller.merchant.id, key: (caller.isLive ? "live:" : "test:") + key)
        guard inFlight.begin(scope) else {
            throw APIError(
                .conflict, .idempotency, "idempotency_key_in_use",
                "A request with this Idempotency-Key is being answered. Send it again in a moment.",
                headers: [.retryAfter: "1"])
        }
        defer { inFlight.end(scope) }
        let place = Array("\(request.method.rawValue) \(request.uri.path)\n".utf8)
        let memory = Memory(
            merchant: scope.merchant, key: scope.key, digest: try await digest(place + body), at: time.now())
        guard let before = try await store.remembered(scope.key, of: scope.merchant, at: memory.at) else {
            do {
                return try await work(memory)
            } catch let error as StoreError where error.kind == .conflict {
                // Another process of the bank's may have been quicker; then nothing is written of this one.
                guard let other = try await store.remembered(scope.key, of: scope.merchant, at: memory.at) else {
                    throw error
                }
                return try Self.again(other, memory)
            }
        }
        return try Self.again(before, memory)
    }

    /// The answer that was given.
    private static func again(_ before: RememberedRequest, _ memory: Memory) throws -> Response {
        guard constantTimeEqual(before.digest, memory.digest) else {
            throw APIError(
                .unprocessableContent, .idempotency, "idempotency_key_reused",
                "This Idempotency-Key was used for another request. Take a new one for each request that differs.")
        }
        return Response(
            HTTPResponse.Status(code: before.status), Response.json, before.body, headers: [.idempotentReplayed: "true"]
        )
    }

    /// 1 to 255 printable characters of ASCII.
    private static func key(of request: Request) throws -> String? {
        guard let key = request.headers[.idempotencyKey] else { return nil }
        guard (1...255).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw APIError(
                .badRequest, .idempotency, "idempotency_key_invalid",
                "An Idempotency-Key has 1 to 255 printable ASCII characters without spaces; a UUID will do.")
        }
        return key
    }
}
