import ByteCoding
import Crypto
import Foundation

@testable import OOPA

/// What merchants sign: the fields of RFC 9421, and bases that were kept.
extension FuzzTarget {
    static let signedRequest = FuzzTarget("signed-request", limit: 2048) { bytes in
        guard let text = String(validating: bytes, as: UTF8.self) else { return }
        if let base = try refusing({ try SignatureBase(parsing: text) }) {
            try require(base.text == text, "the base is written otherwise than it was read")
            let again = try SignatureBase(base.parameters) { base[String($0.dropFirst().dropLast())] }
            try require(again == base, "its own values make another base")
        }
        // Signature-Input, then Signature.
        let fields = text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard
            let signed = try refusing({
                try HTTPSignature(input: fields[0], signature: fields.last ?? "", tag: RequestSignature.tag)
            })
        else { return }
        let parameters = signed.parameters
        try require(parameters.tag == RequestSignature.tag, "a signature for something else was taken")
        try require(try SignatureParameters(parsing: parameters.text) == parameters, "the parameters do not come back")
        let base = try refusing { try SignatureBase(parameters) { "\($0.utf8.count)" } }
        if let base { try require(try SignatureBase(parsing: base.text) == base, "the base does not come back") }
    }

    /// `nil` for what was refused as it should be.
    private static func refusing<Value>(_ make: () throws -> Value) throws -> Value? {
        do { return try make() } catch is RequestSignatureError { return nil }
    }
}
