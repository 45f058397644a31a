import ByteCoding
import Crypto
import Foundation
public import KeyCustody

/// Evidence as a signed text: JWS compact serialization (RFC 7515, 3.1) with ES256 (RFC 7518, 3.4). The signature is made in
/// the bank's token; whoever has the public key verifies it, without token and without this tool.
///
/// The payload is the record's JSON with its members in the order of their names.
public enum Evidence {
    /// Why a text is no evidence.
    public struct Refusal: Error, Hashable, Sendable, CustomStringConvertible {
        public let description: String
    }

    private struct Header: Decodable {
        let alg: String
        /// Which key: the JWK thumbprint of its public half (RFC 7638).
        let kid: String
        /// Says what it is, so that no other signed text of the same key passes for it (RFC 8725, 3.11).
        let typ: String
        /// What a reader must understand; here nothing.
        var crit: [String]?
    }

    private static let algorithm = "ES256"
    static let type = "ecard-evidence+jws"
    /// Of the record of a merchant's request that came after the payment's.
    static let requestType = "ecard-request+jws"

    /// What was signed.
    public enum Statement: Hashable, Sendable {
        case payment(EvidenceRecord)
        case request(RequestRecord)
    }

    /// A record as it is signed, made before the session is borrowed: the token's time is others' too.
    public struct Draft: Sendable {
        private let payload: String
        private let type: String

        public init(_ record: EvidenceRecord) throws { try self.init(record, type: Evidence.type) }
        init(_ record: RequestRecord) throws { try self.init(record, type: Evidence.requestType) }

        private init(_ record: some Encodable, type: String) throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            payload = Array(try encoder.encode(record)).base64URL
            self.type = type
        }

        /// - Parameter key: a P-256 key pair that signs; the session's.
        public func signed(with key: KeyHandle, in session: any KeySession) throws -> String {
            let input = Evidence.header(try session.publicKey(of: key), type) + "." + payload
            return input + "." + (try session.signature(of: Array(input.utf8), with: key).base64URL)
        }
    }

    /// - Returns: the record of a payment that was signed.
    /// - Throws: ``Refusal`` for anything that this key did not sign as one.
    public static func verify(_ text: String, with key: P256PublicKey) throws -> EvidenceRecord {
        guard case .payment(let record) = try read(text, with: key) else {
            throw Refusal(description: "it is the record of a merchant's request, not of a payment")
        }
        return record
    }

    /// Checks the bank's signature, and the merchant's signatures over its requests.
    /// - Returns: what was signed.
    /// - Throws: ``Refusal`` for anything that this key did not sign as evidence.
    public static func read(_ text: String, with key: P256PublicKey) throws -> Statement {
        let (type, payload) = try payload(of: text, with: key)
        if type == Evidence.type {
            let record = try decode(EvidenceRecord.self, from: payload, version: \.version)
            for (index, request) in (record.requests ?? []).enumerated() {
                try request.check(about: record.payment, allowed: index == 0 ? [.create, .cancel] : [.cancel])
            }
            return .payment(record)
        }
        let record = try decode(RequestRecord.self, from: payload, version: \.version)
        try record.request.check(about: record.payment, allowed: [.cancel, .capture, .refund])
        return .request(record)
    }

    /// The payment that a record names. Its signature is not looked at.
    /// - Throws: ``Refusal`` for what is no record.
    public static func payment(of text: String) throws -> String {
        struct About: Decodable {
            let payment: String
        }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let payload = [UInt8](base64URL: parts[1]),
            let about = try? JSONDecoder().decode(About.self, from: Data(payload))
        else { throw Refusal(description: "it is no JWS in compact form (RFC 7515, 3.1)") }
        return about.payment
    }

    private static func decode<Record: Decodable>(
        _ type: Record.Type, from payload: [UInt8], version: KeyPath<Record, Int>
    ) throws -> Record {
        guard let record = try? JSONDecoder().decode(type, from: Data(payload)), record[keyPath: version] == 1 else {
            throw Refusal(description: "it is signed, but its form is not that of version 1")
        }
        return record
    }

    private static func payload(of text: String, with key: P256PublicKey) throws -> (type: String, payload: [UInt8]) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let header = [UInt8](base64URL: parts[0]), let payload = [UInt8](base64URL: parts[1]),
            let signature = [UInt8](base64URL: parts[2]),
            let header = try? JSONDecoder().decode(Header.self, from: Data(header))
        else { throw Refusal(description: "it is no JWS in compact form (RFC 7515, 3.1)") }
        guard header.alg == algorithm, [type, requestType].contains(header.typ), header.crit == nil else {
            throw Refusal(description: "its header does not say that it is evidence signed with ES256")
        }
        guard header.kid == key.jwkThumbprint else {
            throw Refusal(description: "it names the key \(header.kid.prefix(64)), and this is \(key.jwkThumbprint)")
        }
        guard key.verifies(signature, of: Array("\(parts[0]).\(parts[1])".utf8)) else {
            throw Refusal(description: "the signature is not this key's: it was changed, or somebody else wrote it")
        }
        return (header.typ, payload)
    }

    /// The members in the order of their names; no value has a character that JSON escapes.
    private static func header(_ key: P256PublicKey, _ type: String) -> String {
        Array(#"{"alg":"\#(algorithm)","kid":"\#(key.jwkThumbprint)","typ":"\#(type)"}"#.utf8).base64URL
    }
}

extension P256PublicKey {
    /// SHA-256 of the key's JWK with nothing but its required members, base64url (RFC 7638, 3): the key's name.
    public var jwkThumbprint: String {
        let jwk = #"{"crv":"P-256","kty":"EC","x":"\#(x.base64URL)","y":"\#(y.base64URL)"}"#
        return Array(SHA256.hash(data: Array(jwk.utf8))).base64URL
    }

    /// SubjectPublicKeyInfo (RFC 5480, 2) as PEM.
    public var pem: String {
        // A point that was validated is one that swift-crypto takes.
        (try? P256.Signing.PublicKey(x963Representation: point).pemRepresentation) ?? ""
    }

    /// A public key from PEM; `nil` when it is no P-256 key.
    public init?(pem: String) {
        guard let key = try? P256.Signing.PublicKey(pemRepresentation: pem) else { return nil }
        self.init(point: Array(key.x963Representation))
    }
}
