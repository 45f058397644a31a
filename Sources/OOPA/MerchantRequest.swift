import ByteCoding
import CardData
import Crypto
import Foundation
import KeyCustody
import PaymentPorts

/// A merchant's signed request as it is kept: enough for anybody to see that the merchant's key signed it, and nothing of the
/// card. The body itself is the merchant's to bring; its digest stands in the signature base.
///
/// The digest is a plain SHA-256 (RFC 9530) and has no key, so a body with a card's number in it must have something else in it
/// that nobody can guess, which is not kept: whoever takes the request sees to that.
public struct MerchantRequest: Codable, Hashable, Sendable {
    /// What it asks for.
    public enum Action: String, Codable, Sendable, CaseIterable {
        case create, cancel, capture, refund

        /// Where it is asked.
        public func path(of payment: String) -> String {
            switch self {
            case .create: "/v1/payments"
            case .cancel: "/v1/payments/\(payment)/cancel"
            case .capture: "/v1/payments/\(payment)/capture"
            case .refund: "/v1/payments/\(payment)/refunds"
            }
        }
    }

    /// The signature base (RFC 9421, 2.5), word for word: what was signed.
    public let base: String
    /// r ‖ s, 64 bytes, base64url.
    public let signature: String
    /// The merchant's key as it was registered: SubjectPublicKeyInfo as PEM.
    public let publicKey: String
    /// Milliseconds since 1970-01-01 UTC.
    public let receivedAt: Int64

    init(base: SignatureBase, signature: [UInt8], key: P256PublicKey, receivedAt: Timestamp) {
        self.base = base.text
        self.signature = signature.base64URL
        publicKey = key.pem
        self.receivedAt = receivedAt.milliseconds
    }

    /// SHA-256 of the signature base, base64url: two requests that differ in anything have two.
    public var id: String { Array(SHA256.hash(data: Array(base.utf8))).base64URL }

    /// Which key signed it, as its thumbprint (RFC 7638).
    public var keyID: String? { P256PublicKey(pem: publicKey)?.jwkThumbprint }

    /// `Content-Digest` of the body (RFC 9530): `sha-256=:…:`.
    public var contentDigest: String? { try? SignatureBase(parsing: base)["content-digest"] }

    /// What it asks for of `payment`; `nil` for none of its requests.
    public func action(on payment: String) -> Action? {
        let path = try? SignatureBase(parsing: base)["@path"]
        return Action.allCases.first { $0.path(of: payment) == path }
    }

    /// Checks without bank or token that the merchant's key signed it as a request about `payment`.
    /// - Throws: ``Evidence/Refusal``.
    func check(about payment: String, allowed: Set<Action>) throws {
        guard let key = P256PublicKey(pem: publicKey), let base = try? SignatureBase(parsing: base),
            base.parameters.tag == RequestSignature.tag, base.parameters.keyID == key.jwkThumbprint,
            base["@method"] == "POST", base["content-digest"] != nil, base["idempotency-key"] != nil
        else { throw Evidence.Refusal(description: "the merchant's request in it is none (RFC 9421)") }
        guard let action = action(on: payment), allowed.contains(action) else {
            throw Evidence.Refusal(description: "the merchant's request in it is not about this payment")
        }
        guard let signature = [UInt8](base64URL: signature), key.verifies(signature, of: Array(base.text.utf8)) else {
            throw Evidence.Refusal(description: "the merchant's signature in it is not that of the merchant's key")
        }
    }

    /// As the bank's books keep it.
    /// - Parameter signed: the bank's own record of it; `nil` where the payment's signed record holds it.
    func kept(for payment: PaymentID, signed: String?) throws -> KeptRequest {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return KeptRequest(
            id: id, payment: payment, text: String(decoding: try encoder.encode(self), as: UTF8.self), signed: signed,
            at: Timestamp(milliseconds: receivedAt))
    }

    init(_ kept: KeptRequest) throws {
        self = try JSONDecoder().decode(MerchantRequest.self, from: Data(kept.text.utf8))
    }
}

/// The bank's record of a signed request that came after the payment's own record: it captures, refunds or gives back a hold.
/// That it was asked is certain; what became of it stands in the payment's steps.
public struct RequestRecord: Codable, Hashable, Sendable {
    /// Of this form: 1.
    public let version: Int
    public let payment: String
    /// Whether it is about real money.
    public let live: Bool
    public let merchant: EvidenceRecord.Merchant
    /// How much was to be captured, refunded or given back; of a request without an amount, what the bank knew to be left.
    public let amount: EvidenceRecord.Amount
    public let request: MerchantRequest

    init(_ payment: OnlinePayment, minorUnits: Int64, request: MerchantRequest) {
        version = 1
        self.payment = payment.id.rawValue
        live = payment.isLive
        merchant = EvidenceRecord.Merchant(id: payment.merchant.rawValue, name: payment.merchantName)
        amount = EvidenceRecord.Amount(minorUnits: minorUnits, currency: payment.amount.currency.code)
        self.request = request
    }
}
