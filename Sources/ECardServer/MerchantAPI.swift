import CardData
import Crypto
import Foundation
import HTTPTypes
import Hummingbird
public import OOPA
public import PaymentPorts
import Synchronization

/// Whose key a request came with.
struct Caller: Sendable {
    let merchant: Merchant
    let isLive: Bool
    /// What it signed, if it did.
    let request: MerchantRequest?
}

/// The merchants' side under `/v1` (processes M and N of the paper), modelled on Stripe's PaymentIntents.
public struct MerchantAPI: Sendable {
    private let desk: MerchantDesk
    private let merchants: any MerchantStore
    private let idempotency: Idempotency
    private let signatures: RequestSignatures

    /// - Parameter digest: HMAC with the bank's index key.
    public init(
        desk: MerchantDesk, merchants: any MerchantStore, payments: any OnlinePaymentStore,
        time: any TimeSource, digest: @escaping @Sendable ([UInt8]) async throws -> [UInt8]
    ) {
        self.desk = desk
        self.merchants = merchants
        idempotency = Idempotency(store: payments, time: time, digest: digest)
        signatures = RequestSignatures(merchants: merchants, time: time)
    }

    public var routes: [Route] {
        [
            Route(.post, "/v1/payments") { request, _ in try await create(request) },
            Route(.get, "/v1/payments") { request, _ in try await list(request) },
            Route(.get, "/v1/payments/{id}") { request, context in
                let caller = try await caller(of: request)
                return try await answer(.ok, found(context, caller))
            },
            receiptRoute,
            Route(.post, "/v1/payments/{id}/cancel") { request, context in
                try await change(request, context, EmptyRequest.self, EmptyRequest.init) { payment, caller, _, _ in
                    try await desk.cancel(
                        payment, for: caller.merchant, isLive: caller.isLive, request: caller.request)
                }
            },
            Route(.post, "/v1/payments/{id}/capture") { request, context in
                try await change(request, context, AmountRequest.self, AmountRequest.init) { payment, caller, body, _ in
                    try await desk.capture(
                        payment, minorUnits: body.minorUnits, for: caller.merchant, isLive: caller.isLive,
                        request: caller.request)
                }
            },
            Route(.post, "/v1/payments/{id}/refunds") { request, context in
                try await change(request, context, AmountRequest.self, AmountRequest.init) {
                    payment, caller, body, key in
                    try await desk.refund(
                        payment, minorUnits: body.minorUnits, key: key ?? UUID().uuidString, for: caller.merchant,
                        isLive: caller.isLive, request: caller.request)
                }
            },
            Route(.get, "/openapi.yaml") { _, _ in
                Response(.ok, "application/yaml", PackageResources.openapi_yaml)
            },
        ]
    }
}

extension MerchantAPI {
    private func create(_ request: Request) async throws -> Response {
        let caller = try await caller(of: request)
        let body = try await json(request)
        let asked = try StrictJSON.decode(PaymentRequest.self, from: body)
        if let signed = caller.request { try asked.requireSecret(beside: signed) }
        let order = MerchantDesk.Order(
            pan: asked.card.pan, expiry: asked.card.expiry, name: asked.card.name, amount: asked.amount,
            capturesLater: asked.capturesLater, reference: asked.reference, details: asked.details,
            lifetime: asked.lifetime)
        return try await idempotency.once(request, body: body, caller: caller) { memory in
            let told = ToldOnce()
            let payment = try await telling(nil, caller, param: "expires_in") {
                try await desk.create(
                    order, for: caller.merchant, isLive: caller.isLive, request: caller.request
                ) { payment in
                    try memory?.request(.created, told.bytes(payment))
                }
            }
            return Response(
                .created, Response.json, try told.bytes(payment),
                headers: [.location: "/v1/payments/\(payment.id)"])
        }
    }

    /// A new payment as it is answered and remembered: the same bytes, made once.
    private final class ToldOnce: Sendable {
        private let made = Mutex<[UInt8]?>(nil)

        func bytes(_ payment: OnlinePayment) throws -> [UInt8] {
            try made.withLock { made in
                let bytes = try made ?? JSONBytes.of(PaymentView(payment))
                made = bytes
                return bytes
            }
        }
    }

    private func list(_ request: Request) async throws -> Response {
        let caller = try await caller(of: request)
        let page = try PageRequest(request)
        if let cursor = page.after,
            try await desk.payment(cursor, for: caller.merchant, isLive: caller.isLive) == nil
        {
            throw APIError.notFound("There is no such payment of yours.", param: "starting_after")
        }
        // One more than is shown tells whether there is more.
        let payments = try await desk.payments(
            for: caller.merchant, isLive: caller.isLive, after: page.after, limit: page.limit + 1)
        return try Response(
            .ok,
            json: PaymentList(
                data: payments.prefix(page.limit).map(PaymentView.init), hasMore: payments.count > page.limit))
    }

    /// Does something with a payment that is there.
    private func change<Body: Decodable>(
        _ request: Request, _ context: ServerContext, _ type: Body.Type, _ empty: () -> Body,
        _ work: (PaymentID, Caller, Body, String?) async throws -> OnlinePayment
    ) async throws -> Response {
        let caller = try await caller(of: request)
        let payment = try await found(context, caller)
        let bytes = try await request.bytes()
        let body = bytes.isEmpty ? empty() : try StrictJSON.decode(type, from: try await json(request))
        return try await idempotency.once(request, body: bytes, caller: caller) { memory in
            let after = try await telling(payment.id, caller, param: "amount") {
                try await work(payment.id, caller, body, memory?.key)
            }
            let told = try JSONBytes.of(PaymentView(after))
            // Died here, it is done once all the same: the desk knows its own work again.
            if let memory { try await idempotency.store.remember(memory.request(.ok, told)) }
            return Response(.ok, Response.json, told)
        }
    }

    /// Has the desk work, and tells what it refuses in the merchant's words.
    private func telling(
        _ id: PaymentID?, _ caller: Caller, param: String, _ work: () async throws -> OnlinePayment
    ) async throws -> OnlinePayment {
        do {
            return try await work()
        } catch let error as DeskError {
            switch error.kind {
            case .notFound: throw APIError.notFound("There is no such payment of yours.")
            case .invalid: throw APIError.invalid(param, "\(error.advice).")
            case .forbidden: throw APIError.notVerified
            case .conflict:
                var status: String?
                if let id {
                    status = try await desk.payment(id, for: caller.merchant, isLive: caller.isLive)?.state
                        .merchantStatus
                }
                let standing = status == "refunded" ? "was refunded whole" : "is \(status ?? "not as expected")"
                throw APIError(
                    .conflict, .invalidRequest, "payment_unexpected_status",
                    "The payment \(standing), which does not allow this.")
            case .inDoubt:
                throw APIError(
                    .serviceUnavailable, .api, "in_doubt",
                    "The issuer gave no answer. We ask it until it does: look at the payment again, or send the same "
                        + "request again with the same Idempotency-Key; it is done once.", headers: [.retryAfter: "5"])
            default: throw error
            }
        }
    }

    private func answer(
        _ status: HTTPResponse.Status, _ payment: OnlinePayment, headers: HTTPFields = [:]
    ) throws -> Response {
        try Response(status, json: PaymentView(payment), headers: headers)
    }

    /// The payment that the path names, if it is this merchant's.
    func found(_ context: ServerContext, _ caller: Caller) async throws -> OnlinePayment {
        guard let id = context.parameters.get("id"),
            let payment = try await desk.payment(
                PaymentID(rawValue: id), for: caller.merchant, isLive: caller.isLive)
        else { throw APIError.notFound("There is no such payment of yours.") }
        return payment
    }

    private func json(_ request: Request) async throws -> [UInt8] {
        let bytes = try await request.bytes()
        guard request.mediaType == Response.json else {
            if let text = String(validating: bytes, as: UTF8.self), let name = SecurityCodeName.first(inForm: text) {
                throw APIError.securityCode(name)
            }
            throw APIError.wrongMediaType(Response.json)
        }
        return bytes
    }

    /// A query stands in the logs of whatever is on the way, so it is looked at first; what changes something has none.
    private func check(queryOf request: Request) throws(APIError) {
        guard let query = request.uri.query, !query.isEmpty else { return }
        if let name = SecurityCodeName.first(inForm: query) { throw .securityCode(name) }
        if request.method == .post {
            throw .unknown(String(SecurityCodeName.formNames(of: query).first?.prefix(64) ?? ""))
        }
    }

    /// Whose key it is: `Authorization: Bearer sk_test_…` (RFC 6750). Looked up by its digest, so that no time tells how much
    /// of a guess was right. And what it signed.
    func caller(of request: Request) async throws -> Caller {
        let words = (request.headers[.authorization] ?? "").split(separator: " ")
        guard words.count == 2, words[0].lowercased() == "bearer", words[1].hasPrefix("sk_"),
            words[1].utf8.count <= 128,
            let found = try await merchants.merchant(keyDigest: Array(SHA256.hash(data: Data(words[1].utf8))))
        else { throw APIError.wrongKey }
        guard found.merchant.state != .suspended else {
            throw APIError(
                .forbidden, .authentication, "merchant_suspended",
                "The bank has suspended this merchant. It can be asked why.")
        }
        try check(queryOf: request)
        return Caller(
            merchant: found.merchant, isLive: found.isLive,
            request: try await signatures.signed(request, by: found.merchant, isLive: found.isLive))
    }
}
