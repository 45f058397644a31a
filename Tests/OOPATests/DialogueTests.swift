import ByteCoding
import ECardTesting
import PaymentPorts
import Testing

@testable import OOPA

/// The dialogue on each gateway's own bytes.
@Suite struct DialogueTests {
    typealias Gateway = GatewayPhone.Gateway

    static func payments(_ names: String...) throws -> [OnlinePayment] {
        try names.enumerated().map { number, name in
            try TelephoneTextsTests.payment(name: name, id: PaymentID(rawValue: "pay_000000000000000\(number)"))
        }
    }

    /// Types one input after the other.
    /// - Returns: every screen, beginning with the one after dialling.
    @discardableResult
    static func walk(
        _ bench: DialogueBench, _ phone: inout GatewayPhone, _ inputs: [String],
        isTwice: (String) -> Bool = { _ in false }
    ) async throws -> [USSDAnswer] {
        var screens = [try await bench.respond(try phone.request())]
        for input in inputs {
            let request = try phone.type(input)
            screens.append(try await bench.respond(request))
            if isTwice(input) {
                let again = try await bench.respond(try phone.request())
                #expect(again.text == screens.last?.text && again.continues == screens.last?.continues)
            }
        }
        return screens
    }

    @Test("One payment that waits is shown at once, and its code pays it", arguments: Gateway.allCases)
    func pays(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var phone = GatewayPhone(gateway)
        let screens = try await Self.walk(bench, &phone, ["4711"])
        #expect(screens[0].continues && screens[0].text.text.hasPrefix("Pay Makola Books\nGHS 25.00\n"))
        #expect(!screens[1].continues && screens[1].text.text.hasPrefix("Paid: GHS 25.00 to Makola Books"))
        #expect(await bench.holders.acts == ["digits pay_0000000000000000"])
        // The prompt was written down as it was shown, before.
        let shown = await bench.holders.payments[0].prompt
        #expect(shown?.text == screens[0].text.text && shown?.channel == "ussd:\(gateway.rawValue)")
    }

    @Test("A wrong code says what is left, and the right one still pays", arguments: Gateway.allCases)
    func wrongCode(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var phone = GatewayPhone(gateway)
        let screens = try await Self.walk(bench, &phone, ["1234", "4711"])
        #expect(screens[1].continues && screens[1].text.text.hasPrefix("Wrong code. Tries left: 2\nPay Makola Books"))
        #expect(screens[2].text.text.hasPrefix("Paid"))
    }

    @Test("9 refuses, and nothing is paid", arguments: Gateway.allCases)
    func refuses(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var phone = GatewayPhone(gateway)
        let screens = try await Self.walk(bench, &phone, ["9"])
        #expect(!screens[1].continues && screens[1].text.text.hasPrefix("You refused"))
        #expect(await bench.holders.acts == ["deny pay_0000000000000000"])
    }

    @Test("Of two payments the one that was picked is paid", arguments: Gateway.allCases)
    func picks(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books", "Kaneshie Market"))
        var phone = GatewayPhone(gateway)
        let screens = try await Self.walk(bench, &phone, ["1", "2", "4711"])
        #expect(screens[0].text.text.contains("\n1 To answer: 2\n"))
        #expect(screens[1].text.text.contains("\n2 Kaneshie Market GHS 25.00\n"))
        #expect(screens[2].text.text.hasPrefix("Pay Kaneshie Market"))
        #expect(await bench.holders.acts == ["digits pay_0000000000000001"])
    }

    @Test("Receipts, languages and a card that is blocked", arguments: Gateway.allCases)
    func menu(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"), cards: 2)
        var phone = GatewayPhone(gateway)
        let screens = try await Self.walk(bench, &phone, ["0", "2", "0", "4", "2", "3", "2", "9"])
        let texts = screens.map(\.text.text)
        #expect(
            texts[1] == "Card payments\n1 To answer: 1\n2 Last payments\n3 Block a card\n4 Language\n"
                + "5 Cancel a payment\n0 End")
        #expect(texts[2] == "Nothing here\n0 Back")
        #expect(texts[4] == "Language?\n1 English\n2 Français\n3 Twi\n0 Back")
        #expect(texts[5].hasPrefix("Paiements par carte\n"))
        #expect(texts[6] == "Bloquer quelle carte ?\n1 993600******1000\n2 993600******1001\n0 Retour")
        #expect(texts[7].hasPrefix("Bloquer la carte 993600******1001 ?"))
        #expect(texts[8] == "La carte 993600******1001 est bloquée" && !screens[8].continues)
        #expect(await bench.holders.acts == ["language fr", "block card_1"])
    }

    @Test(
        "Of what was answered and is not collected yet the one that was picked is cancelled, once",
        arguments: Gateway.allCases)
    func cancels(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books", "Kaneshie Market"))
        for place in 0..<2 { await bench.holders.end(place, as: .authorized) }
        var phone = GatewayPhone(gateway)
        let screens = try await Self.walk(
            bench, &phone, ["5", "2", "0", "5", "7", "2", "4711", "9"], isTwice: { $0 == "9" })
        let texts = screens.map(\.text.text)
        #expect(texts[0].hasPrefix("Card payments\n1 To answer: 0\n"))
        #expect(texts[1] == "Which one?\n1 Makola Books GHS 25.00\n2 Kaneshie Market GHS 25.00\n0 Back")
        #expect(texts[2].hasPrefix("Cancel Kaneshie Market\nGHS 25.00\n"))
        #expect(texts[3] == texts[0] && texts[4] == texts[1] && texts[5] == texts[1])
        // No code is wanted here.
        #expect(texts[6] == texts[2] && texts[7] == texts[2])
        #expect(texts[8].hasPrefix("You cancelled. Nothing was paid\nKaneshie Market") && !screens[8].continues)
        #expect(await bench.holders.acts == ["deny pay_0000000000000001"])
    }

    @Test(
        "What the merchant has collected meanwhile is not cancelled, and the holder is told",
        arguments: Gateway.allCases)
    func collected(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        await bench.holders.end(0, as: .authorized)
        var phone = GatewayPhone(gateway)
        try await Self.walk(bench, &phone, ["5", "1"])
        await bench.holders.end(0, as: .captured)
        let answer = try await bench.respond(try phone.type("9"))
        #expect(answer.text.text.hasPrefix("This payment has ended") && !answer.continues)
        #expect(await bench.holders.acts == [])
        var other = GatewayPhone(gateway, session: "s2")
        let screens = try await Self.walk(bench, &other, ["5"])
        #expect(screens[1].text.text == "Nothing here\n0 Back")
    }

    @Test("What a gateway sends twice gets the same answer and is done once", arguments: Gateway.allCases)
    func repeats(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books", "Kaneshie Market"))
        var phone = GatewayPhone(gateway)
        let first = try await bench.respond(try phone.request())
        #expect(try await bench.respond(try phone.request()).text == first.text)
        // A gateway that does not count may repeat what only shows: nothing is done by it.
        let inputs = ["1", "2", "1234", "4711"]
        for input in inputs {
            let request = try phone.type(input)
            let answer = try await bench.respond(request)
            guard gateway != .arkesel || input.count == 4 else { continue }
            for _ in 0..<3 {
                let again = try await bench.respond(request)
                #expect(again.text == answer.text && again.continues == answer.continues)
            }
        }
        #expect(await bench.holders.acts == Array(repeating: "digits pay_0000000000000001", count: 2))
    }

    @Test("Without a count, digits that come twice pick lines and confirm nothing")
    func digitsConfirmNothing() async throws {
        var random = SeededGenerator()
        print("DialogueTests.digitsConfirmNothing: ECARD_TEST_SEED=\(random.seed)")
        for _ in 0..<60 {
            let bench = DialogueBench(try Self.payments("Makola Books", "Kaneshie Market", "Osu Shoes"), cards: 3)
            var phone = GatewayPhone(.arkesel)
            let inputs = (0..<20).flatMap { _ in
                Array(
                    repeating: String(Int.random(in: 0...8, using: &random)),
                    count: Int.random(in: 1...3, using: &random))
            }
            try await Self.walk(bench, &phone, inputs)
            #expect(await bench.holders.acts.allSatisfy { $0.hasPrefix("language") }, "\(inputs)")
        }
    }

    @Test(
        "A lost answer is given again after a restart, and an input that was being acted on is not acted on again",
        arguments: Gateway.allCases, [true, false])
    func crash(gateway: Gateway, isBefore: Bool) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var phone = GatewayPhone(gateway)
        try await Self.walk(bench, &phone, [])
        await bench.holders.breakAnswers(before: isBefore, after: !isBefore)
        let request = try phone.type("1234")
        let excuse = try await bench.respond(request)
        #expect(excuse.text.text.hasPrefix("We cannot do this now") && !excuse.continues)
        #expect(excuse.failure == "the model broke where it was told to")
        await bench.holders.breakAnswers()
        let again = try await bench.respond(request)
        #expect(again.text.text.hasPrefix("We are at work on your answer") && !again.continues)
        #expect(await bench.holders.acts.count == (isBefore ? 0 : 1))
        // Dialled again, everything goes on.
        var next = GatewayPhone(gateway, session: "s2")
        #expect(try await Self.walk(bench, &next, ["4711"]).last?.text.text.hasPrefix("Paid") == true)
    }

    @Test("The same request many times at once is done once", arguments: Gateway.allCases)
    func concurrent(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var phone = GatewayPhone(gateway)
        try await Self.walk(bench, &phone, [])
        let request = try phone.type("1234")
        let answers = try await withThrowingTaskGroup(of: USSDAnswer.self) { group in
            for _ in 0..<16 { group.addTask { try await bench.respond(request) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(await bench.holders.acts.count == 1)
        #expect(
            answers.allSatisfy {
                $0.failure == nil && ($0.text.text.hasPrefix("Wrong code") || $0.text.text.hasPrefix("We are at work"))
            })
        #expect(answers.contains { $0.text.text.hasPrefix("Wrong code") })
    }

    @Test("Two dialogues on one telephone: the second learns that it is over", arguments: Gateway.allCases)
    func twoSessions(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var first = GatewayPhone(gateway, session: "first")
        var second = GatewayPhone(gateway, session: "second")
        try await Self.walk(bench, &first, [])
        try await Self.walk(bench, &second, [])
        let paid = try await bench.respond(try first.type("4711"))
        #expect(paid.text.text.hasPrefix("Paid"))
        let late = try await bench.respond(try second.type("9"))
        #expect(late.text.text.hasPrefix("This payment has ended"))
        #expect(await bench.holders.acts.count == 1)
    }

    @Test("A code for a screen that we did not show is not used", arguments: [Gateway.africastalking, .hubtel])
    func missedScreen(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var unknown = GatewayPhone(gateway, session: "unknown")
        let begun = try await bench.respond(try unknown.type("4711"))
        #expect(begun.text.text.hasPrefix("Pay Makola Books"))
        // One request of this dialogue never came.
        var phone = GatewayPhone(gateway)
        try await Self.walk(bench, &phone, [])
        _ = try phone.type("0")
        let answer = try await bench.respond(try phone.type("4711"))
        #expect(answer.text.text.hasPrefix("Pay Makola Books") && answer.continues)
        #expect(await bench.holders.acts.isEmpty)
        #expect(try await bench.respond(try phone.type("4711")).text.text.hasPrefix("Paid"))
    }

    @Test("A dialogue stays with its number, and a number without cards gets nothing", arguments: Gateway.allCases)
    func strangers(gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var phone = GatewayPhone(gateway)
        try await Self.walk(bench, &phone, [])
        var other = GatewayPhone(gateway, phone: "+233244000999")
        let refused = try await bench.respond(try other.type("4711"))
        #expect(refused.failure?.contains("another telephone") == true && !refused.continues)
        #expect(await bench.holders.acts.isEmpty)
        let own = GatewayPhone(gateway, session: "own", phone: "+233244000999")
        let nobody = try await bench.respond(try own.request())
        #expect(nobody.text.text == "No card of ours answers on this number" && !nobody.continues)
    }

    @Test(
        "A payment that ended under the holder's eyes is not paid",
        arguments: [OnlinePayment.State.cancelled, .expired])
    func endedMeanwhile(state: OnlinePayment.State) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var phone = GatewayPhone(.hubtel)
        try await Self.walk(bench, &phone, [])
        await bench.holders.end(0, as: state)
        let answer = try await bench.respond(try phone.type("4711"))
        #expect(answer.text.text.hasPrefix("This payment has ended") && !answer.continues)
    }

    @Test(
        "What the bank refuses is said, kept and not tried again",
        arguments: [
            (DeskError.Kind.tooMany, "Too many answers"), (.forbidden, "This card takes no code here"),
        ], Gateway.allCases)
    func refused(refusal: (kind: DeskError.Kind, text: String), gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var phone = GatewayPhone(gateway)
        try await Self.walk(bench, &phone, [])
        await bench.holders.refuse(refusal.kind)
        let request = try phone.type("4711")
        let answer = try await bench.respond(request)
        #expect(answer.text.text.hasPrefix(refusal.text) && !answer.continues && answer.failure == nil)
        await bench.holders.refuse(nil)
        #expect(try await bench.respond(request).text == answer.text)
        #expect(await bench.holders.acts.isEmpty)
    }

    @Test("Inputs that mean nothing change nothing", arguments: ["", "12", "123456789", "abc", "4711#", "７８９０", "*"])
    func nonsense(input: String) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var phone = GatewayPhone(.hubtel)
        let screens = try await Self.walk(bench, &phone, [input])
        #expect(screens[1].continues && screens[1].text.text.hasPrefix("That is no choice here\nPay Makola Books"))
        #expect(await bench.holders.acts.isEmpty)
    }

    @Test(
        "A sealed code is handed on as it is, and half of one is no code", arguments: [true, false], Gateway.allCases)
    func sealed(isDigits: Bool, gateway: Gateway) async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        var random = SeededGenerator(seed: 1)
        let code = [1] + random.bytes(32 + 4 + 16)
        let text = CodeSealing.text(code, digitsOnly: isDigits)
        var phone = GatewayPhone(gateway)
        let screens = try await Self.walk(bench, &phone, [String(text.dropLast(9)), text])
        #expect(screens[1].text.text.hasPrefix("That is no choice here\nPay Makola Books"))
        #expect(screens[2].text.text.hasPrefix("Paid"))
        #expect(await bench.holders.acts == ["sealed pay_0000000000000000 \(code.hex)"])
    }

    @Test(
        "Every one of many payments can be reached", arguments: [USSDLimit.network, USSDLimit(septets: 128, units: 56)])
    func pages(limit: USSDLimit) async throws {
        let payments = try (0..<20).map { number in
            try TelephoneTextsTests.payment(
                name: "Merchant number \(number)", id: PaymentID(rawValue: "pay_00000000000000" + String(number + 10)))
        }
        let bench = DialogueBench(payments)
        func send(_ input: String?) async throws -> String {
            try await bench.respond(
                USSDRequest(
                    gateway: "hlr", session: "1", phone: HolderModel.phone, kind: input == nil ? .begin : .input,
                    text: SecretBytes(Array((input ?? "").utf8)), limit: limit)
            ).text.text
        }
        _ = try await send(nil)
        var page = try await send("1")
        var seen = 0
        while true {
            seen += page.matches(of: #/Merchant number \d+/#).count
            guard page.contains("\n8 ") else { break }
            page = try await send("8")
        }
        #expect(seen == 20)
        #expect(try await send("1").contains("Merchant number"))
    }

    @Test("No code is kept, wherever the dialogue stands")
    func keepsNoCode() async throws {
        let bench = DialogueBench(try Self.payments("Makola Books"))
        for gateway in Gateway.allCases {
            var phone = GatewayPhone(gateway)
            try await Self.walk(bench, &phone, ["98765432", "98765432"])
        }
        let kept = await bench.sessions.sessions.values.map { session in
            String(decoding: session.position + session.lastAnswer + session.lastInput, as: UTF8.self) + "\(session)"
        }
        #expect(kept.count == 3 && !kept.contains { $0.contains("98765432") })
    }
}
