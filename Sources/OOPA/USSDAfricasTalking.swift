import ByteCoding

/// Africa's Talking: a form, with all inputs of the dialogue in `text`, joined by `*`; the answer is a line of text that
/// begins with `CON ` or `END `. (developers.africastalking.com, USSD: "Handle sessions", "Notifications".)
public enum AfricasTalking: USSDGateway {
    public static let name = "africastalking"
    private static let rules = CallbackRules(gateway: name)

    /// Also reads the notice that a session has ended. Its `input` and `lastAppResponse` are not looked at.
    public static func request(from body: [UInt8], contentType: String?) throws -> USSDRequest {
        try rules.check(body, contentType, is: "application/x-www-form-urlencoded")
        let form = try FormFields(body, rules: rules)
        let session = try rules.session(form["sessionId"], field: "sessionId")
        let phone = try rules.phone(form["phoneNumber"], field: "phoneNumber")
        guard let text = form["text"] else {
            guard form["status"] != nil else { throw rules.mistake("text", "is missing") }
            return USSDRequest(
                gateway: name, session: session, phone: phone, kind: .end, text: SecretBytes([]), limit: limit)
        }
        // Nothing typed yet is no input; else there is one input more than there are stars.
        let inputs = text.isEmpty ? [] : text.utf8.split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false)
        return USSDRequest(
            gateway: name, session: session, phone: phone, kind: inputs.isEmpty ? .begin : .input,
            text: SecretBytes(Array(inputs.last ?? ""[...].utf8)), sequence: inputs.count, limit: limit)
    }

    public static func response(
        to request: USSDRequest, with answer: USSDAnswer
    ) -> (contentType: String, body: [UInt8]) {
        ("text/plain; charset=utf-8", Array(((answer.continues ? "CON " : "END ") + answer.text.text).utf8))
    }
}
