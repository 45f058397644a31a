public import ByteCoding
import CCurl
import Dispatch
import Glibc
public import PaymentPorts

/// Mail by a submission server (RFC 6409), with libcurl.
public struct SMTP: MessageDelivery {
    public enum Security: String, Sendable, CaseIterable {
        /// The connection begins in clear and must change to TLS before anything is said (RFC 3207); port 587.
        case startTLS = "starttls"
        /// TLS from the first byte (RFC 8314); port 465.
        case tls
        /// In clear: to this machine's own loopback alone.
        case none
    }

    /// Where the server is and how to get in.
    public struct Server: Sendable {
        public let host: String
        public let port: UInt16
        public let security: Security
        public let username: String?
        public let password: SecretBytes?
        /// Certificates to trust (PEM) instead of the system's.
        public let trustFile: String?

        /// - Throws: ``DeliveryError`` for mail in clear to another machine, and for a host that is none.
        public init(
            host: String, port: UInt16, security: Security, username: String? = nil, password: SecretBytes? = nil,
            trustFile: String? = nil
        ) throws(DeliveryError) {
            guard !host.isEmpty, host.utf8.allSatisfy({ (0x21...0x7E).contains($0) && !"/?#@".utf8.contains($0) })
            else {
                throw DeliveryError(.noGateway, place: "smtp: host", reason: "no name or address of a host")
            }
            guard security != .none || ["127.0.0.1", "[::1]", "localhost"].contains(host) else {
                throw DeliveryError(
                    .noGateway, place: "smtp: security", reason: "mail and password would go in clear to \(host)",
                    advice: "Use starttls or tls.")
            }
            self.host = host
            self.port = port
            self.security = security
            self.username = username
            self.password = password
            self.trustFile = trustFile
        }
    }

    private let server: Server
    private let sender: String
    private let senderName: String
    private let clock: any TimeSource
    private let timeLimit: Duration
    /// libcurl waits for the network, so it runs here and not on the cooperative pool; a connection each, some at a time.
    private let queue = DispatchQueue(label: "smtp", attributes: .concurrent)

    /// - Parameters:
    ///   - sender: the address that mail is from, and that failures come back to.
    ///   - senderName: what mail readers show for it.
    /// - Throws: ``DeliveryError`` for a sender that is no mail address.
    public init(
        server: Server, sender: String, senderName: String, clock: any TimeSource, timeLimit: Duration = .seconds(60)
    ) throws(DeliveryError) {
        guard Recipient.isMailAddress(sender) else {
            throw DeliveryError(.noGateway, place: "smtp: sender", reason: "'\(sender)' is no mail address")
        }
        self.server = server
        self.sender = sender
        self.senderName = senderName
        self.clock = clock
        self.timeLimit = timeLimit
    }

    /// Greeting, TLS and login, and no mail.
    /// - Throws: ``DeliveryError``.
    public func check() async throws {
        try await onQueue { [server, timeLimit] in
            try SMTPTransfer.connect(to: server, limit: Int(timeLimit.components.seconds))
        }
    }

    public func deliver(_ message: OutgoingMessage) async throws {
        guard Recipient.isMailAddress(message.recipient) else {
            throw DeliveryError(.refused, place: "smtp: recipient", reason: "no mail address")
        }
        let mail = Mail(message, sender: sender, senderName: senderName, at: clock.now())
        try await onQueue { [server, sender, timeLimit] in
            try SMTPTransfer.perform(mail, from: sender, to: server, limit: Int(timeLimit.components.seconds))
        }
    }

    /// What we call ourselves in EHLO: this machine's name where that is a whole one (RFC 5321, 4.1.1.1 and 4.1.4).
    /// libcurl wants it before there is a connection, so it cannot be the address of the connection's own side.
    static let ownName: String = {
        let length = 256
        var name = [CChar](repeating: 0, count: length)
        guard gethostname(&name, length) == 0 else { return SMTP.clientName(machine: "") }
        let bytes = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return SMTP.clientName(machine: String(decoding: bytes, as: UTF8.self))
    }()

    /// `localhost` for a name without a domain, and for one that is no `Domain` of RFC 5321, 4.1.2.
    static func clientName(machine: String) -> String {
        func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }
        func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
        let hyphen = UInt8(ascii: "-")
        let labels = machine.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let isDomain = labels.allSatisfy { label in
            guard (1...63).contains(label.count), label.first != hyphen, label.last != hyphen else { return false }
            return label.allSatisfy { isLetter($0) || isDigit($0) || $0 == hyphen }
        }
        // A last label of digits alone ends an address, not a name.
        guard isDomain, labels.count > 1, labels[labels.count - 1].contains(where: isLetter),
            machine.utf8.count <= 253
        else { return "localhost" }
        return machine
    }

    private func onQueue(_ body: @escaping @Sendable () throws -> Void) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            queue.async { continuation.resume(with: Result { try body() }) }
        }
    }
}

/// One mail over one connection.
private enum SMTPTransfer {
    /// curl_global_init is not safe to be called by two at once; a static is made once.
    private static let isReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private static func handle() throws(DeliveryError) -> UnsafeMutableRawPointer {
        guard isReady, let handle = curl_easy_init() else {
            throw DeliveryError(.unreachable, place: "smtp", reason: "libcurl does not start")
        }
        return handle
    }

    static func connect(to server: SMTP.Server, limit: Int) throws(DeliveryError) {
        let handle = try handle()
        defer { curl_easy_cleanup(handle) }
        try configure(handle, server, limit: limit)
        try check([ecard_curl_set_number(handle, CURLOPT_CONNECT_ONLY, 1)])
        let outcome = curl_easy_perform(handle)
        guard outcome == CURLE_OK else {
            throw failure(outcome, handle, server)
        }
    }

    static func perform(_ mail: Mail, from sender: String, to server: SMTP.Server, limit: Int) throws(DeliveryError) {
        let handle = try handle()
        defer { curl_easy_cleanup(handle) }
        let lists = Lists(recipient: mail.recipient, headers: mail.headers)
        defer { lists.free() }
        guard let mime = body(mail, handle) else {
            throw DeliveryError(.unreachable, place: "smtp", reason: "no memory for the mail")
        }
        defer { curl_mime_free(mime) }
        try configure(handle, server, limit: limit)
        let settings = [
            ecard_curl_set_text(handle, CURLOPT_MAIL_FROM, "<\(sender)>"),
            ecard_curl_set_list(handle, CURLOPT_MAIL_RCPT, lists.recipients),
            ecard_curl_set_list(handle, CURLOPT_HTTPHEADER, lists.headers),
            ecard_curl_set_mime(handle, mime),
        ]
        try check(settings)
        let outcome = curl_easy_perform(handle)
        guard outcome == CURLE_OK else {
            throw failure(outcome, handle, server)
        }
    }

    private static func configure(
        _ handle: UnsafeMutableRawPointer, _ server: SMTP.Server, limit: Int
    ) throws(DeliveryError) {
        let scheme = server.security == .tls ? "smtps" : "smtp"
        var settings = [
            ecard_curl_set_text(handle, CURLOPT_URL, "\(scheme)://\(server.host):\(server.port)/\(SMTP.ownName)"),
            ecard_curl_set_text(handle, CURLOPT_PROTOCOLS_STR, "smtp,smtps"),
            // A proxy from the environment would get the mail.
            ecard_curl_set_text(handle, CURLOPT_PROXY, ""),
            ecard_curl_set_number(
                handle, CURLOPT_USE_SSL,
                server.security == .none ? Int(CURLUSESSL_NONE.rawValue) : Int(CURLUSESSL_ALL.rawValue)),
            ecard_curl_set_number(handle, CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2)),
            ecard_curl_set_number(handle, CURLOPT_CONNECTTIMEOUT, min(limit, 20)),
            ecard_curl_set_number(handle, CURLOPT_TIMEOUT, limit),
            // Without it libcurl raises SIGALRM.
            ecard_curl_set_number(handle, CURLOPT_NOSIGNAL, 1),
        ]
        if let file = server.trustFile { settings.append(ecard_curl_set_text(handle, CURLOPT_CAINFO, file)) }
        if let username = server.username {
            settings.append(ecard_curl_set_text(handle, CURLOPT_USERNAME, username))
        }
        if let password = server.password {
            var text = password.exposedCopy() + [0]
            settings.append(
                text.withUnsafeBufferPointer { bytes in
                    bytes.withMemoryRebound(to: CChar.self) {
                        ecard_curl_set_text(handle, CURLOPT_PASSWORD, $0.baseAddress)
                    }
                })
            SecretBytes.wipe(&text)
        }
        try check(settings)
    }

    private static func check(_ settings: [CURLcode]) throws(DeliveryError) {
        guard let code = settings.first(where: { $0 != CURLE_OK }) else { return }
        throw DeliveryError(
            .unreachable, place: "smtp: libcurl", reason: String(cString: curl_easy_strerror(code)),
            advice: "Use libcurl 7.85 or later.")
    }

    /// The text and the HTML, of which a mail reader shows one (RFC 2046, 5.1.4: the last it understands).
    private static func body(_ mail: Mail, _ handle: UnsafeMutableRawPointer) -> OpaquePointer? {
        guard let mime = curl_mime_init(handle), let alternatives = curl_mime_init(handle) else { return nil }
        for (type, content) in [("text/plain; charset=utf-8", mail.text), ("text/html; charset=utf-8", mail.html)] {
            let part = curl_mime_addpart(alternatives)
            curl_mime_data(part, content, content.utf8.count)
            curl_mime_type(part, type)
            curl_mime_encoder(part, "quoted-printable")
        }
        let part = curl_mime_addpart(mime)
        // From here on `mime` owns the alternatives.
        curl_mime_subparts(part, alternatives)
        curl_mime_type(part, "multipart/alternative")
        return mime
    }

    private static func failure(
        _ code: CURLcode, _ handle: UnsafeMutableRawPointer, _ server: SMTP.Server
    ) -> DeliveryError {
        let place = "smtp \(server.host):\(server.port)"
        let words = String(cString: curl_easy_strerror(code))
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT:
            return DeliveryError(.unreachable, place: place, reason: words, advice: "Check host, port and network.")
        case CURLE_USE_SSL_FAILED, CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE:
            return DeliveryError(
                .unreachable, place: "\(place): TLS", reason: words,
                advice: "Nothing was sent in clear. Check the server's certificate, and starttls against tls.")
        case CURLE_LOGIN_DENIED:
            return DeliveryError(
                .unauthorized, place: place, reason: words, advice: "Check the username and the password.")
        default: break
        }
        // The server's last word tells more than libcurl's (RFC 5321, 4.2.1). 0 is a word without a code, or none: also
        // after the mail, and then the server may have it.
        let response = ecard_curl_response_code(handle)
        switch response {
        case 0 where ecard_curl_uploaded(handle) == 0:
            return DeliveryError(.unreachable, place: "\(place): before the mail", reason: words)
        case 500...599: return DeliveryError(.refused, place: place, reason: "the server answered \(response)")
        case 400...499: return DeliveryError(.unavailable, place: place, reason: "the server answered \(response)")
        default:
            let isGarbled = code == CURLE_WEIRD_SERVER_REPLY
            return DeliveryError(isGarbled ? .garbled : .noAnswer, place: place, reason: words)
        }
    }

    /// libcurl's linked lists, which are ours to free after the transfer.
    private struct Lists {
        let recipients: UnsafeMutablePointer<curl_slist>?
        let headers: UnsafeMutablePointer<curl_slist>?

        init(recipient: String, headers: [String]) {
            recipients = curl_slist_append(nil, "<\(recipient)>")
            self.headers = headers.reduce(nil) { curl_slist_append($0, $1) }
        }

        func free() {
            curl_slist_free_all(recipients)
            curl_slist_free_all(headers)
        }
    }
}
