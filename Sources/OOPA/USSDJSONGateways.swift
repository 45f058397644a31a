import ByteCoding
import FoundationEssentials

/// Arkesel: JSON both ways, one input a request, no count (developers.arkesel.com, USSD).
public enum Arkesel: USSDGateway {
    public static let name = "arkesel"
    private static let rules = CallbackRules(gateway: name)

    private struct Request: Decodable {
        let sessionID: LooseText
        let msisdn: LooseText
        let newSession: Bool?
        let userData: LooseText?
        /// The account with Arkesel.
        let userID: LooseText?
    }

    private struct Response: Encodable {
        let sessionID: String
        let userID: String
        let msisdn: String
        let message: String
        let continueSession: Bool
    }

    public static func request(from body: [UInt8], contentType: String?) throws -> USSDRequest {
        let json = try rules.json(Request.self, body, contentType)
        return USSDRequest(
            gateway: name, session: try rules.session(json.sessionID.text, field: "sessionID"),
            phone: try rules.phone(json.msisdn.text, field: "msisdn"),
            kind: json.newSession ?? false ? .begin : .input,
            text: SecretBytes(Array((json.userData?.text ?? "").utf8)),
            limit: limit, echo: json.userID.map { String($0.text.prefix(CallbackRules.sessionLimit)) })
    }

    public static func response(
        to request: USSDRequest, with answer: USSDAnswer
    ) -> (contentType: String, body: [UInt8]) {
        CallbackRules.body(
            Response(
                sessionID: request.session, userID: request.echo ?? "", msisdn: String(request.phone.dropFirst()),
                message: answer.text.text, continueSession: answer.continues))
    }
}

/// Hubtel, Programmable Services: JSON both ways, requests counted by `Sequence` (developers.hubtel.com, "API Reference –
/// Prog Services"). Where a dialogue stands is in our store, so `ClientState` is not used: it would come back from outside.
public enum Hubtel: USSDGateway {
    public static let name = "hubtel"
    private static let rules = CallbackRules(gateway: name)

    private struct Request: Decodable {
        let SessionId: LooseText
        let Mobile: LooseText
        let `Type`: LooseText
        let Message: LooseText?
        let Sequence: LooseText?
    }

    private struct Response: Encodable {
        let SessionId: String
        let `Type`: String
        let Message: String
        let Label: String
        let DataType: String
        let FieldType: String
        let ClientState: String
    }

    public static func request(from body: [UInt8], contentType: String?) throws -> USSDRequest {
        let json = try rules.json(Request.self, body, contentType)
        let kinds: [String: USSDRequest.Kind] = [
            "initiation": .begin, "response": .input, "release": .end, "timeout": .end,
        ]
        guard let kind = kinds[json.Type.text.lowercased()] else {
            throw rules.mistake("Type", "Initiation, Response, Release or Timeout wanted")
        }
        let sequence = try json.Sequence.map { value throws(USSDRequestError) -> Int in
            guard let number = Int(value.text), (0...1_000_000).contains(number) else {
                throw rules.mistake("Sequence", "a number wanted")
            }
            return number
        }
        return USSDRequest(
            gateway: name, session: try rules.session(json.SessionId.text, field: "SessionId"),
            phone: try rules.phone(json.Mobile.text, field: "Mobile"), kind: kind,
            // At the first request it is what was dialled.
            text: SecretBytes(kind == .input ? Array((json.Message?.text ?? "").utf8) : []), sequence: sequence,
            limit: limit)
    }

    public static func response(
        to request: USSDRequest, with answer: USSDAnswer
    ) -> (contentType: String, body: [UInt8]) {
        CallbackRules.body(
            Response(
                SessionId: request.session, Type: answer.continues ? "response" : "release",
                Message: answer.text.text, Label: "", DataType: answer.continues ? "input" : "display",
                FieldType: "text", ClientState: ""))
    }
}

/// Text that some gateways write as a number.
private struct LooseText: Decodable {
    let text: String

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let number = try? value.decode(Int64.self) {
            text = String(number)
        } else {
            text = try value.decode(String.self)
        }
    }
}

extension CallbackRules {
    /// - Throws: ``USSDRequestError`` that names the field and never its value.
    fileprivate func json<Value: Decodable>(
        _ type: Value.Type, _ body: [UInt8], _ contentType: String?
    ) throws(USSDRequestError) -> Value {
        try check(body, contentType, is: "application/json")
        do {
            return try JSONDecoder().decode(type, from: Data(body))
        } catch DecodingError.keyNotFound(let key, _) {
            throw mistake(key.stringValue, "is missing")
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
            throw mistake(context.codingPath.last?.stringValue ?? "body", "a value of another type wanted")
        } catch {
            throw mistake("body", "is no JSON object in UTF-8")
        }
    }

    fileprivate static func body(_ value: some Encodable) -> (contentType: String, body: [UInt8]) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes]
        // Strings and a flag always encode.
        return ("application/json", (try? encoder.encode(value)).map(Array.init) ?? [])
    }
}
