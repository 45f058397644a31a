import ECardTesting
import Foundation
import Synchronization
import Testing

/// Receipts of `ecard authorize` leave by the gateways that are set, in the language of their holder.
@Suite(.ownThread, .serialized, .virtualReaders) struct ReceiptGatewayTests {
    /// Stands where Kannel stands; what it takes is to be changed.
    private final class Gateway: Sendable {
        private final class State: Sendable {
            let status = Mutex((202, "0: Accepted for delivery"))
            let bodies = Mutex<[String]>([])
        }

        private let state: State
        let server: ScriptedServer

        init() async throws {
            let state = State()
            self.state = state
            server = try await ScriptedServer { said in
                guard ScriptedServer.isWholeRequest(said) else { return .wait }
                let parts = String(decoding: said, as: UTF8.self).components(separatedBy: "\r\n\r\n")
                state.bodies.withLock { $0.append(parts.dropFirst().joined()) }
                let (status, words) = state.status.withLock { $0 }
                return ScriptedServer.http(status, words)(said)
            }
        }

        func answers(_ status: Int, _ words: String) { state.status.withLock { $0 = (status, words) } }

        /// What came since the last look.
        func took() -> [String] {
            state.bodies.withLock { bodies in
                defer { bodies = [] }
                return bodies
            }
        }
    }

    private static let withoutChip =
        "ecard authorize --card-not-present --pan-fd 3 --code-fd 4 3<pan 4<code --currency GHS --merchant Makola --expiry $(cat expiry) --json"

    private static func settings(_ gateway: Gateway) -> String {
        """
        umask 077
        echo kannel-PASS >$ECARD_HOME/kannel.secret
        cat >>$ECARD_HOME/ecard.yaml <<'YAML'
        server:
          dial: "*713#"
          sms:
            gateway: kannel
            url: http://127.0.0.1:\(gateway.server.port)/cgi-bin/sendsms
            username: ecard
            secret-file: kannel.secret
            sender: ECARD
        YAML
        """
    }

    @Test("Receipts go by SMS in French, and by mail, with and without the chip; one that is not taken comes later")
    func gateway() async throws {
        let issuer = try await Issuer()
        // The holder has a mail address, too.
        let customer = try await issuer.must(
            """
            customer=$(ecard customer add --name 'Ama Owusu' --phone +233209876543 --email ama@example.com)
            ecard customer language $customer fr >&2
            echo $customer
            """)
        let account = try await issuer.must(
            """
            account=$(ecard account open --customer \(customer) --currency GHS)
            ecard account deposit $account --amount 100 >&2
            echo $account
            """)
        let environment = ["account": account]
        let card = try await issuer.must(
            """
            card=$(ecard card create --account \(account))
            ecard card show $card --pan-fd 3 3>pan >&2
            ecard card show $card --field expiry >expiry
            ecard card insert $card --detach >&2
            ecard card personalize $card >&2
            ecard code issue $card --code-fd 3 3>code >&2
            echo $card
            """, environment: environment)
        let gateway = try await Gateway()
        try await issuer.must(Self.settings(gateway))

        expect(
            try await issuer.run(
                "ecard authorize --card \(card) --amount 30 --currency GHS --merchant Kaneshie --code-fd 4 4<code"),
            exits: 0)
        let chip = gateway.took()
        #expect(chip.count == 1 && chip[0].hasPrefix("Payé : GHS 30.00 à Kaneshie. Ref "), "\(chip)")

        // Mail has no gateway: it lies in the outbox, with what to dial.
        let mails = try await issuer.must("cat $ECARD_HOME/outbox/mail-receipt-*.json")
        #expect(mails.contains("ama@example.com") && mails.contains("Kaneshie"), "\(mails)")
        #expect(mails.contains("*713#") && mails.contains("Commerçant: Kaneshie"), "\(mails)")
        #expect(try await issuer.must("ls $ECARD_HOME/outbox | grep -c '^receipt-' || true") == "0")

        // A gateway that is down costs the payment nothing.
        gateway.answers(503, "Temporal failure")
        expect(
            try await issuer.run(Self.withoutChip + " --amount 1 --capture later"), exits: 0,
            saying: ["receipts were not sent"])
        #expect(gateway.took().count == 1)
        gateway.answers(202, "0: Accepted for delivery")
        try await issuer.must("ecard payment list")
        let later = gateway.took()
        #expect(later.count == 1 && later[0].hasPrefix("Accepté : GHS 1.00 pour Makola, débité plus tard"), "\(later)")

        // One that can never arrive keeps no other from leaving.
        gateway.answers(403, "Not routable. Do not try again.")
        expect(try await issuer.run(Self.withoutChip + " --amount 2"), exits: 0, saying: ["receipt was given up"])
        gateway.answers(202, "0: Accepted for delivery")
        _ = gateway.took()
        expect(try await issuer.run(Self.withoutChip + " --amount 3"), exits: 0)
        let last = gateway.took()
        #expect(last.count == 1 && last[0].contains("GHS 3.00"), "\(last)")
        try await gateway.server.close()
        try await issuer.must("ecard card eject \(card); ecard ledger verify")
    }
}
