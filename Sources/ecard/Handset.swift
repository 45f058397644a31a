import ByteCoding
import Crypto
import ECardServer
import Foundation
import OOPA
import PaymentPorts

/// A telephone: it dials, shows what it gets, and sends what is typed. In profile B it seals codes itself.
struct Handset {
    /// What went one way and came back. Codes do not stand in it.
    struct Exchange: Encodable {
        let sent: String
        let shown: String
        let continues: Bool
    }

    let phone: String
    let line: SimulatorLine
    /// Whether codes are sealed here (profile B).
    let seals: Bool
    private(set) var exchanges: [Exchange] = []
    private(set) var screen: SimulatorLine.Screen?
    /// The dialogue, and the last request of it.
    private var session = ""
    private var count = 0
    private var sent = SecretBytes([])

    init(phone: String, line: SimulatorLine, seals: Bool) {
        self.phone = phone
        self.line = line
        self.seals = seals
    }

    var isInCall: Bool { screen?.continues ?? false }

    /// The payment that the screen asks a code for.
    var asked: PaymentID? { isInCall ? PaymentPrompt.parse(screen?.text ?? "")?.payment : nil }

    mutating func dial(_ code: String) async throws {
        try await begin(UUID().uuidString, SecretBytes(Array(code.utf8)), shownAs: code)
    }

    /// Takes a dialogue that the network begins.
    mutating func take(_ session: String) async throws {
        try await begin(session, SecretBytes([]), shownAs: "(prompt)")
    }

    private mutating func begin(_ session: String, _ text: SecretBytes, shownAs: String) async throws {
        self.session = session
        count = 0
        try await exchange(text, shownAs: shownAs)
    }

    /// - Parameter shownAs: what the transcript says of it.
    mutating func type(_ text: SecretBytes, shownAs: String) async throws {
        guard isInCall else { throw UsageFailure("nothing is asked on the screen: dial first") }
        try await exchange(text, shownAs: shownAs)
    }

    /// The code for the payment on the screen: as it is, or sealed for what is on the screen and nothing else.
    mutating func give(_ code: SecretBytes) async throws {
        guard seals else { return try await type(code, shownAs: "(code)") }
        guard isInCall, let text = screen?.text, let prompt = PaymentPrompt.parse(text) else {
            throw UsageFailure("no payment on the screen asks for a code, so there is nothing to seal it for")
        }
        guard let key = try await line.keys().first else {
            throw EnvironmentFailure("the issuer names no key to seal codes to", advice: "Run 'ecard init' there")
        }
        let context = CodeContext(
            payment: prompt.payment, promptDigest: Array(SHA256.hash(data: Data(text.utf8))), phone: phone,
            expiresAt: prompt.expiresAt)
        let sealed = try CodeSealing.seal(code, to: key, form: .compact, context: context)
        let typed = CodeSealing.text(sealed, digitsOnly: false)
        try await type(SecretBytes(Array(typed.utf8)), shownAs: "(sealed code)")
    }

    /// The same request again, as gateways send it that got no answer.
    mutating func again() async throws {
        guard count > 0 else { throw UsageFailure("nothing was sent yet: dial first") }
        count -= 1
        try await exchange(sent, shownAs: "(again)")
    }

    mutating func hangUp() { screen = nil }

    private mutating func exchange(_ text: SecretBytes, shownAs: String) async throws {
        let screen = try await line.send(session: session, phone: phone, count: count + 1, text: text)
        count += 1
        sent = text
        self.screen = screen
        exchanges.append(Exchange(sent: shownAs, shown: screen.text, continues: screen.continues))
    }
}

extension SimulatorLine.Message {
    private static let code = OutgoingMessage.Kind.code.rawValue

    /// For a transcript: what brings a code is told without its words.
    var told: String { kind == Self.code ? "(a code)" : body }

    /// The code that this message brings for a payment: its last number of 3 to 8 digits, which stands by itself.
    func oneTimeCode(for payment: PaymentID) -> SecretBytes? {
        guard kind == Self.code, reference == OneTimeCode.messageReference(payment),
            let number = body.matches(of: #/(?<before>^|[^0-9.])(?<code>[0-9]{3,8})(?=$|[^0-9.])/#).last
        else { return nil }
        return SecretBytes(Array(number.code.utf8))
    }
}
