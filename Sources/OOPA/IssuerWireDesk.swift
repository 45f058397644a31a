import CardData
public import PaymentPorts

/// The issuer's end: gives each call to the desk.
public struct IssuerWireDesk: Sendable {
    private let service: any IssuerService

    public init(_ service: any IssuerService) { self.service = service }

    /// Whatever the bytes are, an answer. It never repeats what was sent.
    /// - Parameter noting: told of the payment that a message names, before the call.
    public func answer(
        _ call: IssuerWire.Call, _ body: [UInt8], noting: @Sendable (PaymentID) -> Void = { _ in }
    ) async -> IssuerWire.Reply {
        do {
            guard body.count <= IssuerWire.longestBody else {
                throw IssuerServiceError(.refused, "a message has at most \(IssuerWire.longestBody) bytes")
            }
            return IssuerWire.Reply(status: 200, body: try await asked(call, body, noting))
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

    private func asked(
        _ call: IssuerWire.Call, _ body: [UInt8], _ noting: (PaymentID) -> Void
    ) async throws -> [UInt8] {
        switch call {
        case .sealingKeys:
            _ = try IssuerWire.decode(IssuerWire.Done.self, of: call, body)
            return try IssuerWire.encode(await service.sealingKeys().map(IssuerWire.SealingKey.init))
        case .checkFunds:
            let inquiry = try IssuerWire.decode(IssuerWire.Inquiry.self, of: call, body).inquiry()
            noting(inquiry.payment)
            return try IssuerWire.encode(await service.checkFunds(inquiry))
        case .authorize:
            let request = try IssuerWire.decode(IssuerWire.Try.self, of: call, body).request
            noting(request.payment)
            return try IssuerWire.encode(await service.authorize(request))
        default: break
        }
        let named = try IssuerWire.decode(IssuerWire.Named.self, of: call, body)
        if let payment = named.payment { noting(payment) }
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
                    given(named.payment, "payment"), minorUnits: named.minorUnits, key: given(named.key, "key")))
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
