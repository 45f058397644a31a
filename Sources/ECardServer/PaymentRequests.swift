import CardData
import Foundation
import Hummingbird
import OOPA
import PaymentPorts

/// The body of `POST /v1/payments`: card data without a CVV, an amount, and the merchant's own words.
struct PaymentRequest: Decodable {
    let card: CardRequest
    let amount: Money
    let capturesLater: Bool
    let reference: String?
    let details: String?
    /// Seconds that the holder has to answer.
    let lifetime: Int64?
    /// What makes the body's digest tell nothing. It is kept nowhere.
    let nonce: String?

    init(from decoder: any Decoder) throws {
        let fields = try StrictObject(
            decoder, ["amount", "currency", "capture", "card", "reference", "description", "expires_in", "nonce"])
        let minorUnits: Int64 = try fields.required("amount")
        guard (1...Money.maximumMinorUnits).contains(minorUnits) else {
            throw APIError.invalid("amount", "1 to \(Money.maximumMinorUnits) minor units are wanted.")
        }
        let code: String = try fields.required("currency")
        guard code.utf8.count == 3, code.utf8.allSatisfy({ $0 > 0x40 }),
            let currency = try? Currency(code.uppercased())
        else { throw APIError.invalid("currency", "Three letters of ISO 4217 are wanted, such as ghs.") }
        amount = Money(minorUnits: minorUnits, currency: currency)
        let capture: String = try fields.optional("capture") ?? "automatic"
        guard ["automatic", "manual"].contains(capture) else {
            throw APIError.invalid("capture", "'automatic' or 'manual' is wanted.")
        }
        capturesLater = capture == "manual"
        card = try fields.required("card")
        reference = try Self.words(fields, "reference", limit: 64, beside: card.pan)
        details = try Self.words(fields, "description", limit: 200, beside: card.pan)
        lifetime = try fields.optional("expires_in")
        nonce = try Self.nonce(fields)
    }

    /// 128 random bits at least: 32 hexadecimal digits, or 22 characters of base64url (RFC 4648, 5).
    private static func nonce(_ fields: StrictObject) throws -> String? {
        guard let text: String = try fields.optional("nonce") else { return nil }
        let isHexadecimal = text.utf8.allSatisfy { Character(Unicode.Scalar($0)).isHexDigit }
        let isBase64URL = text.utf8.allSatisfy {
            let character = Character(Unicode.Scalar($0))
            return character.isASCII && (character.isLetter || character.isNumber || "-_".contains(character))
        }
        // Random text of this length has more different characters; a word that stands in for it has fewer.
        guard isBase64URL, ((isHexadecimal ? 32 : 22)...64).contains(text.utf8.count), Set(text.utf8).count >= 8 else {
            throw APIError.invalid(
                "nonce",
                "128 random bits are wanted: 32 to 64 hexadecimal digits, or 22 to 64 characters of base64url.")
        }
        return text
    }

    /// Text of at most `limit` characters, without control characters.
    private static func words(
        _ fields: StrictObject, _ name: String, limit: Int, beside pan: PAN
    ) throws -> String? {
        guard let text: String = try fields.optional(name) else { return nil }
        guard text.unicodeScalars.count <= limit else { throw APIError.invalid(name, "At most \(limit) characters.") }
        guard !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw APIError.invalid(name, "It has a control character.")
        }
        // Who pastes a card number here gets it back in every answer: it is no longer only in memory.
        guard !hasCardNumber(text, beside: pan) else {
            throw APIError.invalid(name, "It has what looks like a card number, which belongs into card.number alone.")
        }
        return text
    }

    /// Whether a card number stands in it, whatever is around it: in one piece, or in pieces with white space, dashes, points or
    /// slashes between.
    private static func hasCardNumber(_ text: String, beside pan: PAN) -> Bool {
        var pieces: [String] = []
        var isInPiece = false
        for scalar in text.unicodeScalars {
            if ("0"..."9").contains(scalar) {
                if !isInPiece { pieces.append("") }
                pieces[pieces.count - 1].unicodeScalars.append(scalar)
                isInPiece = true
            } else {
                isInPiece = false
                guard !separates(scalar) else { continue }
                if isCardNumber(among: pieces, pan) { return true }
                pieces = []
            }
        }
        return isCardNumber(among: pieces, pan)
    }

    /// Whether some of the pieces, one behind the other, are a card number.
    private static func isCardNumber(among pieces: [String], _ pan: PAN) -> Bool {
        for first in pieces.indices {
            var digits = ""
            for piece in pieces[first...] {
                digits += piece
                if digits == pan.digits || looksLikeCardNumber(digits) { return true }
                if digits.utf8.count >= 19 { break }
            }
        }
        return false
    }

    /// Of the lengths and beginnings that card networks use (ISO/IEC 7812), and with a right check digit: so that a date with its
    /// time, or a shop's own count, is seldom taken for one.
    private static func looksLikeCardNumber(_ digits: String) -> Bool {
        guard [14, 15, 16, 18, 19].contains(digits.utf8.count), let beginning = Int(digits.prefix(4)),
            (3000...6999).contains(beginning) || (2221...2720).contains(beginning)
        else { return false }
        return (try? PAN(digits)) != nil
    }

    private static func separates(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "." || scalar == "/" || scalar.properties.isWhitespace
            || scalar.properties.generalCategory == .dashPunctuation
    }
}

extension PaymentRequest {
    /// What is signed is kept and shown to others, and the body's SHA-256 is in it. Masked number, amount and currency stand
    /// beside it, so of a body without a nonce only some digits would be unknown, and those are found by trying.
    func requireSecret(beside signed: MerchantRequest) throws(APIError) {
        guard !signed.base.contains(card.pan.digits) else {
            throw .invalid("card.number", "It stands in what is signed, too, where it must not be.")
        }
        guard let nonce else { throw .nonceMissing }
        guard ![signed.base, reference ?? "", details ?? ""].contains(where: { $0.contains(nonce) }) else {
            throw .invalid("nonce", "It stands in what is kept, too: take one for the body alone.")
        }
    }
}

/// The member `card`: what is printed on the card, and nothing more.
struct CardRequest: Decodable {
    let pan: PAN
    let expiry: ExpiryDate
    let name: CardholderName?

    init(from decoder: any Decoder) throws {
        let fields = try StrictObject(decoder, ["number", "exp", "name"])
        let number: String = try fields.required("number")
        pan = try fields.making("number") { try PAN(number) }
        let printed: String = try fields.required("exp")
        expiry = try fields.making("exp") {
            // A person may write it otherwise; a program has no reason to.
            guard let date = try? ExpiryDate(typed: printed),
                [date.printed, "\(date.year)-\(date.printed.prefix(2))"].contains(printed)
            else {
                throw CardDataError(.expiry, "MM/YY or YYYY-MM wanted")
            }
            return date
        }
        let text: String? = try fields.optional("name")
        name = try text.map { text in try fields.making("name") { try CardholderName(text) } }
    }
}

/// The body of `…/capture` and `…/refunds`: `amount` in minor units; left out, all that there is.
struct AmountRequest: Decodable {
    let minorUnits: Int64?

    init(from decoder: any Decoder) throws {
        let fields = try StrictObject(decoder, ["amount"])
        minorUnits = try fields.optional("amount")
        if let minorUnits, !(1...Money.maximumMinorUnits).contains(minorUnits) {
            throw APIError.invalid("amount", "1 to \(Money.maximumMinorUnits) minor units are wanted.")
        }
    }

    init() { minorUnits = nil }
}

/// The body of `…/cancel`: none, or an empty object.
struct EmptyRequest: Decodable {
    init(from decoder: any Decoder) throws { _ = try StrictObject(decoder, []) }
    init() {}
}

/// The query of `GET /v1/payments`.
struct PageRequest {
    /// How many, 1 to 100.
    let limit: Int
    let after: PaymentID?

    init(_ request: Request) throws {
        var values: [String: String] = [:]
        for (name, value) in request.uri.queryParameters {
            let name = String(name)
            guard ["limit", "starting_after"].contains(name) else { throw APIError.unknown(String(name.prefix(64))) }
            guard values.updateValue(String(value), forKey: name) == nil else {
                throw APIError.invalid(name, "It is given twice.")
            }
        }
        if let text = values["limit"] {
            guard text.utf8.count <= 3, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text),
                (1...100).contains(number)
            else { throw APIError.invalid("limit", "A number from 1 to 100 is wanted.") }
            limit = number
        } else {
            limit = 10
        }
        after = values["starting_after"].map { PaymentID(rawValue: $0) }
    }
}
