import ByteCoding
import ECardTesting
import Foundation
import OOPA
import Testing

/// The callbacks of the three gateways, as their documentation shows them.
@Suite struct USSDGatewayTests {
    struct Callback: Sendable, CustomTestStringConvertible {
        let gateway: any USSDGateway.Type
        let body: String
        var type: String?
        var wanted: (session: String, phone: String, kind: USSDRequest.Kind, text: String, sequence: Int?)?
        var place: String?
        var testDescription: String { "\(gateway): \(body.prefix(120))" }
    }

    private static let form = "application/x-www-form-urlencoded"
    private static let begun = "sessionId=ATUid_1&phoneNumber=%2B254733000111&networkCode=63902&serviceCode=*123%23"

    static let good: [Callback] = [
        Callback(
            gateway: AfricasTalking.self, body: begun + "&text=", type: form,
            wanted: ("ATUid_1", "+254733000111", .begin, "", 0)),
        Callback(
            gateway: AfricasTalking.self, body: begun + "&text=1*2*4711", type: form + "; charset=utf-8",
            wanted: ("ATUid_1", "+254733000111", .input, "4711", 3)),
        Callback(
            gateway: AfricasTalking.self, body: begun + "&text=1*", wanted: ("ATUid_1", "+254733000111", .input, "", 2)),
        // A plus that was not percent-encoded arrives as a space.
        Callback(
            gateway: AfricasTalking.self, body: "sessionId=a&phoneNumber=+254733000111&text=%c9%9b&later=1",
            wanted: ("a", "+254733000111", .input, "ɛ", 1)),
        // The notice of a session's end.
        Callback(
            gateway: AfricasTalking.self,
            body: begun
                + "&date=2026-11-21&status=Success&cost=KES+0.10&durationInMillis=12345&hopsCount=3&input=1*4711&lastAppResponse=END+Paid",
            type: form, wanted: ("ATUid_1", "+254733000111", .end, "", nil)),
        Callback(
            gateway: Arkesel.self,
            body:
                #"{"sessionID":"2005506191900168","userID":"USSD_DOCUMENTATION","newSession":true,"msisdn":"233271231234","userData":"*928*1#","network":"AIRTELTIGO"}"#,
            type: "application/json", wanted: ("2005506191900168", "+233271231234", .begin, "*928*1#", nil)),
        Callback(
            gateway: Arkesel.self,
            body: #"{"sessionID":2005506191900168,"newSession":false,"msisdn":233271231234,"userData":"4711"}"#,
            wanted: ("2005506191900168", "+233271231234", .input, "4711", nil)),
        Callback(
            gateway: Hubtel.self,
            body:
                #"{"Sequence":"1","Type":"initiation","Message":"*713#","ServiceCode":"713","Operator":"mtn","ClientState":"","Mobile":"233246912184","SessionId":"8d440a43"}"#,
            type: "application/json; charset=utf-8", wanted: ("8d440a43", "+233246912184", .begin, "", 1)),
        Callback(
            gateway: Hubtel.self,
            body: #"{"Sequence":2,"Type":"Response","Message":"4711","Mobile":"233246912184","SessionId":"8d440a43"}"#,
            wanted: ("8d440a43", "+233246912184", .input, "4711", 2)),
        Callback(
            gateway: Hubtel.self, body: #"{"Type":"Release","Mobile":"233246912184","SessionId":"8d440a43"}"#,
            wanted: ("8d440a43", "+233246912184", .end, "", nil)),
        Callback(
            gateway: Hubtel.self,
            body: #"{"Type":"Timeout","Message":"4711","Mobile":"233246912184","SessionId":"8d440a43"}"#,
            wanted: ("8d440a43", "+233246912184", .end, "", nil)),
    ]

    static let bad: [Callback] = [
        Callback(
            gateway: AfricasTalking.self, body: begun + "&text=1", type: "application/json", place: "Content-Type"),
        Callback(gateway: AfricasTalking.self, body: begun, place: "text"),
        Callback(gateway: AfricasTalking.self, body: "phoneNumber=254733000111&text=4711", place: "sessionId"),
        Callback(
            gateway: AfricasTalking.self, body: "sessionId=a&phoneNumber=0711000111&text=4711", place: "phoneNumber"),
        Callback(
            gateway: AfricasTalking.self, body: "sessionId=a%0A&phoneNumber=254733000111&text=", place: "sessionId"),
        Callback(gateway: AfricasTalking.self, body: begun + "&text=47%1", place: "field 5"),
        Callback(gateway: AfricasTalking.self, body: begun + "&text=47%", place: "field 5"),
        Callback(gateway: AfricasTalking.self, body: begun + "&text=%FF%FE", place: "field 5"),
        Callback(gateway: AfricasTalking.self, body: begun + "&text=1&text=4711", place: "field 6"),
        Callback(
            gateway: AfricasTalking.self, body: (0..<65).map { "f\($0)=4711" }.joined(separator: "&"), place: "body"),
        Callback(
            gateway: AfricasTalking.self, body: begun + "&text=" + String(repeating: "4711", count: 2100), place: "body"
        ),
        Callback(gateway: Arkesel.self, body: "", place: "body"),
        Callback(gateway: Arkesel.self, body: "[4711]", place: "body"),
        Callback(gateway: Arkesel.self, body: #"{"userData":"4711""#, place: "body"),
        Callback(gateway: Arkesel.self, body: #"{"msisdn":"233271231234","userData":"4711"}"#, place: "sessionID"),
        Callback(
            gateway: Arkesel.self, body: #"{"sessionID":"1","msisdn":"233271231234","newSession":"4711"}"#,
            place: "newSession"),
        Callback(
            gateway: Arkesel.self, body: #"{"sessionID":"1","msisdn":["4711"],"newSession":true}"#, place: "msisdn"),
        Callback(gateway: Arkesel.self, body: #"{"sessionID":"1","msisdn":"4711","newSession":true}"#, place: "msisdn"),
        Callback(
            gateway: Hubtel.self, body: #"{"Type":"4711","Mobile":"233246912184","SessionId":"8d"}"#, place: "Type"),
        Callback(
            gateway: Hubtel.self,
            body: #"{"Type":"Response","Sequence":"-4711","Mobile":"233246912184","SessionId":"8d"}"#,
            place: "Sequence"),
        Callback(
            gateway: Hubtel.self, body: #"{"Type":"Response","Message":"4711","SessionId":"8d"}"#, place: "Mobile"),
        Callback(gateway: Hubtel.self, body: "Type=Response&Message=4711", type: form, place: "Content-Type"),
    ]

    @Test("A callback of the documentation is read", arguments: good)
    func reads(callback: Callback) throws {
        let request = try callback.gateway.request(from: Array(callback.body.utf8), contentType: callback.type)
        let wanted = try #require(callback.wanted)
        #expect(request.gateway == callback.gateway.name && request.limit == .network)
        #expect(request.session == wanted.session && request.phone == wanted.phone)
        #expect(request.kind == wanted.kind && request.sequence == wanted.sequence)
        #expect(request.text == SecretBytes(Array(wanted.text.utf8)))
        // A code that was typed shows in no description.
        if wanted.text.contains("4711") { #expect(!"\(request) \(String(reflecting: request))".contains("4711")) }
    }

    @Test("A callback that is wrong names its field and repeats nothing of it", arguments: bad)
    func refuses(callback: Callback) throws {
        let error = #expect(throws: USSDRequestError.self) {
            try callback.gateway.request(from: Array(callback.body.utf8), contentType: callback.type)
        }
        let told = try #require(error)
        #expect(told.place.hasPrefix(try #require(callback.place)), "\(told)")
        #expect(!"\(told)".contains("4711"), "\(told)")
    }

    @Test("Answers are what each gateway shows or hangs up on")
    func answers() throws {
        let text = try USSDText("Pay \"A/B\"\nɛ")
        for continues in [true, false] {
            let answer = USSDAnswer(text: text, continues: continues)
            let form = AfricasTalking.response(
                to: try AfricasTalking.request(from: Array((Self.begun + "&text=").utf8), contentType: nil),
                with: answer)
            #expect(form.contentType == "text/plain; charset=utf-8")
            #expect(String(decoding: form.body, as: UTF8.self) == (continues ? "CON " : "END ") + text.text)

            let arkesel = try Arkesel.request(from: Array(Self.good[5].body.utf8), contentType: nil)
            let answered = Arkesel.response(to: arkesel, with: answer)
            #expect(answered.contentType == "application/json")
            let json = try #require(try JSONSerialization.jsonObject(with: Data(answered.body)) as? NSDictionary)
            #expect(
                json == [
                    "sessionID": "2005506191900168", "userID": "USSD_DOCUMENTATION", "msisdn": "233271231234",
                    "message": text.text, "continueSession": continues,
                ] as NSDictionary)

            let hubtel = try Hubtel.request(from: Array(Self.good[7].body.utf8), contentType: nil)
            let told = try #require(
                try JSONSerialization.jsonObject(with: Data(Hubtel.response(to: hubtel, with: answer).body))
                    as? [String: String])
            #expect(told["Type"] == (continues ? "response" : "release") && told["Message"] == text.text)
            #expect(told["SessionId"] == "8d440a43" && told["DataType"] == (continues ? "input" : "display"))
        }
    }
}
