import CardData
import Foundation
import HTTPTypes

/// Reads a request's JSON: UTF-8, strict grammar, no member twice and none that the request does not have, and a place in every
/// error. The texts never repeat a value.
enum StrictJSON {
    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        // Foundation would take UTF-16 and UTF-32, too, which has zeros.
        guard !bytes.contains(0), String(validating: bytes, as: UTF8.self) != nil else {
            throw APIError(.badRequest, .invalidRequest, "json_invalid", "The body is not JSON in UTF-8 (RFC 8259).")
        }
        try JSONScan.check(bytes)
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch let error as DecodingError {
            throw refusal(error)
        }
    }

    private static func refusal(_ error: DecodingError) -> APIError {
        switch error {
        case .keyNotFound(let key, let context): .missing(path(context.codingPath + [key]))
        case .valueNotFound(_, let context) where context.codingPath.isEmpty,
            .typeMismatch(_, let context) where context.codingPath.isEmpty:
            APIError(.badRequest, .invalidRequest, "json_invalid", "The body must be a JSON object.")
        case .valueNotFound(_, let context): .missing(path(context.codingPath))
        case .typeMismatch(let type, let context):
            .invalid(path(context.codingPath), "\(name(of: type)) is wanted.")
        case .dataCorrupted(let context) where !context.codingPath.isEmpty:
            .invalid(path(context.codingPath), "The value is out of range or of the wrong form.")
        case .dataCorrupted:
            APIError(.badRequest, .invalidRequest, "json_invalid", "The body cannot be read.")
        @unknown default:
            APIError(.badRequest, .invalidRequest, "json_invalid", "The body cannot be read.")
        }
    }

    /// `card.number`
    static func path(_ keys: [any CodingKey]) -> String {
        keys.map { $0.intValue.map { "[\($0)]" } ?? String($0.stringValue.prefix(64)) }.joined(separator: ".")
    }

    private static func name(of type: any Any.Type) -> String {
        switch type {
        case is Int64.Type, is Int.Type: "A whole number"
        case is String.Type: "Text"
        case is Bool.Type: "true or false"
        default: "An object"
        }
    }
}

/// The members of one JSON object, each taken by its name; what the object does not have is refused.
struct StrictObject {
    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { nil }
    }

    private let members: KeyedDecodingContainer<Name>

    /// - Throws: ``APIError`` for a member that is none of `names`.
    init(_ decoder: any Decoder, _ names: Set<String>) throws {
        members = try decoder.container(keyedBy: Name.self)
        // In an order, so that the same request gets the same answer.
        let other = members.allKeys.filter { !names.contains($0.stringValue) }.min { $0.stringValue < $1.stringValue }
        if let key = other { throw APIError.unknown(StrictJSON.path(members.codingPath + [key])) }
    }

    func required<Value: Decodable>(_ name: String, _ type: Value.Type = Value.self) throws -> Value {
        try reading(name) { try members.decode(type, forKey: Name(name)) }
    }

    /// `nil` where it is left out or null.
    func optional<Value: Decodable>(_ name: String, _ type: Value.Type = Value.self) throws -> Value? {
        try reading(name) { try members.decodeIfPresent(type, forKey: Name(name)) }
    }

    /// Of a number that the type does not hold Foundation tells no place.
    private func reading<Value>(_ name: String, _ read: () throws -> Value) throws -> Value {
        do {
            return try read()
        } catch let error as DecodingError {
            throw error
        } catch let error as APIError {
            throw error
        } catch {
            throw APIError.invalid(
                StrictJSON.path(members.codingPath + [Name(name)]), "A whole number is wanted, and not so large a one.")
        }
    }

    /// Makes `value` with `make`; its failure is told of the member `name`.
    func making<Value>(_ name: String, _ make: () throws -> Value) throws -> Value {
        do {
            return try make()
        } catch let error as APIError {
            throw error
        } catch let error as CardDataError {
            throw APIError.invalid(StrictJSON.path(members.codingPath + [Name(name)]), "\(error.reason).")
        }
    }
}
