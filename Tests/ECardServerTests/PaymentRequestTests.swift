import CardData
@testable import ECardServer
import Foundation
import Testing

/// What a request for a payment may say, and where it is told to be wrong.
@Suite struct PaymentRequestTests {
    static let number = "4000001234567899"

    static func body(
        card: String = #""number": "\#(number)", "exp": "12/30""#,
        _ rest: String = #""amount": 2500, "currency": "ghs""#
    ) -> String { #"{"card": {\#(card)}, \#(rest)}"# }

    private func decode(_ text: String) throws -> PaymentRequest {
        try StrictJSON.decode(PaymentRequest.self, from: Array(text.utf8))
    }

    @Test func allOfIt() throws {
        let request = try decode(
            Self.body(
                card: #""number": "\#(Self.number)", "exp": "2030-12", "name": "Ama Mensah""#,
                #""amount": 2500, "currency": "GHS", "capture": "manual", "reference": "order-17", "description": "Ɛmo", "expires_in": 120"#
            ))
        #expect(request.card.pan.digits == Self.number && request.card.expiry.printed == "12/30")
        #expect(request.card.name?.text == "Ama Mensah")
        #expect("\(request.amount)" == "GHS 25.00" && request.capturesLater)
        #expect(request.reference == "order-17" && request.details == "Ɛmo" && request.lifetime == 120)
    }

    @Test func theLeastOfIt() throws {
        let request = try decode(Self.body())
        #expect(
            !request.capturesLater && request.card.name == nil && request.reference == nil && request.lifetime == nil)
        #expect(try decode(Self.body(#""amount": 1, "currency": "ghs", "reference": null"#)).reference == nil)
    }

    @Test(
        "A nonce has 128 bits at least",
        arguments: [
            ("0123456789abcdef0123456789ABCDEF", true), (String(repeating: "0123456789abcdef", count: 4), true),
            ("hT65zBdEqpx-_0123456Aa", true), ("hT65zBdEqpx-_0123456A", false), ("", false),
            ("0123456789abcdef0123456789abcde", false), ("hT65zBdEqpx+/0123456Aa", false),
            ("hT65zBdEqpx-_0123456Aaé", false), ("hT65zBdEqpx-_0123456Aa==", false),
            (String(repeating: "0123456789abcdef", count: 4) + "0", false), (String(repeating: "a", count: 32), false),
        ])
    func nonces(_ text: String, _ isTaken: Bool) throws {
        let body = Self.body(#""amount": 1, "currency": "ghs", "nonce": "\#(text)""#)
        if isTaken {
            #expect(try decode(body).nonce == text)
        } else {
            let error = try #require(throws: APIError.self) { try decode(body) }
            #expect(error.code == "parameter_invalid" && error.param == "nonce")
        }
    }

    @Test(
        "A card number is found in words, whatever stands around it",
        arguments: [
            ("4000001234567899", true), ("4000 0012 3456 7899", true), ("4000-0012-3456-7899", true),
            ("4000.0012.3456.7899", true), ("4000/0012/3456/7899", true), ("card 4000001234567899, please", true),
            ("x4000001234567899y", true), ("4000 0012 3456 7899 12/30", true), ("17 4000001234567899", true),
            ("4000\u{A0}0012\u{2013}3456 - 7899", true), ("4000001234567898", false), ("order-17", false), ("", false),
            ("2026-11-23T10:15:00", false), ("40000012345", false),
            // They pass Luhn, and no card number begins so, or is so long.
            ("1795000000004", false), ("20261122153004", false), ("order 100000000000009", false),
            ("4000001234567899123456", false),
            ("4000 0012 or 3456 7899", false),
        ])
    func cardNumbers(_ text: String, _ isFound: Bool) throws {
        for name in ["reference", "description"] {
            let body = Self.body(#""amount": 1, "currency": "ghs", "\#(name)": "\#(text)""#)
            guard isFound else {
                _ = try decode(body)
                continue
            }
            let error = try #require(throws: APIError.self) { try decode(body) }
            #expect(error.code == "parameter_invalid" && error.param == name && !error.message.contains("4000"))
        }
    }

    @Test(
        "An expiry date has one of the two forms that the description has",
        arguments: [
            ("01/30", true), ("12/30", true), ("2030-01", true), ("2030-12", true), ("1/30", false), ("01/2030", false),
            ("2030-1", false), ("11-30", false), ("2030/11", false), ("00/30", false), ("13/30", false),
            ("2030-13", false), ("1930-12", false), ("12/30 ", false), ("12/3٠", false), ("1230", false), ("", false),
        ])
    func expiryDates(_ text: String, _ isTaken: Bool) throws {
        let body = Self.body(card: #""number": "\#(Self.number)", "exp": "\#(text)""#)
        guard !isTaken else {
            #expect(try decode(body).card.expiry.year == 2030)
            return
        }
        let error = try #require(throws: APIError.self) { try decode(body) }
        #expect(error.code == "parameter_invalid" && error.param == "card.exp", "\(error)")
    }

    private static let wrong: [(String, String, String)] = [
        ("", "json_invalid", ""), ("[]", "json_invalid", ""), ("null", "json_invalid", ""),
        ("{\"card\": ", "json_invalid", ""), ("\u{0}{}", "json_invalid", ""),
        (#"{"amount": 1, "currency": "ghs"}"#, "parameter_missing", "card"),
        (#"{"amount": 1, "currency": "ghs", "card": null}"#, "parameter_missing", "card"),
        (#"{"amount": 1, "currency": "ghs", "card": "4000001234567899"}"#, "parameter_invalid", "card"),
        (body(#""currency": "ghs""#), "parameter_missing", "amount"),
        (body(#""amount": "2500", "currency": "ghs""#), "parameter_invalid", "amount"),
        (body(#""amount": 25.5, "currency": "ghs""#), "parameter_invalid", "amount"),
        (body(#""amount": true, "currency": "ghs""#), "parameter_invalid", "amount"),
        (body(#""amount": 0, "currency": "ghs""#), "parameter_invalid", "amount"),
        (body(#""amount": -1, "currency": "ghs""#), "parameter_invalid", "amount"),
        (body(#""amount": 1e300, "currency": "ghs""#), "parameter_invalid", "amount"),
        (body(#""amount": 1000000000000, "currency": "ghs""#), "parameter_invalid", "amount"),
        (body(#""amount": 99999999999999999999999, "currency": "ghs""#), "parameter_invalid", "amount"),
        (body(#""amount": 1"#), "parameter_missing", "currency"),
        (body(#""amount": 1, "currency": "936""#), "parameter_invalid", "currency"),
        (body(#""amount": 1, "currency": "zzz""#), "parameter_invalid", "currency"),
        (body(#""amount": 1, "currency": "ghs", "capture": "later""#), "parameter_invalid", "capture"),
        (body(#""amount": 1, "currency": "ghs", "colour": "red""#), "parameter_unknown", "colour"),
        (body(#""amount": 1, "currency": "ghs", "reference": "a\u0007b""#), "parameter_invalid", "reference"),
        (
            body(#""amount": 1, "currency": "ghs", "description": "\#(String(repeating: "x", count: 201))""#),
            "parameter_invalid", "description"
        ),
        (
            body(#""amount": 1, "currency": "ghs", "reference": "4000 0012 3456 7899""#), "parameter_invalid",
            "reference"
        ),
        (body(card: #""exp": "12/30""#), "parameter_missing", "card.number"),
        (body(card: #""number": "4000001234567898", "exp": "12/30""#), "parameter_invalid", "card.number"),
        (body(card: #""number": 4000001234567899, "exp": "12/30""#), "parameter_invalid", "card.number"),
        (body(card: #""number": "4000 0012 3456 7899", "exp": "12/30""#), "parameter_invalid", "card.number"),
        (body(card: #""number": "4000001234567899""#), "parameter_missing", "card.exp"),
        (body(card: #""number": "4000001234567899", "exp": "13/30""#), "parameter_invalid", "card.exp"),
        (body(card: #""number": "4000001234567899", "exp": "12/30", "name": """#), "parameter_invalid", "card.name"),
        (body(card: #""number": "4000001234567899", "exp": "12/30", "pin": "1""#), "parameter_unknown", "card.pin"),
    ]

    @Test("What is wrong is told with its place, and without its value", arguments: wrong)
    func refusals(_ text: String, _ code: String, _ param: String) throws {
        let error = try #require(throws: APIError.self) { try decode(text) }
        #expect(error.code == code && (error.param ?? "") == param, "\(text): \(error)")
        #expect(!error.message.contains("4000") && !error.message.contains("7899"), "\(error.message)")
    }

    @Test(
        "A card's security code is refused as such, however it is named and wherever it stands",
        arguments: [
            "cvv", "CVV", "cvc", "cvv2", "CVC2", "cid", "cav2", "CSC", "cvd", "card_verification",
            "card_verification_value",
            "cardVerificationCode", "security_code", "securityCode", "card-security-code", "verification_value",
            "cv\\u0076", "cc-csc", "cv2", "cvNumber", "cv_number", "ccv", "cc_cvv", "cc-cvc", "credit_card_cvv",
            "card_cid",
            "card_csc", "card_cvn", "cvv2_number", "cvv_value", "dcvv", "cvx2", "creditCardCVV", "CVVCode", "iCVV",
            "card[cvc]", "card.cvv2", "the CVN2 of it",
        ])
    func securityCodes(_ name: String) throws {
        let member = #""\#(name)": "123""#
        for text in [
            Self.body(card: #""number": "\#(Self.number)", "exp": "12/30", \#(member)"#),
            Self.body(#""amount": 2500, "currency": "ghs", \#(member)"#),
            Self.body(
                #""amount": 2500, "currency": "ghs", "payment_method": {"a": [1, null, {"card": {\#(member)}}]}"#),
            "{\(member)}", "[\(Self.body()), {\(member)}]",
            // Whatever else is wrong with it, and wherever it stands.
            Self.body(#""amount": 0, "amount": 1, "currency": "ghs", "colour": "\x", \#(member)"#),
            Self.body(#""amount": {\#(member)}, "currency": "ghs""#),
            Self.body(#""amount": 1, "currency": "ghs", "reference": [{\#(member)}]"#),
        ] {
            let error = try #require(throws: APIError.self) { try decode(text) }
            #expect(error.code == "security_code_refused" && error.message.contains("no CVV"), "\(text): \(error)")
            #expect(!error.message.contains("123"))
        }
    }

    @Test(
        "A name that only looks like a security code's is like any other",
        arguments: [
            "currency", "incident_id", "cid_x", "c_id", "incidentId", "acid", "cvs", "cvv22", "recvcode", "cards",
            "discvv", "card_id", "",
        ])
    func otherNames(_ name: String) throws {
        let text = Self.body(#""amount": 1, "currency": "ghs", "more": {"\#(name)": 1}"#)
        let error = try #require(throws: APIError.self) { try decode(text) }
        #expect(error.code == "parameter_unknown" && error.param == "more", "\(error)")
    }

    private static let notJSON: [(String, String, String)] = [
        (#"{"amount": 1, "amount": 2}"#, "twice, at byte 14", "amount"),
        (#"{"amount": 1, "\u0061mount": 2}"#, "twice, at byte 14", "amount"),
        (#"{"card": {"exp": 1, "a": [{}, {"b": 1, "b": 1}]}}"#, "twice, at byte 39", "card.a.[1].b"),
        (#"{"card": {"exp": 1}, "amount": 1,}"#, "around byte 33", ""), (#"{"a": [1, ]}"#, "around byte 10", ""),
        (#"{"a": [, 1]}"#, "around byte 7", ""), (#"{,}"#, "around byte 1", ""), (#"{"a" 1}"#, "around byte 5", ""),
        (#"{"a": 01}"#, "around byte 7", ""), (#"{"a": 1.}"#, "around byte 8", ""),
        (#"{"a": +1}"#, "around byte 6", ""),
        (#"{"a": .5}"#, "around byte 6", ""), (#"{"a": 1e}"#, "around byte 8", ""), (#"{"a": -}"#, "around byte 7", ""),
        (#"{"a": NaN}"#, "around byte 6", ""), (#"{"a": tru}"#, "around byte 9", ""),
        (#"{'a': 1}"#, "around byte 1", ""),
        (#"{"a": 1} {}"#, "around byte 9", ""), (#"{"a": 1 /* */}"#, "around byte 8", ""), ("\u{FEFF}{}", "byte 0", ""),
        (#"{"a": "\x"}"#, "an escape that JSON does not have, at byte 7", "a"),
        (#"{"a": "\u12"}"#, "four hexadecimal digits", "a"), (#"{"a": "\ud800"}"#, "surrogate pair stands alone", "a"),
        (#"{"a": "\ud800\u0041"}"#, "surrogate pair stands alone", "a"),
        (#"{"a": "\udc00"}"#, "surrogate pair stands alone", "a"), ("{\"a\": \"b\tc\"}", "control character", "a"),
        ("{\"a\": \"b\nc\"}", "control character", "a"), (#"{"a"#, "it ends too early", ""),
        (#"{"a": "\"#, "it ends too early", ""), ("{", "it ends too early", ""), (#"{"a": 1"#, "it ends too early", ""),
        (String(repeating: "[", count: 5000), "more than 512", ""),
    ]

    @Test("What is not JSON to the letter is refused, with the place", arguments: notJSON)
    func grammar(_ text: String, _ words: String, _ param: String) throws {
        let error = try #require(throws: APIError.self) { try decode(text) }
        #expect(error.code == "json_invalid" && error.message.contains(words), "\(text): \(error.message)")
        #expect((error.param ?? "") == param, "\(text): \(error)")
    }

    @Test("What JSON allows is read: escapes, pairs of surrogates, white space, numbers of every form")
    func allowed() throws {
        let request = try decode(
            "\r\n\t "
                + Self.body(#""amount":2500,"currency":"\u0067hs","reference":"\ud83d\ude00\/\"\\\u00e9""#) + " \n")
        #expect(request.amount.minorUnits == 2500 && request.reference == "😀/\"\\é")
        for text in ["-0", "0.5", "1E+2", "1e-2", "-1.25e10", "true", "false", "null", "\"\"", "{}", "[[], {}]"] {
            try JSONScan.check(Array(#"{"a": \#(text), "b": \#(text)}"#.utf8))
        }
        try JSONScan.check(Array((String(repeating: "[", count: 512) + String(repeating: "]", count: 512)).utf8))
    }

    @Test("JSON that stops being JSON is told where")
    func place() throws {
        let error = try #require(throws: APIError.self) { try decode("{\"amount\": 1,\n \"card\": x}") }
        #expect(error.message.contains("around byte 23"), "\(error.message)")
    }
}
