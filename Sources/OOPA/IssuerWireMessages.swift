import CardData
import Foundation
import PaymentPorts

/// The messages of ``IssuerWire``. Verdicts, routes, standings and cards travel as they are.
extension IssuerWire {
    struct Inquiry: Codable {
        let payment: PaymentID
        let pan: String
        /// `YYMM`
        let expiry: String
        let name: String?
        let minorUnits: Int64
        let currency: String
        let merchant: MerchantID
        let merchantName: String
        let capturesLater: Bool
        let expiresAt: Timestamp

        enum CodingKeys: String, CodingKey, CaseIterable {
            case payment, pan, expiry, name, minorUnits, currency, merchant, merchantName, capturesLater, expiresAt
        }

        init(_ inquiry: FundsInquiry) {
            payment = inquiry.payment
            pan = inquiry.pan.digits
            expiry = inquiry.expiry.yymm
            name = inquiry.name?.text
            minorUnits = inquiry.amount.minorUnits
            currency = inquiry.amount.currency.code
            merchant = inquiry.merchant
            merchantName = inquiry.merchantName
            capturesLater = inquiry.capturesLater
            expiresAt = inquiry.expiresAt
        }

        func inquiry() throws -> FundsInquiry {
            FundsInquiry(
                payment: payment, pan: try PAN(pan), expiry: try ExpiryDate(yymm: expiry),
                name: try name.map { try CardholderName($0) },
                amount: Money(minorUnits: minorUnits, currency: try Currency(currency)), merchant: merchant,
                merchantName: merchantName, capturesLater: capturesLater, expiresAt: expiresAt)
        }
    }

    /// One try of the holder's (``CodeAuthorization``).
    struct Try: Codable {
        let payment: PaymentID
        let attempt: Int
        let sealedCode: Data
        let profile: CodeProfile
        let promptDigest: Data
        let phone: String
        let expiresAt: Timestamp

        enum CodingKeys: String, CodingKey, CaseIterable {
            case payment, attempt, sealedCode, profile, promptDigest, phone, expiresAt
        }

        init(_ request: CodeAuthorization) {
            payment = request.payment
            attempt = request.attempt
            sealedCode = Data(request.sealedCode)
            profile = request.profile
            promptDigest = Data(request.promptDigest)
            phone = request.phone
            expiresAt = request.expiresAt
        }

        var request: CodeAuthorization {
            CodeAuthorization(
                payment: payment, attempt: attempt, sealedCode: Array(sealedCode), profile: profile,
                promptDigest: Array(promptDigest), phone: phone, expiresAt: expiresAt)
        }
    }

    /// What the calls name that tell of no inquiry and no try. Each takes of it what is its own.
    struct Named: Codable {
        var payment: PaymentID?
        var minorUnits: Int64?
        var key: String?
        var reason: String?
        var card: CardID?
        var phone: String?
        var language: String?
    }

    /// A public key of the issuer's (``CodeSealingKey``).
    struct SealingKey: Codable {
        let id: UInt8
        let publicKey: Data

        init(_ key: CodeSealingKey) {
            id = key.id
            publicKey = Data(key.publicKey)
        }

        var key: CodeSealingKey { CodeSealingKey(id: id, publicKey: Array(publicKey)) }
    }

    struct Refusal: Codable {
        let kind: IssuerServiceError.Kind
        let reason: String
        let advice: String
    }

    struct Done: Codable {}
}
