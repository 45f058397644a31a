import ByteCoding
import CardData
import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import OOPA
import PaymentPorts

/// The receipt of a payment as a page to print or to keep as PDF: one file that loads nothing, runs nothing and links nowhere.
struct ReceiptPage {
    private let payment: OnlinePayment
    private let texts: MessageTexts
    /// The merchant's choice: the holder's language is not the merchant's to know.
    private let language: String

    /// - Returns: `nil` for a payment of which no money was approved: it has no receipt.
    init?(_ payment: OnlinePayment, language: String, texts: MessageTexts) {
        guard [.authorized, .captured, .refunded].contains(payment.state) else { return nil }
        self.payment = payment
        self.language = language
        self.texts = texts
    }

    func response() -> Response {
        // The style that stands in the page, and nothing else.
        let digest = Data(SHA256.hash(data: Data(Self.style.utf8))).base64EncodedString()
        let policy =
            "default-src 'none'; style-src 'sha256-\(digest)'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        var headers: HTTPFields = [.contentSecurityPolicy: policy, .xContentTypeOptions: "nosniff"]
        headers[.contentLanguage] = language
        if let name = HTTPField.Name("Referrer-Policy") { headers[name] = "no-referrer" }
        return Response(.ok, "text/html; charset=utf-8", html.utf8, headers: headers)
    }

    private var html: String {
        let title = "\(text(.receipt)) \(payment.merchantName)"
        let rows = rows.map { "<tr><th scope=\"row\">\($0.htmlEscaped)</th><td>\($1.htmlEscaped)</td></tr>" }
        let note = payment.isLive ? "" : "<p class=\"test\">\(text(.testPayment).htmlEscaped)</p>\n"
        return """
            <!DOCTYPE html>
            <html lang="\(language.htmlEscaped)">
            <head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(title.htmlEscaped)</title>
            <style>\(Self.style)</style></head>
            <body><main>
            <h1>\(text(.receipt).htmlEscaped)</h1>
            <p class="merchant">\(payment.merchantName.htmlEscaped)</p>
            \(note)<table>
            \(rows.joined(separator: "\n"))
            </table>
            </main></body></html>

            """
    }

    private var rows: [(String, String)] {
        func money(_ minorUnits: Int64) -> String {
            Money(minorUnits: minorUnits, currency: payment.amount.currency).description
        }
        let status: MessageTexts.Key =
            switch payment.state {
            case .authorized: .statusAuthorized
            case .refunded: .statusRefunded
            default: .statusCaptured
            }
        var rows = [(text(.status), text(status)), (text(.amount), money(payment.amount.minorUnits))]
        if payment.capturedMinorUnits > 0 { rows.append((text(.captured), money(payment.capturedMinorUnits))) }
        if payment.refundedMinorUnits > 0 { rows.append((text(.refunded), money(payment.refundedMinorUnits))) }
        rows += [(text(.card), payment.panMasked), (text(.time), PaymentPrompt.time(payment.createdAt))]
        if let order = payment.reference { rows.append((text(.order), order)) }
        if let details = payment.details { rows.append((text(.details), details)) }
        return rows + [(text(.reference), payment.id.rawValue)]
    }

    private func text(_ key: MessageTexts.Key) -> String { texts.text(key, in: language) }

    private static let style = """
        body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; margin: 0 }
        main { max-width: 32em; margin: 2em auto; padding: 0 1em }
        h1 { font-size: 1.4em; margin: 0 } .merchant { font-size: 1.2em; font-weight: 600; margin: 0 0 1em }
        table { border-collapse: collapse; width: 100% }
        th, td { text-align: left; vertical-align: top; padding: .4em 0; border-top: 1px solid #ccc; overflow-wrap: anywhere }
        th { font-weight: normal; color: #444; width: 40%; padding-right: 1em }
        .test { border: 2px solid #b00; color: #b00; padding: .4em .6em }
        @page { margin: 20mm }
        @media print { main { margin: 0; max-width: none } th { color: #000 } tr { break-inside: avoid } }
        """
}

extension MerchantAPI {
    /// `GET /v1/payments/{id}/receipt?language=fr`
    var receiptRoute: Route {
        Route(.get, "/v1/payments/{id}/receipt") { request, context in
            let payment = try await found(context, caller(of: request))
            let texts = try MessageTexts.standard.get()
            if let unknown = request.uri.queryParameters.first(where: { $0.key != "language" }) {
                throw APIError.unknown(String(unknown.key))
            }
            let language = request.uri.queryParameters["language"].map { String($0) } ?? texts.languages[0]
            guard texts.languages.contains(language) else {
                throw APIError.invalid("language", "One of \(texts.languages.joined(separator: ", ")), please.")
            }
            guard let page = ReceiptPage(payment, language: language, texts: texts) else {
                throw APIError(
                    .conflict, .invalidRequest, "payment_unexpected_status",
                    "The payment is \(payment.state.merchantStatus): there is a receipt when it is approved.")
            }
            return page.response()
        }
    }
}
