import PaymentPorts
import Synchronization

@testable import OOPA

/// What bank and issuer send each other where they run apart. The first byte picks the call, or the bank's end.
extension FuzzTarget {
    static let issuerWire = FuzzTarget("issuer-wire", limit: 8192) { bytes in
        var reader = ByteReader(bytes)
        let calls = IssuerWire.Call.allCases
        let choice = reader.below(calls.count + 1)
        guard choice < calls.count else { return try answered(reader.word(), reader.everything()) }
        try asked(calls[choice], reader.everything())
    }

    /// A message is refused and nobody hears of it, or it means the same when the bank sends it again.
    private static func asked(_ call: IssuerWire.Call, _ body: [UInt8]) throws {
        let first = ListeningIssuer()
        let reply = try inline { await IssuerWireDesk(first).answer(call, body) }
        try require([200, 409].contains(reply.status), "status \(reply.status)")
        try require(reply.body.count <= 512, "an answer of \(reply.body.count) bytes")
        let heard = first.heard
        try require(heard.count == (reply.status == 200 ? 1 : 0), "\(heard.count) calls, and status \(reply.status)")
        guard let heard = heard.first else { return }
        let second = ListeningIssuer()
        try inline { try await heard.send(to: RemoteIssuer { await IssuerWireDesk(second).answer($0, $1) }) }
        try require(second.heard == [heard], "the message does not come back")
    }

    /// Whatever came back, the bank has an answer or knows that it has none.
    private static func answered(_ status: UInt16, _ body: [UInt8]) throws {
        let bank = RemoteIssuer { _, _ in IssuerWire.Reply(status: Int(status), body: body) }
        let payment = PaymentID(rawValue: "pay_0123456789ABCDEF")
        let calls: [HeardCall] = [
            .sealingKeys, .inquire(payment), .cards("+233201234567"), .setLanguage("en", "+233201234567"),
        ]
        for call in calls {
            do {
                try inline { try await call.send(to: bank) }
                try require(status == 200, "status \(status) is an answer")
            } catch let error as IssuerServiceError {
                try require(status != 200 || error.kind == .noAnswer, "\(error)")
            }
        }
    }
}

/// A call as it was understood.
private enum HeardCall: Hashable, Sendable {
    case sealingKeys
    /// All of its fields (`FundsInquiry.canonical`), and itself.
    case checkFunds([UInt8], Inquiry)
    case authorize(CodeAuthorization)
    case capture(PaymentID, Int64?)
    case refund(PaymentID, Int64?, String)
    case reverse(PaymentID, String)
    case inquire(PaymentID)
    case cards(String)
    case block(CardID, String)
    case setLanguage(String, String)

    /// Compared by its fields, which stand beside it.
    struct Inquiry: Hashable, Sendable {
        let inquiry: FundsInquiry
        static func == (_: Inquiry, _: Inquiry) -> Bool { true }
        func hash(into _: inout Hasher) {}
    }

    func send(to issuer: some IssuerService) async throws {
        switch self {
        case .sealingKeys: _ = try await issuer.sealingKeys()
        case .checkFunds(_, let kept): _ = try await issuer.checkFunds(kept.inquiry)
        case .authorize(let request): _ = try await issuer.authorize(request)
        case .capture(let payment, let amount): _ = try await issuer.capture(payment, minorUnits: amount)
        case .refund(let payment, let amount, let key):
            _ = try await issuer.refund(payment, minorUnits: amount, key: key)
        case .reverse(let payment, let reason): _ = try await issuer.reverse(payment, reason: reason)
        case .inquire(let payment): _ = try await issuer.inquire(payment)
        case .cards(let phone): _ = try await issuer.cards(ofPhone: phone)
        case .block(let card, let phone): try await issuer.block(card, fromPhone: phone)
        case .setLanguage(let language, let phone): try await issuer.setLanguage(language, ofPhone: phone)
        }
    }
}

/// An issuer that remembers what it was asked, and says the same to everything.
private final class ListeningIssuer: IssuerService {
    private let calls = Mutex<[HeardCall]>([])

    var heard: [HeardCall] { calls.withLock { $0 } }

    private func note(_ call: HeardCall) { calls.withLock { $0.append(call) } }

    private var standing: IssuerStanding {
        IssuerStanding(
            state: .open, capturedMinorUnits: 0, refundedMinorUnits: 0, lastAttempt: nil, lastVerdict: nil)
    }

    func sealingKeys() async throws -> [CodeSealingKey] {
        note(.sealingKeys)
        return []
    }

    func checkFunds(_ inquiry: FundsInquiry) async throws -> HolderRoute {
        note(.checkFunds(inquiry.canonical, HeardCall.Inquiry(inquiry: inquiry)))
        return HolderRoute(
            phone: nil, card: nil, email: nil, language: "en", profiles: [], phoneSince: Timestamp(milliseconds: 0))
    }

    func authorize(_ request: CodeAuthorization) async throws -> IssuerVerdict {
        note(.authorize(request))
        return IssuerVerdict(outcome: .declined, responseCode: "05", reason: "no", triesLeft: nil)
    }

    func capture(_ payment: PaymentID, minorUnits: Int64?) async throws -> IssuerStanding {
        note(.capture(payment, minorUnits))
        return standing
    }

    func refund(_ payment: PaymentID, minorUnits: Int64?, key: String) async throws -> IssuerStanding {
        note(.refund(payment, minorUnits, key))
        return standing
    }

    func reverse(_ payment: PaymentID, reason: String) async throws -> IssuerStanding {
        note(.reverse(payment, reason))
        return standing
    }

    func inquire(_ payment: PaymentID) async throws -> IssuerStanding {
        note(.inquire(payment))
        return standing
    }

    func cards(ofPhone phone: String) async throws -> [HolderCard] {
        note(.cards(phone))
        return []
    }

    func block(_ card: CardID, fromPhone phone: String) async throws { note(.block(card, phone)) }

    func setLanguage(_ language: String, ofPhone phone: String) async throws { note(.setLanguage(language, phone)) }
}
