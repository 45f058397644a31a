import ByteCoding
import Crypto
import ECardTesting
import Foundation
import PaymentPorts
import Testing

@testable import OOPA

/// The dialogue before a bank on real parts: its books, its token, its desks.
@Suite struct BankTelephoneTests {
    typealias Gateway = GatewayPhone.Gateway

    /// Dials, then types; the dialogue is made anew each time.
    private func walk(_ bank: TestBank, _ phone: inout GatewayPhone, _ inputs: [String]) async throws -> [String] {
        var screens: [String] = []
        for input in [nil] + inputs {
            let request = try input.map { try phone.type($0) } ?? phone.request()
            let dialogue = bank.office.dialogue(try TelephoneTexts.standard.get())
            let answer = try await dialogue.respond(to: request)
            #expect(answer.failure == nil)
            // Twice, as a gateway that got no answer; one that does not count repeats what acts alone.
            if phone.gateway != .arkesel || !answer.continues {
                let again = try await dialogue.respond(to: request)
                #expect(again.text == answer.text && again.continues == answer.continues)
            }
            screens.append(answer.text.text)
        }
        return screens
    }

    @Test("A code pays what the prompt said, once", arguments: Gateway.allCases)
    func pays(gateway: Gateway) async throws {
        let bank = try await TestBank()
        let payment = try await bank.create()
        var phone = GatewayPhone(gateway, phone: TestBank.phone)
        let screens = try await walk(bank, &phone, ["000000", TestBank.code])
        #expect(screens[0].hasPrefix("Pay Makola Books\nGHS 25.00\n"))
        #expect(screens[1].hasPrefix("Wrong code"))
        #expect(screens[2].hasPrefix("Paid: GHS 25.00 to Makola Books"))
        let stands = try await bank.stands(payment.id)
        #expect(stands.state == .captured && stands.attempts == 2 && stands.profile == .plain)
        #expect(stands.prompt?.text == screens[1] && stands.prompt?.channel == "ussd:\(gateway.rawValue)")
        #expect(try await bank.funds() == [975_00, 0])
        try await bank.expectWhole()
    }

    @Test(
        "A code that the handset sealed for the screen pays; sealed for another screen it is a wrong one",
        arguments: [true, false])
    func sealed(isDigits: Bool) async throws {
        let bank = try await TestBank()
        let payment = try await bank.create()
        var phone = GatewayPhone(.africastalking, phone: TestBank.phone)
        let shown = try await walk(bank, &phone, [])[0]
        let key = try #require(try await bank.issuer.sealingKeys().first)
        // What a handset knows: its number, the screen and the key.
        func typed(for screen: String) throws -> String {
            let prompt = try #require(PaymentPrompt.parse(screen))
            #expect(prompt.payment == payment.id)
            let context = CodeContext(
                payment: prompt.payment, promptDigest: Array(SHA256.hash(data: Data(screen.utf8))),
                phone: TestBank.phone, expiresAt: prompt.expiresAt)
            let sealed = try CodeSealing.seal(
                SecretBytes(Array(TestBank.code.utf8)), to: key, form: .compact, context: context)
            return CodeSealing.text(sealed, digitsOnly: isDigits)
        }
        func type(_ text: String) async throws -> String {
            let dialogue = bank.office.dialogue(try TelephoneTexts.standard.get())
            return try await dialogue.respond(to: phone.type(text)).text.text
        }
        let wrong = try await type(typed(for: shown.replacing("25.00", with: "1.00")))
        #expect(wrong.hasPrefix("Wrong code"))
        #expect(try await type(typed(for: wrong)).hasPrefix("Paid"))
        let stands = try await bank.stands(payment.id)
        #expect(stands.state == .captured && stands.profile == .sealed && stands.sealedCode == nil)
        try await bank.expectWhole()
    }

    @Test("9 refuses", arguments: Gateway.allCases)
    func refuses(gateway: Gateway) async throws {
        let bank = try await TestBank()
        let payment = try await bank.create()
        var phone = GatewayPhone(gateway, phone: TestBank.phone)
        #expect(try await walk(bank, &phone, ["9"])[1].hasPrefix("You refused. Nothing was paid"))
        #expect(try await bank.stands(payment.id).state == .denied)
        try await bank.expectWhole()
    }

    @Test(
        "What was answered is cancelled on the telephone while nobody has the money: held, in doubt, or looked at",
        arguments: Gateway.allCases, [OnlinePayment.State.authorized, .checking, .review])
    func cancels(gateway: Gateway, from state: OnlinePayment.State) async throws {
        let bank = try await TestBank(
            patterns: state == .review ? BankPolicyTests.rules("{reason: high, amount-above: 20}") : TestBank.noPatterns
        )
        _ = try await bank.office.sealingKeys.newest()
        let payment = try await bank.shown(later: state == .authorized)
        if state == .checking { bank.issuer.fail { .lostAnswer } }
        _ = try await bank.answer(payment.id)
        #expect(try await bank.stands(payment.id).state == state)
        var phone = GatewayPhone(gateway, phone: TestBank.phone)
        let screens = try await walk(bank, &phone, ["5", "1", "9"])
        #expect(screens[1] == "Which one?\n1 Makola Books GHS 25.00\n0 Back")
        #expect(screens[2].hasPrefix("Cancel Makola Books\nGHS 25.00\n"))
        #expect(screens[3].hasPrefix("You cancelled. Nothing was paid"))
        let ends: [OnlinePayment.State: OnlinePayment.State] = [
            .authorized: .voided, .checking: .cancelled, .review: .denied,
        ]
        let stands = try await bank.stands(payment.id)
        #expect(stands.state == ends[state] && stands.sealedCode == nil)
        #expect(try await bank.database.steps(of: payment.id).last?.role == .holder)
        // What the issuer approved is given back as soon as it can be told.
        bank.issuer.fail { nil }
        try await bank.settle(rounds: 2)
        #expect(try await bank.funds() == [1_000_00, 0])
        #expect(try await bank.database.evidence(of: payment.id) != nil)
        try await bank.expectWhole()
    }

    @Test("Another telephone sees nothing of it")
    func others() async throws {
        let bank = try await TestBank()
        let payment = try await bank.create()
        var phone = GatewayPhone(.hubtel, phone: "+233209999999")
        #expect(try await walk(bank, &phone, []) == ["No card of ours answers on this number"])
        #expect(try await bank.stands(payment.id).prompt == nil)
    }
}
