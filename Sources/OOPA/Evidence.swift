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

    /// A record as it is signed, made before the session is borrowed: the token's time is others' too.
    public struct Draft: Sendable {
        private let payload: String

        public init(_ record: EvidenceRecord) throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            payload = Array(try encoder.encode(record)).base64URL
        }

        /// - Parameter key: a P-256 key pair that signs; the session's.
        public func signed(with key: KeyHandle, in session: any KeySession) throws -> String {
            let input = Evidence.header(try session.publicKey(of: key)) + "." + payload
            return input + "." + (try session.signature(of: Array(input.utf8), with: key).base64URL)
        }
    }

    /// - Returns: what was signed.
    /// - Throws: ``Refusal`` for anything that this key did not sign as evidence.
    public static func verify(_ text: String, with key: P256PublicKey) throws -> EvidenceRecord {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let header = [UInt8](base64URL: parts[0]), let payload = [UInt8](base64URL: parts[1]),
            let signature = [UInt8](base64URL: parts[2]),
            let header = try? JSONDecoder().decode(Header.self, from: Data(header))
        else { throw Refusal(description: "it is no JWS in compact form (RFC 7515, 3.1)") }
        guard header.alg == algorithm, header.typ == type, header.crit == nil else {
            throw Refusal(description: "its header does not say that it is evidence signed with ES256")
        }
        guard header.kid == key.jwkThumbprint else {
            throw Refusal(description: "it names the key \(header.kid.prefix(64)), and this is \(key.jwkThumbprint)")
        }
        guard key.verifies(signature, of: Array("\(parts[0]).\(parts[1])".utf8)) else {
            throw Refusal(description: "the signature is not this key's: it was changed, or somebody else wrote it")
        }
        guard let record = try? JSONDecoder().decode(EvidenceRecord.self, from: Data(payload)), record.version == 1
        else {
            throw Refusal(description: "it is signed, but its form is not that of version 1")
        }
        return record
    }

    /// The members in the order of their names; no value has a character that JSON escapes.
    private static func header(_ key: P256PublicKey) -> String {
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
