import HTTPTypes
import Hummingbird

/// The page `/phone` as a browser gets it: files of this package, and the rules that keep it to them.
enum PhonePage {
    /// Nothing from elsewhere, no script or style in the page itself, no text that becomes a part of it, no frame around it
    /// (Content Security Policy Level 3; Trusted Types).
    private static let policy = """
        default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; \
        base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'
        """

    private static let files: [(path: String, type: String, bytes: [UInt8])] = [
        ("/phone", "text/html; charset=utf-8", PackageResources.phone_html),
        ("/phone/phone.css", "text/css; charset=utf-8", PackageResources.phone_css),
        ("/phone/phone.js", "text/javascript; charset=utf-8", PackageResources.phone_js),
        ("/phone/sealing.js", "text/javascript; charset=utf-8", PackageResources.sealing_js),
        ("/phone/phone.svg", "image/svg+xml", PackageResources.phone_svg),
    ]

    private static let headers: HTTPFields = [
        .contentSecurityPolicy: policy, .xContentTypeOptions: "nosniff", .crossOriginResourcePolicy: "same-origin",
        .referrerPolicy: "no-referrer", .crossOriginOpenerPolicy: "same-origin",
    ]

    /// Links from elsewhere may lead here, but only by a name of this machine's.
    static func routes(_ gate: PhoneGate) -> [Route] {
        files.map { file in
            Route(.get, file.path) { request, _ in
                try gate.requireOwnName(request)
                return Response(.ok, file.type, file.bytes, headers: headers)
            }
        }
    }
}

extension HTTPField.Name {
    // swift-format-ignore: NeverForceUnwrap
    fileprivate static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
    // swift-format-ignore: NeverForceUnwrap
    fileprivate static let crossOriginOpenerPolicy = HTTPField.Name("Cross-Origin-Opener-Policy")!
}
