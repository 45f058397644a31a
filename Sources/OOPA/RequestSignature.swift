import ByteCoding
import Crypto
import Foundation
public import KeyCustody
public import PaymentPorts

/// Why a merchant's signature over a request was not taken. No text of it repeats a value of the request.
public struct RequestSignatureError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What programs are told.
    public enum Kind: String, Sendable, CaseIterable {
        /// There is none, and this merchant's requests must have one.
        case missing = "signature_missing"
        /// Its fields are not what RFC 9421 says.
        case malformed = "signature_malformed"
        /// It covers too little, or what must not be kept.
        case coverage = "signature_coverage"
        /// Made too long ago, or in the future.
        case time = "signature_time"
        /// Nobody registered the key, it has ended, or it is another merchant's or mode's.
        case unknownKey = "signature_key_unknown"
        /// `Content-Digest` is not the body's.
        case digest = "content_digest_mismatch"
        /// The key did not sign this.
        case invalid = "signature_invalid"
    }

    public let kind: Kind
    public let description: String

    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// What a merchant's signature over a request must be: RFC 9421 with ECDSA on P-256 and SHA-256 (3.3.4), and `Content-Digest`
/// (RFC 9530). The private key is the merchant's alone, so neither bank nor merchant can deny what it signed.
///
/// What is covered is kept, and shown to others: so nothing may be covered that is a secret (`authorization`), and the card's
/// number stands in the body, of which only the digest is covered. That digest tells nothing as long as the body has a nonce.
public enum RequestSignature {
    /// Says what the signature is for, so that none made for something else passes for it (RFC 9421, 7.2.1).
    public static let tag = "ecard-merchant-request"
    public static let algorithm = "ecdsa-p256-sha256"
    /// How old a signature may be, and how far ahead the merchant's clock, in seconds.
    static let age: Int64 = 300
    static let skew: Int64 = 60

    /// What to cover, as `Accept-Signature` says it (RFC 9421, 5.1).
    public static let wanted = """
        ecard=("@method" "@authority" "@path" "content-digest" "idempotency-key");created;keyid;alg="\(algorithm)";\
        tag="\(tag)"
        """

    /// A request as far as it can be signed.
    public struct Message: Sendable {
        public let method: String
        /// `http` or `https`: that of the connection.
        public let scheme: String
        /// Host and port as the request has them.
        public let authority: String
        /// With no query.
        public let path: String
        /// Behind the question mark; `nil` without one.
        public let query: String?
        /// The fields of the request that may be covered, by name in lower case; several of one name joined by `, `.
        public let fields: [String: String]
        public let body: [UInt8]
        /// Whether it changes something, so that it is kept.
        public let changes: Bool

        public init(
            method: String, scheme: String, authority: String, path: String, query: String?, fields: [String: String],
            body: [UInt8], changes: Bool
        ) {
            self.method = method
            self.scheme = scheme
            self.authority = authority
            self.path = path
            self.query = query
            self.fields = fields
            self.body = body
            self.changes = changes
        }

        /// RFC 9421, 2.1 and 2.2.
        func value(of component: String) -> String? {
            switch component {
            case "\"@method\"": method
            case "\"@authority\"": normalizedAuthority
            case "\"@path\"": path.isEmpty ? "/" : path
            case "\"@query\"": "?" + (query ?? "")
            default: fields[String(component.dropFirst().dropLast())]
            }
        }

        /// In lower case and without the scheme's own port (RFC 9421, 2.2.3; RFC 9110, 4.2.3).
        private var normalizedAuthority: String {
            let authority = authority.lowercased()
            for end in [scheme == "https" ? ":443" : ":80", ":"] where authority.hasSuffix(end) {
                return String(authority.dropLast(end.count))
            }
            return authority
        }

        fileprivate var mustCover: [String] {
            ["@method", "@authority", "@path"] + (query == nil ? [] : ["@query"])
                + (changes ? ["content-digest", "idempotency-key"] : [])
        }
    }

    /// Fields that may be covered: those that are no secret.
    public static let fields = ["content-digest", "content-type", "content-length", "idempotency-key"]
    private static let mayCover = Set((["@method", "@authority", "@path", "@query"] + fields).map { "\"\($0)\"" })

    /// Verifies a request's signature.
    /// - Parameters:
    ///   - input: the field `Signature-Input`.
    ///   - signature: the field `Signature`.
    ///   - key: the registered key of this merchant and mode with this identifier.
    /// - Returns: what is kept of it.
    /// - Throws: ``RequestSignatureError``, or what `key` throws.
    public static func verify(
        _ message: Message, input: String, signature: String, at time: Timestamp,
        key: (String) async throws -> P256PublicKey?
    ) async throws -> MerchantRequest {
        let signed = try HTTPSignature(input: input, signature: signature, tag: tag)
        try check(signed.parameters, covers: message)
        try check(signed.parameters, at: time)
        guard let keyID = signed.parameters.keyID, let key = try await key(keyID) else {
            throw RequestSignatureError(
                .unknownKey,
                "keyid names no key that is registered for this merchant and mode, and in use. The bank registers it with "
                    + "'ecard merchant signing-key add', which prints the keyid")
        }
        if message.fields["content-digest"] != nil || message.changes { try checkDigest(of: message) }
        let base = try SignatureBase(signed.parameters, value: message.value)
        guard key.verifies(signed.signature, of: Array(base.text.utf8)) else {
            throw RequestSignatureError(
                .invalid,
                "the signature is not this key's over this request. It is r and s, 32 bytes each, over the SHA-256 of the "
                    + "signature base (RFC 9421, 2.5 and 3.3.4); method, authority, path and each covered field must be what "
                    + "was sent")
        }
        return MerchantRequest(base: base, signature: signed.signature, key: key, receivedAt: time)
    }

    private static func check(_ parameters: SignatureParameters, covers message: Message) throws {
        guard Set(parameters.components).isSubset(of: mayCover) else {
            throw RequestSignatureError(
                .coverage,
                "what is covered is kept and shown to others, so nothing may be but @method, @authority, @path, @query, "
                    + fields.joined(separator: ", ") + ", without parameters of their own")
        }
        for name in message.mustCover where !parameters.components.contains("\"\(name)\"") {
            throw RequestSignatureError(.coverage, "\(name) must be covered")
        }
        if message.changes, message.fields["idempotency-key"] == nil {
            throw RequestSignatureError(
                .coverage, "a signed request needs an Idempotency-Key, so that it is done once however often it is sent"
            )
        }
    }

    private static func check(_ parameters: SignatureParameters, at time: Timestamp) throws {
        guard parameters.algorithm ?? algorithm == algorithm else {
            throw RequestSignatureError(.malformed, "alg is \(algorithm), or left out")
        }
        guard parameters.nonce?.utf8.count ?? 0 <= 128 else {
            throw RequestSignatureError(.malformed, "nonce has more than 128 characters")
        }
        let now = time.milliseconds / 1000
        guard let created = parameters.created, created >= now - age, created <= now + skew,
            parameters.expires ?? .max > now
        else {
            throw RequestSignatureError(
                .time,
                "created must be there, at most \(age) seconds ago and \(skew) ahead, and expires not over. It is \(now) here: "
                    + "set the clock, and sign each request when it is sent")
        }
    }

    private static func checkDigest(of message: Message) throws {
        guard let field = message.fields["content-digest"],
            let digest = HTTPSignature.bytes(of: "sha-256", in: field)
        else {
            throw RequestSignatureError(
                .digest, "Content-Digest with sha-256 is wanted (RFC 9530, 2), of an empty body too")
        }
        guard constantTimeEqual(digest, Array(SHA256.hash(data: message.body))) else {
            throw RequestSignatureError(.digest, "Content-Digest is not that of the body: it was changed on the way")
        }
    }
}
