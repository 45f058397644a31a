import ByteCoding
import Crypto
import ECardServer
import Foundation
import Messaging
import OOPA
import PaymentPorts

/// A telephone: it dials, shows what it gets, and sends what is typed. With keys it seals codes itself (profile B).
struct Handset {
    /// What went one way and came back. Codes do not stand in it.
    struct Exchange: Encodable {
        let sent: String
        let shown: String
        let continues: Bool
    }

    struct Message: Encodable {
        let kind: String
        let reference: String
        let body: String

        /// For a transcript: what brings a code is told without its words.
        var withoutCode: Message {
            kind == OutgoingMessage.Kind.code.rawValue
                ? Message(kind: kind, reference: reference, body: "(a code)") : self
        }
    }

    let phone: String
    let line: GatewayLine
    /// The issuer's public keys, the newest first; `nil` in profile A.
    let keys: [CodeSealingKey]?
    private(set) var exchanges: [Exchange] = []
    private(set) var messages: [Message] = []
    private(set) var screen: GatewayLine.Screen?
    private let outbox: Outbox
    private var session = ""
    private var serviceCode = ""
    private var inputs: [SecretBytes] = []
    private var read: Set<String> = []

    init(phone: String, line: GatewayLine, keys: [CodeSealingKey]?, outbox: String) {
        self.phone = phone
        self.line = line
        self.keys = keys
        self.outbox = Outbox(folder: outbox, clock: SystemTime())
    }

    var isInCall: Bool { screen?.continues ?? false }

    /// Whether a code is asked for.
    var asksForCode: Bool { isInCall && PaymentPrompt.parse(screen?.text ?? "") != nil }

    mutating func dial(_ code: String) async throws {
        session = UUID().uuidString
        serviceCode = code
        inputs = []
        try await exchange(code)
    }

    /// - Parameter shownAs: what the transcript says of it.
    mutating func type(_ text: SecretBytes, shownAs: String) async throws {
        guard isInCall else { throw UsageFailure("nothing is asked on the screen: dial first") }
        guard text.withBytes({ !$0.contains(UInt8(ascii: "*")) }) else {
            throw UsageFailure("an input cannot hold a star: gateways separate inputs by it")
        }
        inputs.append(text)
        try await exchange(shownAs)
    }

    /// The code for the payment on the screen: as it is, or sealed for what is on the screen and nothing else.
    mutating func give(_ code: SecretBytes) async throws {
        guard let keys else { return try await type(code, shownAs: "(code)") }
        guard isInCall, let text = screen?.text, let prompt = PaymentPrompt.parse(text) else {
            throw UsageFailure("no payment on the screen asks for a code, so there is nothing to seal it for")
        }
        guard let key = keys.first else { throw UsageFailure("--keys: the file has no key") }
        let context = CodeContext(
            payment: prompt.payment, promptDigest: Array(SHA256.hash(data: Data(text.utf8))), phone: phone,
            expiresAt: prompt.expiresAt)
        let sealed = try CodeSealing.seal(code, to: key, form: .compact, context: context)
        let typed = CodeSealing.text(sealed, digitsOnly: false)
        try await type(SecretBytes(Array(typed.utf8)), shownAs: "(sealed code)")
    }

    /// The same callback again, as gateways send it that got no answer.
    mutating func again() async throws {
        guard !session.isEmpty else { throw UsageFailure("nothing was sent yet: dial first") }
        try await exchange("(again)")
    }

    mutating func hangUp() { screen = nil }

    /// Messages to this number that were not read yet.
    mutating func newMessages() async throws -> [Message] {
        let new = try await outbox.delivered().filter { $0.recipient == phone && read.insert($0.reference).inserted }
            .map { Message(kind: $0.kind, reference: $0.reference, body: $0.body) }
        messages += new
        return new
    }

    private mutating func exchange(_ sent: String) async throws {
        let screen = try await line.send(session: session, phone: phone, serviceCode: serviceCode, inputs: inputs)
        self.screen = screen
        exchanges.append(Exchange(sent: sent, shown: screen.text, continues: screen.continues))
    }
}
