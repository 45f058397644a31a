import Foundation
import RawStructuredFieldValues

/// What a signature over an HTTP message covers, and under which parameters: the value of `@signature-params` (RFC 9421,
/// 2.3), an inner list of structured fields (RFC 9651, 3.1.1).
public struct SignatureParameters: Hashable, Sendable {
    /// Component identifiers as they are written: `"@method"`, with the quotes and with what parameters they have.
    public let components: [String]
    /// Seconds since 1970-01-01 UTC.
    public let created: Int64?
    public let expires: Int64?
    public let keyID: String?
    public let algorithm: String?
    public let nonce: String?
    public let tag: String?
    /// As RFC 9651, 4.1.1.1 writes it: what goes into the signature base.
    public let text: String

    /// - Parameter text: such as `("@method" "@path");created=1618884473;keyid="…"`.
    /// - Throws: ``RequestSignatureError`` `.malformed`.
    public init(parsing text: String) throws {
        var parser = StructuredFieldValueParser(Array(text.utf8))
        guard let list = try? parser.parseListFieldValue(), list.count == 1, case .innerList(let inner) = list[0] else {
            throw RequestSignatureError(.malformed, "the signature's parameters are no inner list (RFC 9651, 3.1.1)")
        }
        try self.init(inner)
    }

    init(_ list: InnerList) throws {
        components = try list.bareInnerList.map { item in
            guard case .string = item.rfc9651BareItem else {
                throw RequestSignatureError(.malformed, "a covered component is no string (RFC 9421, 2)")
            }
            return try Self.written { try $0.writeItemFieldValue(item) }
        }
        guard Set(components).count == components.count else {
            throw RequestSignatureError(.malformed, "a component is covered twice (RFC 9421, 2)")
        }
        var numbers: [String: Int64] = [:]
        var words: [String: String] = [:]
        for (name, value) in list.rfc9651Parameters {
            switch (name, value) {
            case ("created", .integer(let number)), ("expires", .integer(let number)): numbers[name] = number
            case ("keyid", .string(let text)), ("alg", .string(let text)), ("nonce", .string(let text)),
                ("tag", .string(let text)):
                words[name] = text
            default:
                throw RequestSignatureError(
                    .malformed,
                    "Signature-Input has a parameter that is not created, expires, keyid, alg, nonce or tag, or is not "
                        + "of its type (RFC 9421, 2.3)")
            }
        }
        (created, expires) = (numbers["created"], numbers["expires"])
        (keyID, algorithm, nonce, tag) = (words["keyid"], words["alg"], words["nonce"], words["tag"])
        text = try Self.written { try $0.writeListFieldValue([.innerList(list)]) }
    }

    private static func written(_ write: (inout StructuredFieldValueSerializer) throws -> [UInt8]) throws -> String {
        var serializer = StructuredFieldValueSerializer()
        return String(decoding: try write(&serializer), as: UTF8.self)
    }
}

/// One signature of a message: its member of `Signature-Input` and its member of `Signature` (RFC 9421, 4).
public struct HTTPSignature: Hashable, Sendable {
    public let parameters: SignatureParameters
    public let signature: [UInt8]

    /// The one signature that was made for us. Others, of proxies on the way, are none of our business.
    /// - Parameter tag: what says so.
    /// - Throws: ``RequestSignatureError`` `.malformed`.
    public init(input: String, signature: String, tag: String) throws {
        var parser = StructuredFieldValueParser(Array(input.utf8))
        guard let members = try? parser.parseDictionaryFieldValue() else {
            throw RequestSignatureError(.malformed, "Signature-Input is no dictionary (RFC 9651, 3.2)")
        }
        let ours = try members.compactMap { label, value -> (String, SignatureParameters)? in
            guard case .innerList(let list) = value else {
                throw RequestSignatureError(.malformed, "a member of Signature-Input is no inner list (RFC 9421, 4.1)")
            }
            guard case .string(tag)? = list.rfc9651Parameters["tag"] else { return nil }
            return (label, try SignatureParameters(list))
        }
        guard ours.count == 1, let (label, parameters) = ours.first else {
            throw RequestSignatureError(.malformed, "one signature with tag=\"\(tag)\" is wanted")
        }
        guard let bytes = Self.bytes(of: label, in: signature) else {
            throw RequestSignatureError(
                .malformed, "Signature has no byte sequence under the label that Signature-Input uses (RFC 9421, 4.2)")
        }
        self.parameters = parameters
        self.signature = bytes
    }

    /// The byte sequence that a dictionary has under `label`; `nil` where it has none.
    static func bytes(of label: String, in dictionary: String) -> [UInt8]? {
        var parser = StructuredFieldValueParser(Array(dictionary.utf8))
        guard case .item(let item)? = (try? parser.parseDictionaryFieldValue())?[label],
            case .undecodedByteSequence(let text) = item.rfc9651BareItem
        else { return nil }
        return Data(base64Encoded: text).map { Array($0) }
    }
}
