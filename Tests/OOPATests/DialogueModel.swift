import ByteCoding
import CardData
import Crypto
import Foundation
import OOPA
import PaymentPorts

/// A holder's side of a bank in memory: what the dialogue asks for, and what it did.
actor HolderModel: HolderServices {
    struct Broken: Error, CustomStringConvertible { var description: String { "the model broke where it was told to" } }

    static let phone = "+233244000111"
    static let code = "4711"

    private(set) var payments: [OnlinePayment] = []
    private(set) var holderCards: [HolderCard] = []
    /// Everything that was done, in order.
    private(set) var acts: [String] = []
    private var triesLeft = 3
    /// Whether ``answer`` breaks, before or after it did its work.
    private var breaks: (before: Bool, after: Bool) = (false, false)

    init(payments: [OnlinePayment], cards: Int = 1, language: String = "en") {
        self.payments = payments
        holderCards = (0..<cards).map { number in
            HolderCard(
                id: CardID(rawValue: "card_\(number)"), panMasked: "993600******\(1000 + number)", isActive: true,
                language: language)
        }
    }

    func breakAnswers(before: Bool = false, after: Bool = false) { breaks = (before, after) }

    /// What ``answer`` refuses with, before it looks at anything.
    private var refusal: DeskError?
    func refuse(_ kind: DeskError.Kind?) { refusal = kind.map { DeskError($0, "the model", advice: "") } }

    func end(_ place: Int, as state: OnlinePayment.State) { payments[place].state = state }

    func pending(phone: String) -> [OnlinePayment] {
        payments.filter { $0.state == .awaitingHolder && $0.route.phone == phone }
    }

    func uncollected(phone: String) -> [OnlinePayment] {
        payments.filter { [.checking, .review, .authorized].contains($0.state) && $0.route.phone == phone }
    }

    func show(
        _ payment: OnlinePayment, as text: String, on channel: String, phone: String, claim: TurnClaim?
    ) throws -> OnlinePayment {
        let place = try place(payment.id)
        if payments[place].state == .awaitingHolder {
            payments[place].prompt = ShownPrompt(text: text, channel: channel, at: payments[place].updatedAt)
        }
        return payments[place]
    }

    func answer(
        _ id: PaymentID, with code: GivenCode, on channel: String, phone: String, claim: TurnClaim?,
        telling: (@Sendable (HolderAnswer) -> TurnClaim?)?
    ) async throws -> HolderAnswer {
        try await claim?.write()
        if breaks.before { throw Broken() }
        if let refusal { throw refusal }
        let place = try place(id)
        guard payments[place].state == .awaitingHolder, payments[place].prompt != nil else {
            return .over(payments[place])
        }
        let isRight: Bool
        switch code {
        case .digits(let digits):
            isRight = digits == SecretBytes(Array(Self.code.utf8))
            acts.append("digits \(id)")
        case .sealed(let bytes):
            isRight = true
            acts.append("sealed \(id) \(bytes.hex)")
        }
        if !isRight {
            triesLeft -= 1
            if triesLeft == 0 { payments[place].state = .declined }
            if breaks.after { throw Broken() }
            return triesLeft == 0 ? .declined(payments[place]) : .wrongCode(triesLeft: triesLeft)
        }
        payments[place].state = .captured
        if breaks.after { throw Broken() }
        return .paid(payments[place])
    }

    func deny(_ id: PaymentID, on channel: String, phone: String) throws -> OnlinePayment {
        let place = try place(id)
        if [.awaitingHolder, .authorized].contains(payments[place].state) {
            payments[place].state = payments[place].state == .authorized ? .voided : .denied
            acts.append("deny \(id)")
        }
        return payments[place]
    }

    func receipts(phone: String) -> [OnlinePayment] { payments.filter { $0.state == .captured } }

    func cards(phone: String) -> [HolderCard] { phone == Self.phone ? holderCards : [] }

    func block(_ card: CardID, phone: String) {
        acts.append("block \(card)")
        holderCards = holderCards.map { old in
            HolderCard(
                id: old.id, panMasked: old.panMasked, isActive: old.isActive && old.id != card, language: old.language)
        }
    }

    func setLanguage(_ language: String, phone: String) {
        acts.append("language \(language)")
        holderCards = holderCards.map {
            HolderCard(id: $0.id, panMasked: $0.panMasked, isActive: $0.isActive, language: language)
        }
    }

    private func place(_ id: PaymentID) throws -> Int {
        guard let place = payments.firstIndex(where: { $0.id == id }) else {
            throw StoreError(.notFound, "payment \(id)")
        }
        return place
    }
}

/// Sessions in memory, with the store's rule for turns.
actor SessionModel: USSDSessionStore {
    private(set) var sessions: [String: USSDSession] = [:]

    func session(gateway: String, id: String) -> USSDSession? { sessions[gateway + " " + id] }

    func save(_ session: USSDSession, afterTurn turn: Int) throws {
        let key = session.gateway + " " + session.id
        guard sessions[key]?.turn ?? 0 == turn else { throw StoreError(.conflict, "session \(session.id)") }
        sessions[key] = session
    }

    func endSessions(before time: Timestamp) { sessions = sessions.filter { $0.value.updatedAt >= time } }
}

struct FixedClock: TimeSource {
    func now() -> Timestamp { Timestamp(milliseconds: 1_795_271_700_000) }
}

/// A telephone on one gateway: makes its callbacks, byte for byte, and reads its answers.
struct GatewayPhone {
    enum Gateway: String, CaseIterable, Sendable { case africastalking, arkesel, hubtel }

    let gateway: Gateway
    let session: String
    var phone = HolderModel.phone
    private(set) var inputs: [String] = []

    init(_ gateway: Gateway, session: String = "s1", phone: String = HolderModel.phone) {
        self.gateway = gateway
        self.session = session
        self.phone = phone
    }

    mutating func type(_ text: String) throws -> USSDRequest {
        inputs.append(text)
        return try request()
    }

    /// The request for what was typed so far.
    func request() throws -> USSDRequest {
        let number = String(phone.dropFirst())
        let last = inputs.last ?? "*713#"
        switch gateway {
        case .africastalking:
            let body =
                "sessionId=\(session)&phoneNumber=%2B\(number)&serviceCode=*713%23&text=\(inputs.joined(separator: "*"))"
            return try AfricasTalking.request(from: Array(body.utf8), contentType: nil)
        case .arkesel:
            let body =
                #"{"sessionID":"\#(session)","newSession":\#(inputs.isEmpty),"msisdn":"\#(number)","userData":"\#(last)"}"#
            return try Arkesel.request(from: Array(body.utf8), contentType: nil)
        case .hubtel:
            let body =
                #"{"SessionId":"\#(session)","Type":"\#(inputs.isEmpty ? "Initiation" : "Response")","Mobile":"\#(number)","#
                + #""Message":"\#(last)","Sequence":\#(inputs.count + 1)}"#
            return try Hubtel.request(from: Array(body.utf8), contentType: nil)
        }
    }
}

/// A dialogue over models, made anew for each request: nothing is kept but what the store keeps.
struct DialogueBench: Sendable {
    let holders: HolderModel
    let sessions = SessionModel()
    let key = SymmetricKey(size: .bits256)

    init(_ payments: [OnlinePayment], cards: Int = 1, language: String = "en") {
        holders = HolderModel(payments: payments, cards: cards, language: language)
    }

    func respond(_ request: USSDRequest) async throws -> USSDAnswer {
        let dialogue = USSDDialogue(
            holders: holders, sessions: sessions, texts: try TelephoneTexts.standard.get(), clock: FixedClock()
        ) { [key] text in
            text.withBytes { Array(HMAC<SHA256>.authenticationCode(for: $0, using: key)) }
        }
        return try await dialogue.respond(to: request)
    }
}
