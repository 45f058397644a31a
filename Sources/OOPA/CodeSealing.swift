public import ByteCoding
import Foundation
import Issuing
public import KeyCustody
public import PaymentPorts

/// What a sealed code is good for: this payment, this prompt, this telephone, until then. It is authenticated with the code
/// (associated data), so that a ciphertext opens for nothing else.
public struct CodeContext: Hashable, Sendable {
    /// As HPKE takes it. Lengths are two bytes, big-endian:
    ///
    ///     length ‖ payment identifier (ASCII) ‖ SHA-256 of the prompt (32) ‖ length ‖ telephone (E.164, ASCII)
    ///     ‖ expiry (8: seconds since 1970-01-01 UTC, big-endian)
    public let associatedData: [UInt8]

    /// - Parameters:
    ///   - promptDigest: SHA-256 of the prompt's UTF-8, byte for byte as it was shown; 32 bytes.
    ///   - phone: E.164 with `+`.
    ///   - expiresAt: as the prompt said; parts of a second do not count.
    public init(payment: PaymentID, promptDigest: [UInt8], phone: String, expiresAt: Timestamp) {
        let seconds = UInt64(bitPattern: expiresAt.milliseconds / 1000)
        associatedData =
            Self.field(payment.rawValue) + promptDigest + Self.field(phone) + seconds.bigEndianBytes
    }

    private static func field(_ text: String) -> [UInt8] {
        UInt16(clamping: text.utf8.count).bigEndianBytes + Array(text.utf8)
    }
}

/// Why a sealed code was not opened. None of it is for the holder, who is told that the code was not right.
public struct CodeSealingError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Kind: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        private init(_ description: String) { self.description = description }

        /// No sealed code by its length or form, or no digits inside.
        public static let malformed = Kind("this is no sealed code")
        /// Sealed to a version of the key that is not, or no longer, in the token.
        public static let unknownKey = Kind("the code was sealed to a key that is not in use")
        /// Changed, or made for another payment, prompt, telephone or time.
        public static let notAuthentic = Kind("the sealed code does not open for this payment")
    }

    public let kind: Kind
    public let advice: String

    init(_ kind: Kind, advice: String) {
        self.kind = kind
        self.advice = advice
    }

    public var description: String { "\(kind). \(advice)" }
}

/// Codes sealed to the issuer: processes O and Q of the paper ("encrypted"). The handset seals in profile B, the bank in every
/// other the moment the digits arrive; only the issuer's token opens (process R).
///
///     key id (1: version of the key) ‖ encapsulated key (32 or 65) ‖ ciphertext (3 to 8, as the code) ‖ tag (16)
public enum CodeSealing {
    /// How the encapsulated key is written. Which of the two a ciphertext is, its length tells.
    public enum Form: Sendable, CaseIterable {
        /// DHKEM(CP-256, HKDF-SHA256), 0x0013: 52 to 57 bytes. Fits a USSD string.
        case compact
        /// DHKEM(P-256, HKDF-SHA256), 0x0010: 85 to 90 bytes. What any HPKE library does.
        case uncompressed

        var kem: HybridEncryption.KEM {
            switch self {
            case .compact: .compactP256
            case .uncompressed: .p256
            }
        }

        /// Bytes that a sealed code may have.
        var lengths: ClosedRange<Int> {
            let rest = 1 + kem.length + HybridEncryption.AEAD.tagLength
            return rest + SecretCode.lengths.lowerBound...rest + SecretCode.lengths.upperBound
        }

        /// The form of a sealed code of so many bytes.
        static func of(length: Int) -> Form? { allCases.first { $0.lengths.contains(length) } }
    }

    /// `info` of RFC 9180, 5.1: what the key is used for.
    static let purpose = Array("ecard code 1".utf8)

    /// Seals on the host: a public-key operation, with a fresh key each time. Two ciphertexts of one code have nothing in
    /// common.
    /// - Parameter code: 3 to 8 ASCII digits.
    /// - Throws: ``CodeSealingError`` `.malformed` for anything else, `.unknownKey` for a key that is no point of P-256.
    public static func seal(
        _ code: SecretBytes, to key: CodeSealingKey, form: Form, context: CodeContext
    ) throws -> [UInt8] {
        guard isCode(code) else {
            throw CodeSealingError(.malformed, advice: "A code has \(SecretCode.lengths) digits")
        }
        guard key.id > 0, let recipient = P256PublicKey(point: key.publicKey) else {
            throw CodeSealingError(.unknownKey, advice: "The issuer's public key is none: ask the issuer for its keys")
        }
        return [key.id]
            + (try HybridEncryption.seal(
                code, to: recipient, form.kem, info: purpose, associatedData: context.associatedData))
    }

    /// Opens in the issuer's token: the agreement is made there, with a private key that never leaves.
    /// - Throws: ``CodeSealingError``; `KeyStoreError` when the token fails, which says nothing about the code.
    public static func open(
        _ sealed: [UInt8], context: CodeContext, in session: any KeySession
    ) throws -> SecretBytes {
        guard let id = sealed.first, IssuerKey.versions.contains(Int(id)), let form = Form.of(length: sealed.count)
        else {
            throw CodeSealingError(
                .malformed, advice: "It has \(sealed.count) bytes; see 'The secret on the way' in docs/oopa.md")
        }
        let key: KeyHandle
        do throws(KeyStoreError) {
            key = try session.key(.codeSeal, Int(id))
        } catch {
            guard error.kind == .keyNotFound else { throw error }
            throw CodeSealingError(
                .unknownKey, advice: "Version \(id) is not in the token: the sender must ask for the keys again")
        }
        let code: SecretBytes
        do {
            code = try HybridEncryption.open(
                Array(sealed.dropFirst()), of: session.publicKey(of: key), form.kem, info: purpose,
                associatedData: context.associatedData
            ) { try session.sharedSecret(of: key, with: $0) }
        } catch is HybridEncryption.Refusal {
            throw CodeSealingError(
                .notAuthentic, advice: "It was changed, or sealed for another payment, prompt, telephone or time")
        }
        guard isCode(code) else {
            throw CodeSealingError(.malformed, advice: "What is inside are no \(SecretCode.lengths) digits")
        }
        return code
    }

    /// The public keys that codes may be sealed to now, the newest first; each has shown that its private half is in the
    /// token.
    public static func keys(
        _ versions: KeyVersions, in session: any KeySession
    ) throws(KeyStoreError) -> [CodeSealingKey] {
        var keys: [CodeSealingKey] = []
        for version in versions.live(.codeSeal).reversed() {
            do throws(KeyStoreError) {
                let point = try session.provenPublicKey(of: session.key(.codeSeal, version)).point
                keys.append(CodeSealingKey(id: UInt8(version), publicKey: point))
            } catch {
                // An issuer of before there were online payments: 'ecard init' makes the key.
                guard error.kind == .keyNotFound, IssuerKey.codeSeal.mayBeLacking(version) else { throw error }
            }
        }
        return keys
    }

    private static func isCode(_ code: SecretBytes) -> Bool {
        SecretCode.lengths.contains(code.count)
            && code.withBytes { $0.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } }
    }
}
