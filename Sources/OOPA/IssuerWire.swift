import CardData
import Foundation
public import PaymentPorts

/// What bank and issuer say to each other where they run apart: a JSON object (RFC 8259) each way, `POST` to the call's path,
/// over mutual TLS. Times are milliseconds since 1970 UTC, byte strings base64. How it travels is not decided here.
public enum IssuerWire {
    public enum Call: String, Sendable, CaseIterable {
        case sealingKeys = "sealing-keys"
        case checkFunds = "check-funds"
        case authorize, capture, refund, reverse, inquire, cards
        case block
        case setLanguage = "set-language"

        public var path: String { "/issuer/v1/\(rawValue)" }
    }

    /// An answer as it travels.
    public struct Reply: Hashable, Sendable {
        /// HTTP's: 200, 409 (refused), 503 (unavailable), 500 (no answer: the outcome is in doubt).
        public let status: Int
        public let body: [UInt8]

        public init(status: Int, body: [UInt8]) {
            self.status = status
            self.body = body
        }
    }

    /// Bytes of the longest body that is looked at, either way.
    public static let longestBody = 65_536

    struct Inquiry: Codable {
        let payment: PaymentID
        let pan: String
        /// `YYMM`
        let expiry: String
        let name: String?
        let minorUnits: Int64
        let currency: String
        let merchant: MerchantID
        let merchantName: String
        let capturesLater: Bool
        let expiresAt: Timestamp

        init(_ inquiry: FundsInquiry) {
            payment = inquiry.payment
            pan = inquiry.pan.digits
            expiry = inquiry.expiry.yymm
            name = inquiry.name?.text
            minorUnits = inquiry.amount.minorUnits
            currency = inquiry.amount.currency.code
            merchant = inquiry.merchant
            merchantName = inquiry.merchantName
            capturesLater = inquiry.capturesLater
            expiresAt = inquiry.expiresAt
        }

        func inquiry() throws -> FundsInquiry {
            FundsInquiry(
                payment: payment, pan: try PAN(pan), expiry: try ExpiryDate(yymm: expiry),
                name: try name.map { try CardholderName($0) },
                amount: Money(minorUnits: minorUnits, currency: try Currency(currency)), merchant: merchant,
                merchantName: merchantName, capturesLater: capturesLater, expiresAt: expiresAt)
        }
    }

    /// What the calls name that tell of no inquiry and no try. Each takes of it what is its own.
    struct Named: Codable {
        var payment: PaymentID?
        var minorUnits: Int64?
        var key: String?
        var reason: String?
        var card: CardID?
        var phone: String?
        var language: String?
    }

    struct Refusal: Codable {
        let kind: IssuerServiceError.Kind
        let reason: String
        let advice: String
    }

    struct Done: Codable {}

    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }

    static func decode<Value: Decodable>(_ type: Value.Type, _ body: [UInt8]) throws -> Value {
        try JSONDecoder().decode(type, from: Data(body))
    }
}

/// The issuer's end: gives each call to the desk.
public struct IssuerWireDesk: Sendable {
    private let service: any IssuerService

    public init(_ service: any IssuerService) { self.service = service }

    /// Whatever the bytes are, an answer. It never repeats what was sent.
    public func answer(_ call: IssuerWire.Call, _ body: [UInt8]) async -> IssuerWire.Reply {
        do {
            guard body.count <= IssuerWire.longestBody else {
                throw IssuerServiceError(.refused, "a message has at most \(IssuerWire.longestBody) bytes")
            }
            return IssuerWire.Reply(status: 200, body: try await asked(call, body))
        } catch let error as IssuerServiceError {
            return refusal(error)
        } catch is DecodingError {
            return refusal(IssuerServiceError(.refused, "this is no message of the call '\(call.rawValue)'"))
        } catch is CardDataError {
            return refusal(IssuerServiceError(.refused, "number, expiry, name or currency have not their form"))
        } catch {
            return refusal(
                IssuerServiceError(.noAnswer, "the outcome is in doubt", advice: "Inquire about the payment"))
        }
    }

    private func refusal(_ error: IssuerServiceError) -> IssuerWire.Reply {
        let status =
            switch error.kind {
            case .refused: 409
            case .unavailable: 503
            case .noAnswer: 500
            }
        let refusal = IssuerWire.Refusal(kind: error.kind, reason: error.reason, advice: error.advice)
        return IssuerWire.Reply(status: status, body: (try? IssuerWire.encode(refusal)) ?? [])
    }

    private func asked(_ call: IssuerWire.Call, _ body: [UInt8]) async throws -> [UInt8] {
        switch call {
        case .sealingKeys: return try IssuerWire.encode(await service.sealingKeys())
        case .checkFunds:
            let inquiry = try IssuerWire.decode(IssuerWire.Inquiry.self, body).inquiry()
            return try IssuerWire.encode(await service.checkFunds(inquiry))
        case .authorize:
            return try IssuerWire.encode(
                await service.authorize(IssuerWire.decode(CodeAuthorization.self, body)))
        default: break
        }
        let named = try IssuerWire.decode(IssuerWire.Named.self, body)
        func given<Value>(_ value: Value?, _ name: String) throws -> Value {
            guard let value else { throw IssuerServiceError(.refused, "the message says no '\(name)'") }
            return value
        }
        switch call {
        case .sealingKeys, .checkFunds, .authorize: break
        case .capture:
            return try IssuerWire.encode(
                await service.capture(given(named.payment, "payment"), minorUnits: named.minorUnits))
        case .refund:
            return try IssuerWire.encode(
                await service.refund(
                    given(named.payment, "payment"), minorUnits: given(named.minorUnits, "minorUnits"),
                    key: given(named.key, "key")))
        case .reverse:
            return try IssuerWire.encode(
                await service.reverse(given(named.payment, "payment"), reason: given(named.reason, "reason")))
        case .inquire: return try IssuerWire.encode(await service.inquire(given(named.payment, "payment")))
        case .cards: return try IssuerWire.encode(await service.cards(ofPhone: given(named.phone, "phone")))
        case .block: try await service.block(given(named.card, "card"), fromPhone: given(named.phone, "phone"))
        case .setLanguage:
            try await service.setLanguage(given(named.language, "language"), ofPhone: given(named.phone, "phone"))
        }
        return try IssuerWire.encode(IssuerWire.Done())
    }
}

/// The bank's end: an issuer that is elsewhere. What it does not understand is no answer, so the outcome is in doubt.
public struct RemoteIssuer: IssuerService {
    /// Brings a message there and the answer back. Whatever it throws means that no answer came.
    public typealias Exchange = @Sendable (IssuerWire.Call, [UInt8]) async throws -> IssuerWire.Reply

    private let exchange: Exchange

    public init(_ exchange: @escaping Exchange) { self.exchange = exchange }

    public func sealingKeys() async throws -> [CodeSealingKey] { try read(await ask(.sealingKeys, IssuerWire.Done())) }

    public func checkFunds(_ inquiry: FundsInquiry) async throws -> HolderRoute {
        try read(await ask(.checkFunds, IssuerWire.Inquiry(inquiry)))
    }

    public func authorize(_ request: CodeAuthorization) async throws -> IssuerVerdict {
        try read(await ask(.authorize, request))
    }

    public func capture(_ payment: PaymentID, minorUnits: Int64?) async throws -> IssuerStanding {
        try read(await ask(.capture, IssuerWire.Named(payment: payment, minorUnits: minorUnits)))
    }

    public func refund(_ payment: PaymentID, minorUnits: Int64, key: String) async throws -> IssuerStanding {
        try read(await ask(.refund, IssuerWire.Named(payment: payment, minorUnits: minorUnits, key: key)))
    }

    public func reverse(_ payment: PaymentID, reason: String) async throws -> IssuerStanding {
        try read(await ask(.reverse, IssuerWire.Named(payment: payment, reason: reason)))
    }

    public func inquire(_ payment: PaymentID) async throws -> IssuerStanding {
        try read(await ask(.inquire, IssuerWire.Named(payment: payment)))
    }

    public func cards(ofPhone phone: String) async throws -> [HolderCard] {
        try read(await ask(.cards, IssuerWire.Named(phone: phone)))
    }

    public func block(_ card: CardID, fromPhone phone: String) async throws {
        let _: IssuerWire.Done = try read(await ask(.block, IssuerWire.Named(card: card, phone: phone)))
    }

    public func setLanguage(_ language: String, ofPhone phone: String) async throws {
        let _: IssuerWire.Done = try read(await ask(.setLanguage, IssuerWire.Named(phone: phone, language: language)))
    }

    private func ask(_ call: IssuerWire.Call, _ message: some Encodable & Sendable) async throws -> IssuerWire.Reply {
        let body = try IssuerWire.encode(message)
        do {
            return try await exchange(call, body)
        } catch let error as IssuerServiceError {
            throw error
        } catch {
            throw IssuerServiceError(
                .noAnswer, "\(call.rawValue): nothing came back", advice: "Inquire about the payment")
        }
    }

    private func read<Answer: Decodable>(_ reply: IssuerWire.Reply) throws -> Answer {
        if reply.status == 200, reply.body.count <= IssuerWire.longestBody,
            let answer = try? IssuerWire.decode(Answer.self, reply.body)
        {
            return answer
        }
        if [409, 500, 503].contains(reply.status), reply.body.count <= IssuerWire.longestBody,
            let refusal = try? IssuerWire.decode(IssuerWire.Refusal.self, reply.body)
        {
            throw IssuerServiceError(refusal.kind, refusal.reason, advice: refusal.advice)
        }
        throw IssuerServiceError(
            .noAnswer, "what came back (status \(reply.status)) is no answer", advice: "Inquire about the payment")
    }
}
