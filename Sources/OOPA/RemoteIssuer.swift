public import PaymentPorts

/// The bank's end: an issuer that is elsewhere. What it does not understand is no answer, so the outcome is in doubt.
public struct RemoteIssuer: IssuerService {
    /// Brings a message there and the answer back. Whatever it throws means that no answer came.
    public typealias Exchange = @Sendable (IssuerWire.Call, [UInt8]) async throws -> IssuerWire.Reply

    private let exchange: Exchange

    public init(_ exchange: @escaping Exchange) { self.exchange = exchange }

    public func sealingKeys() async throws -> [CodeSealingKey] {
        let keys: [IssuerWire.SealingKey] = try read(await ask(.sealingKeys, IssuerWire.Done()))
        return keys.map(\.key)
    }

    public func checkFunds(_ inquiry: FundsInquiry) async throws -> HolderRoute {
        try read(await ask(.checkFunds, IssuerWire.Inquiry(inquiry)))
    }

    public func authorize(_ request: CodeAuthorization) async throws -> IssuerVerdict {
        try read(await ask(.authorize, IssuerWire.Try(request)))
    }

    public func capture(_ payment: PaymentID, minorUnits: Int64?) async throws -> IssuerStanding {
        try read(await ask(.capture, IssuerWire.Named(payment: payment, minorUnits: minorUnits)))
    }

    public func refund(_ payment: PaymentID, minorUnits: Int64?, key: String) async throws -> IssuerStanding {
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
