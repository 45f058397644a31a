public import ByteCoding
import FoundationEssentials
public import PaymentPorts

/// SMS by Africa's Talking: `POST /version1/messaging`, one message a request.
///
/// https://developers.africastalking.com/docs/sms/sending/bulk
public struct AfricasTalkingSMS: MessageDelivery {
    public static let live = "https://api.africastalking.com/version1/messaging"
    public static let sandbox = "https://api.sandbox.africastalking.com/version1/messaging"

    private let username: String
    private let apiKey: SecretBytes
    private let sender: String?
    let http: GatewayHTTP

    /// - Parameters:
    ///   - apiKey: the application's key, as text.
    ///   - sender: a registered short code or name; `nil` takes the service's own.
    ///   - url: ``live``, ``sandbox``, or what stands before them.
    /// - Throws: ``DeliveryError`` for an address that would show the key to the network.
    public init(
        username: String, apiKey: SecretBytes, sender: String? = nil, url: String = live,
        timeLimit: Duration = .seconds(30)
    ) throws(DeliveryError) {
        self.username = username
        self.apiKey = apiKey
        self.sender = sender
        http = try GatewayHTTP(name: "africastalking", url: url, timeLimit: timeLimit)
    }

    public func deliver(_ message: OutgoingMessage) async throws {
        var fields = [("username", username), ("to", message.recipient), ("message", message.body)]
        if let sender { fields.append(("from", sender)) }
        let answer = try await http.post(
            formEncoded(fields),
            headers: [
                ("apiKey", apiKey.withBytes { String(decoding: $0, as: UTF8.self) }), ("accept", "application/json"),
                ("content-type", "application/x-www-form-urlencoded"),
            ])
        try Self.check(answer, recipient: message.recipient)
    }

    private struct Answer: Decodable {
        struct Data: Decodable {
            let Recipients: [Recipient]
        }
        struct Recipient: Decodable {
            let statusCode: Int
            let number: String
        }
        let SMSMessageData: Data
    }

    /// Returns when the answer says that the message was taken.
    static func check(_ answer: GatewayHTTP.Answer, recipient: String) throws(DeliveryError) {
        let place = "africastalking: answer"
        guard [200, 201].contains(answer.status) else {
            throw answer.failure(at: place, login: "Check the username and the API key.")
        }
        guard let data = try? JSONDecoder().decode(Answer.self, from: Data(answer.body)).SMSMessageData else {
            throw DeliveryError(.garbled, place: place, reason: "no SMSMessageData with Recipients in it")
        }
        // An empty list is what a whole request that was not taken looks like: no funds, an unknown sender.
        guard let taken = data.Recipients.first else {
            throw DeliveryError(
                .unavailable, place: place, reason: "the message was not taken",
                advice: "Look at the account: balance and sender.")
        }
        guard taken.number == recipient, data.Recipients.count == 1 else {
            throw DeliveryError(.garbled, place: place, reason: "it is about other recipients than the one asked for")
        }
        try check(statusCode: taken.statusCode)
    }

    /// The service's own table of status codes. It does not say of 401 (RiskHold), 500 (InternalServerError), 501
    /// (GatewayError) and 502 (RejectedByGateway) that nothing of the message went on, or will.
    private static func check(statusCode: Int) throws(DeliveryError) {
        let place = "africastalking: statusCode \(statusCode)"
        switch statusCode {
        case 100, 101, 102: return
        case 402:
            throw DeliveryError(
                .unavailable, place: place, reason: "the sender is not valid", advice: "Register it, or leave it out.")
        case 403: throw DeliveryError(.refused, place: place, reason: "no valid number")
        case 404: throw DeliveryError(.refused, place: place, reason: "a kind of number that is not served")
        case 405:
            throw DeliveryError(
                .unavailable, place: place, reason: "the account's balance is too low", advice: "Add funds.")
        case 406: throw DeliveryError(.refused, place: place, reason: "the recipient has opted out")
        case 409: throw DeliveryError(.refused, place: place, reason: "the recipient's operator rejects such messages")
        case 407: throw DeliveryError(.unavailable, place: place, reason: "the service found no way to deliver it")
        case 401, 500, 501, 502:
            throw DeliveryError(
                .noAnswer, place: place, reason: "the service held it, or failed with it: it may have gone on")
        default: throw DeliveryError(.garbled, place: place, reason: "a code that is not in its table")
        }
    }
}
