public import ByteCoding
public import PaymentPorts

/// What a person did on a telephone, as its gateway tells it.
public struct USSDRequest: Sendable {
    public enum Kind: Sendable {
        /// Dialled.
        case begin
        /// Typed something on a screen that asked.
        case input
        /// Hung up, or was too slow: nothing is shown any more.
        case end
    }

    /// ``USSDGateway/name``.
    public let gateway: String
    /// The gateway's identifier of the dialogue, 1 to 128 bytes.
    public let session: String
    /// E.164. To be believed, the gateway must have been authenticated.
    public let phone: String
    public let kind: Kind
    /// What was typed last. It may be a code.
    public let text: SecretBytes
    /// The place of this request in its dialogue, where the gateway counts: one more at each.
    public let sequence: Int?
    /// What the gateway's screens hold.
    public let limit: USSDLimit
    /// What the gateway wants to read again in the answer; nothing is made of it.
    public let echo: String?
    /// The payment that we had the gateway begin this dialogue for; `nil` where the holder dialled.
    public let pushed: PaymentID?

    public init(
        gateway: String, session: String, phone: String, kind: Kind, text: SecretBytes, sequence: Int? = nil,
        limit: USSDLimit = .network, echo: String? = nil, pushed: PaymentID? = nil
    ) {
        self.gateway = gateway
        self.session = session
        self.phone = phone
        self.kind = kind
        self.text = text
        self.sequence = sequence
        self.limit = limit
        self.echo = echo
        self.pushed = pushed
    }
}

public struct USSDAnswer: Sendable {
    public let text: USSDText
    /// Whether the telephone waits for input.
    public let continues: Bool
    /// Why the holder got an excuse, for the log of whoever runs the bank; holds no code.
    public let failure: String?
    /// The payment that it is about, for the log too.
    public var payment: PaymentID?

    public init(text: USSDText, continues: Bool, failure: String? = nil) {
        self.text = text
        self.continues = continues
        self.failure = failure
    }
}

/// The format of one gateway's callbacks. Who calls is authenticated before a body is read.
public protocol USSDGateway: Sendable {
    /// As paths and records have it: `africastalking`.
    static var name: String { get }
    /// What its screens hold.
    static var limit: USSDLimit { get }
    /// - Throws: ``USSDRequestError`` with the field that is wrong. Fields that nobody reads are ignored.
    static func request(from body: [UInt8], contentType: String?) throws -> USSDRequest
    static func response(to request: USSDRequest, with answer: USSDAnswer) -> (contentType: String, body: [UInt8])
}

extension USSDGateway {
    public static var limit: USSDLimit { .network }
}

/// Where a callback is wrong. It repeats nothing of what was sent: that may hold a code.
public struct USSDRequestError: Error, Hashable, Sendable, CustomStringConvertible {
    public let gateway: String
    /// A field's name, or `body`.
    public let place: String
    public let problem: String

    public init(gateway: String, place: String, problem: String) {
        self.gateway = gateway
        self.place = place
        self.problem = problem
    }

    public var description: String { "callback of \(gateway): \(place): \(problem)" }
}

/// What all gateways' callbacks have in common.
struct CallbackRules {
    /// Bytes of a body. The longest input is a sealed code of 143 characters; a cumulative text repeats the whole dialogue.
    static let bodyLimit = 8192
    /// Bytes of an identifier of a dialogue.
    static let sessionLimit = 128

    let gateway: String

    func mistake(_ place: String, _ problem: String) -> USSDRequestError {
        USSDRequestError(gateway: gateway, place: place, problem: problem)
    }

    /// Refuses a body that is too long or says that it is something else.
    func check(_ body: [UInt8], _ contentType: String?, is wanted: String) throws(USSDRequestError) {
        guard body.count <= Self.bodyLimit else {
            throw mistake("body", "\(body.count) bytes, at most \(Self.bodyLimit) are taken")
        }
        let given = contentType?.split(separator: ";").first?.filter { $0 != " " }.lowercased()
        if let given, given != wanted { throw mistake("Content-Type", "\(wanted) wanted") }
    }

    func session(_ text: String?, field: String) throws(USSDRequestError) -> String {
        guard let text, (1...Self.sessionLimit).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw mistake(field, "1 to \(Self.sessionLimit) printed ASCII characters wanted")
        }
        return text
    }

    func phone(_ text: String?, field: String) throws(USSDRequestError) -> String {
        guard let text, let phone = MSISDN.normalized(text) else {
            throw mistake(field, "a telephone number with its country code wanted, such as 233201234567")
        }
        return phone
    }
}
