import ECardTesting
import Foundation
import Synchronization
import Testing

/// An SMS gateway that is silent, gone or talks nonsense while payments go on.
@Suite(.ownThread) struct MessageFaultTests {
    /// Stands where Kannel stands.
    private final class Gateway: Sendable {
        enum Mood: CaseIterable {
            case takes, silent, gone, garbage
        }
        private let moods: Moods
        let server: ScriptedServer

        /// What each message was answered with, by its body.
        private final class Moods: Sendable {
            let now = Mutex(Mood.takes)
            let messages = Mutex<[(body: String, mood: Mood)]>([])
        }

        init() async throws {
            let moods = Moods()
            server = try await ScriptedServer { said in
                guard ScriptedServer.isWholeRequest(said) else { return .wait }
                let body = String(decoding: said, as: UTF8.self).components(separatedBy: "\r\n\r\n").dropFirst()
                let mood = moods.now.withLock { $0 }
                moods.messages.withLock { $0.append((body.joined(), mood)) }
                switch mood {
                case .takes: return ScriptedServer.http(202, "0: Accepted for delivery")(said)
                case .silent: return .wait
                case .gone: return .end([])
                case .garbage: return ScriptedServer.http(200, "<html>")(said)
                }
            }
            self.moods = moods
        }

        func becomes(_ mood: Mood) { moods.now.withLock { $0 = mood } }

        /// Bodies that came, with what they were answered.
        func came(_ words: String) -> [Mood] {
            moods.messages.withLock { $0.filter { $0.body.contains(words) }.map(\.mood) }
        }

        func waits(for words: String, _ condition: @escaping ([Mood]) -> Bool) async throws {
            let deadline = ContinuousClock.now + .seconds(240)
            while !condition(came(words)) {
                try #require(ContinuousClock.now < deadline, "'\(words)' did not come as it should: \(came(words))")
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    @Test("Payments are not held up; a code leaves at most once, a receipt until it is taken")
    func faults() async throws {
        let issuer = try await Issuer.withCard()
        let gateway = try await Gateway()
        let bank = try await GatewayBank(
            issuer,
            settings: """
                  ussd:
                    africastalking:
                      secret-file: at.secret
                  sms:
                    gateway: kannel
                    url: http://127.0.0.1:\(gateway.server.port)/cgi-bin/sendsms
                    username: ecard
                    secret-file: kannel.secret
                    sender: ECARD
                    time-limit: 2
                """,
            secrets: ["at.secret": "0123456789abcdef0123456789abcdef", "kannel.secret": "kannel-PASS"])
        var references: [String] = []
        for (number, mood) in [Gateway.Mood.silent, .gone, .garbage].enumerated() {
            gateway.becomes(mood)
            let payment = try await bank.run(
                """
                id=$(pay \(number + 1)00)
                dial s\(number) '' | grep -q 'GHS \(number + 1).00'
                dial s\(number) "$(cat code)" | grep -q '^END Paid: GHS \(number + 1).00'
                [ "$(status $id)" = captured ]
                echo $id
                """)
            references.append(String(payment.dropFirst(4)))
            try await gateway.waits(for: "Paid: GHS \(number + 1).00") { $0.contains(mood) }
        }
        #expect(
            try await bank.run("part sms-kannel; curl -sS -o /dev/null -w '%{http_code}' $url/readyz") == "failed\n200")
        gateway.becomes(.takes)
        for reference in references {
            try await gateway.waits(for: " to Makola Books. Ref \(reference)") { $0.last == .takes }
        }
        try await bank.run("until_is ok part sms-kannel")

        // A code for one payment, whose answer is nonsense: nobody knows whether it came.
        try await issuer.must("ecard card policy $card --profiles D")
        gateway.becomes(.garbage)
        try await bank.run("pay 400")
        try await gateway.waits(for: "GHS 4.00 to Makola Books: code") { !$0.isEmpty }
        try await bank.logs("Message given up")
        gateway.becomes(.takes)
        try await bank.run("pay 500")
        try await gateway.waits(for: "GHS 5.00 to Makola Books: code") { $0 == [.takes] }
        // What waited longer than the code has left by now.
        try await gateway.waits(for: "asks for GHS 4.00") { $0.last == .takes }
        #expect(gateway.came("GHS 4.00 to Makola Books: code") == [.garbage])
        try await bank.terminate()
        try await issuer.must("ecard ledger verify; ecard bank verify")
        #expect(try await issuer.must("ecard account show $account --json | grep -o '494.00' | head -n 1") == "494.00")
        try await gateway.server.close()
    }
}
