import ByteCoding
import Crypto
import Foundation
import KeyCustody

@testable import OOPA

/// What a telephone seals and what a stranger hands in as evidence.
extension FuzzTarget {
    private static let scalar = SecretBytes([UInt8](1...32))
    private static let ownKey = P256PublicKey(privateKey: scalar)
    private static let signingKey = scalar.withBytes {
        try? P256.Signing.PrivateKey(rawRepresentation: Data(buffer: $0))
    }

    /// The text that a telephone sends, and the bytes in it.
    static let sealedCode = FuzzTarget("sealed-code", limit: 256) { bytes in
        if let text = String(validating: bytes, as: UTF8.self) {
            if let plain = [UInt8](base64URL: text) { try require(plain.base64URL == text, "base64url comes back") }
            if let sealed = CodeSealing.parse(text: text) {
                let again = [true, false].map { CodeSealing.text(sealed, digitsOnly: $0) }
                try require(again.contains(text), "'\(text)' is not the text of its code")
                for text in again { try require(CodeSealing.parse(text: text) == sealed, "'\(text)' is another code") }
            }
        }
        guard let ownKey,
            let own = scalar.withBytes({ try? P256.KeyAgreement.PrivateKey(rawRepresentation: Data(buffer: $0)) })
        else { throw Violation("the sample key is none") }
        for kem in HybridEncryption.KEM.allCases {
            do {
                _ = try HybridEncryption.open(bytes, of: ownKey, kem, info: [], associatedData: []) { peer in
                    let other = try P256.KeyAgreement.PublicKey(x963Representation: peer.point)
                    return try own.sharedSecretFromKeyAgreement(with: other).withUnsafeBytes { SecretBytes(Array($0)) }
                }
                throw Violation("bytes that nobody sealed open")
            } catch is HybridEncryption.Refusal {}
        }
    }

    /// Evidence as it is handed in, and what a bank could have signed.
    static let evidence = FuzzTarget("evidence") { bytes in
        guard let ownKey, let signingKey else { throw Violation("the sample key is none") }
        guard let text = String(validating: bytes, as: UTF8.self) else { return }
        do {
            _ = try Evidence.read(text, with: ownKey)
            throw Violation("a text that nobody signed is evidence")
        } catch is Evidence.Refusal {}
        for type in [Evidence.type, Evidence.requestType] {
            let header = #"{"alg":"ES256","kid":"\#(ownKey.jwkThumbprint)","typ":"\#(type)"}"#
            let input = Array(header.utf8).base64URL + "." + bytes.base64URL
            let signature = Array(try signingKey.signature(for: Data(input.utf8)).rawRepresentation)
            do {
                switch try Evidence.read(input + "." + signature.base64URL, with: ownKey) {
                case .payment(let record): try require(record.version == 1, "version \(record.version) was taken")
                case .request: throw Violation("a request that no merchant signed was taken")
                }
            } catch is Evidence.Refusal {}
        }
    }
}
