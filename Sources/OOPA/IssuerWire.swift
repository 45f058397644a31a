import CardData
import Foundation
import PaymentPorts

/// What bank and issuer say to each other where they run apart: a JSON object (RFC 8259) each way, `POST` to the call's path,
/// over mutual TLS. Times are milliseconds since 1970 UTC, byte strings base64 (RFC 4648, 4). How it travels is not decided
/// here.
public enum IssuerWire {
    public enum Call: String, Sendable, CaseIterable {
        case sealingKeys = "sealing-keys"
        case checkFunds = "check-funds"
        case authorize, capture, refund, reverse, inquire, cards
        case block
        case setLanguage = "set-language"

        public var path: String { "/issuer/v1/\(rawValue)" }

        /// The members that its message may have. One with others was meant for something else, and is refused.
        var members: Set<String> {
            switch self {
            case .sealingKeys: []
            case .checkFunds: Set(Inquiry.CodingKeys.allCases.map(\.stringValue))
            case .authorize: Set(Try.CodingKeys.allCases.map(\.stringValue))
            case .capture: ["payment", "minorUnits"]
            case .refund: ["payment", "minorUnits", "key"]
            case .reverse: ["payment", "reason"]
            case .inquire: ["payment"]
            case .cards: ["phone"]
            case .block: ["card", "phone"]
            case .setLanguage: ["language", "phone"]
            }
        }
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

    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }

    static func decode<Value: Decodable>(_ type: Value.Type, _ body: [UInt8]) throws -> Value {
        try JSONDecoder().decode(type, from: Data(body))
    }

    fileprivate static let membersKey = CodingUserInfoKey(rawValue: "members")

    /// A call's message, which has members of the call alone.
    /// - Throws: ``IssuerServiceError`` `.refused` for others; `DecodingError`.
    static func decode<Message: Decodable>(_ type: Message.Type, of call: Call, _ body: [UInt8]) throws -> Message {
        let decoder = JSONDecoder()
        if let key = membersKey { decoder.userInfo[key] = call.members }
        return try decoder.decode(OnlyMembers<Message>.self, from: Data(body)).message
    }
}

/// Decodes a message after a look at the names of all that it has.
private struct OnlyMembers<Message: Decodable>: Decodable {
    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    let message: Message

    init(from decoder: any Decoder) throws {
        let allowed = IssuerWire.membersKey.flatMap { decoder.userInfo[$0] as? Set<String> } ?? []
        let given = try decoder.container(keyedBy: Name.self).allKeys
        guard given.allSatisfy({ allowed.contains($0.stringValue) }) else {
            throw IssuerServiceError(.refused, "the message has a member that its call does not know")
        }
        message = try Message(from: decoder)
    }
}
