public import ByteCoding
public import PaymentPorts

/// SMS by Kannel's smsbox: `POST /cgi-bin/sendsms`, what is sent in the body and all else in X-Kannel headers, so that
/// the password is in no address and no log of addresses (Kannel User's Guide 1.4.5, "SMS-push").
public struct KannelSMS: MessageDelivery {
    private let username: String
    private let password: SecretBytes
    private let sender: String
    let http: GatewayHTTP

    /// - Parameters:
    ///   - username: of a `sendsms-user` group of Kannel's configuration; `password` is its password.
    ///   - sender: what the telephone shows: a number or a short name.
    ///   - url: `http://127.0.0.1:13013/cgi-bin/sendsms`.
    /// - Throws: ``DeliveryError`` for an address that would show the password to the network.
    public init(
        username: String, password: SecretBytes, sender: String, url: String, timeLimit: Duration = .seconds(30)
    ) throws(DeliveryError) {
        self.username = username
        self.password = password
        self.sender = sender
        http = try GatewayHTTP(name: "kannel", url: url, timeLimit: timeLimit)
    }

    public func deliver(_ message: OutgoingMessage) async throws {
        // Kannel puts "?" for a character that the coding's alphabet lacks. In the GSM alphabet 160 fit in an SMS, else 70.
        let coding = GSM7.encode(message.body) == nil ? "2" : "0"
        let answer = try await http.post(
            Array(message.body.utf8),
            headers: [
                ("content-type", "text/plain; charset=UTF-8"), ("x-kannel-username", username),
                ("x-kannel-password", password.withBytes { String(decoding: $0, as: UTF8.self) }),
                ("x-kannel-from", sender), ("x-kannel-to", message.recipient), ("x-kannel-coding", coding),
            ])
        try Self.check(answer)
    }

    /// What Kannel says when it will never deliver to a number: with status 403 when no SMSC takes it, with 400 when a
    /// list of its configuration does not let it through.
    private static let finalWords = ["Not routable. Do not try again.", "Number(s) has/have been denied"]

    /// Returns when the answer says that the message was taken: `0: Accepted for delivery`, or `3: Queued for later
    /// delivery`, both with status 202 (Kannel User's Guide 1.4.5, "Using the HTTP interface to send SMS messages").
    static func check(_ answer: GatewayHTTP.Answer) throws(DeliveryError) {
        let place = "kannel: answer"
        let login = "Compare username and password with the sendsms-user group, and its user-allow-ip."
        switch answer.status {
        case 202:
            guard answer.body.starts(with: "0:".utf8) || answer.body.starts(with: "3:".utf8) else {
                throw DeliveryError(.garbled, place: place, reason: "HTTP status 202 without a word of Kannel's")
            }
        case 400, 403:
            guard !finalWords.contains(where: { answer.body.starts(with: $0.utf8) }) else {
                throw DeliveryError(
                    .refused, place: place, reason: "HTTP status \(answer.status): it does not deliver to this number",
                    advice: "Look at the customer's number, and at Kannel's routes and lists.")
            }
            throw answer.failure(at: place, login: login)
        case 503:
            throw DeliveryError(
                .unavailable, place: place, reason: "HTTP status 503",
                advice: "Look at Kannel's status page: is an SMSC connected?")
        default: throw answer.failure(at: place, login: login)
        }
    }
}
