import ECardTesting
import Foundation
import Testing

/// The whole payment over what others have made: Debian's osmo-hlr between the telephone and `ecard serve`, Debian's Kannel
/// and SMPP between the server and the telephone's messages, aiosmtpd for mail.
@Suite(
    .ownThread, .serialized, .virtualReaders,
    .enabled(if: HomeLocationRegister.whyNot == nil, "Debian's osmo-hlr is not installed; tools/test installs it"),
    .enabled(if: KannelService.whyNot == nil, "Debian's kannel is not installed; tools/test installs it"),
    .enabled(if: MailServer.whyNot == nil, "no aiosmtpd: tools/test installs it"))
struct MobileCoreTests {
    private static let phone = "233209876543"
    private static let imsi = "901700000000007"

    /// An active card of somebody who has a telephone and a mail address.
    private static func holder() async throws -> Issuer {
        let issuer = try await Issuer()
        try await issuer.must(
            """
            customer=$(ecard customer add --name "Ama Owusu" --phone +\(phone) --email ama@example.com)
            account=$(ecard account open --customer $customer --currency GHS)
            ecard account deposit $account --amount 500.00
            card=$(ecard card create --account $account)
            ecard card show $card --pan-fd 3 3>pan
            ecard card show $card --field expiry >expiry
            ecard card insert $card --detach
            ecard card personalize $card
            ecard card eject $card
            ecard code issue $card --code-fd 3 3>code
            echo $account >account
            """)
        return issuer
    }

    private static func settings(_ register: HomeLocationRegister, _ kannel: KannelService, _ mail: MailServer)
        -> String
    {
        """
          dial: "*713#"
          sms:
            gateway: kannel
            url: \(kannel.url)
            username: \(KannelService.username)
            secret-file: kannel.secret
            sender: ECARD
          mail:
            gateway: smtp
            host: 127.0.0.1
            port: \(mail.port)
            security: starttls
            username: \(MailServer.username)
            secret-file: mail.secret
            trust-file: \(mail.trustFile)
            sender: bank@example.com
            sender-name: Bank of Kumasi
          hlr:
            host: \(register.host)
            name: ecard
        """
    }

    private static func next(_ server: MailServer) async throws -> MailServer.Mail {
        nonisolated(unsafe) let server = server
        return try await onOwnThread { try server.next() }
    }

    @Test("A shop asks, Kannel brings the notice, the telephone pays through osmo-hlr, receipts come by SMS and mail")
    func payment() async throws {
        let issuer = try await Self.holder()
        let register = try await HomeLocationRegister(
            prefix: "*713#", entity: "ecard", subscribers: [.init(imsi: Self.imsi, msisdn: Self.phone)])
        let kannel = try await KannelService()
        let mail = try MailServer(.startTLS)
        let bank = try await GatewayBank(
            issuer, settings: Self.settings(register, kannel, mail),
            secrets: ["kannel.secret": KannelService.password, "mail.secret": MailServer.password])
        try await bank.run("until_is ok part hlr")
        let code = issuer.text("code")

        let paid = try await bank.run("pay 2500")
        let notice = try await kannel.center.next()
        #expect(notice.destination.hasSuffix(Self.phone) && notice.source == "ECARD")
        #expect(
            notice.text
                == "Makola Books asks for GHS 25.00. Dial *713# to pay with your code or to refuse. Ref \(paid.dropFirst(4))"
        )
        try await SimulatedPhone.with(host: register.host, imsi: Self.imsi) { phone in
            guard case .question(let prompt) = try await phone.dial("*713#") else {
                Issue.record("no prompt")
                return
            }
            #expect(prompt.hasPrefix("Pay Makola Books\nGHS 25.00\nRef \(paid.dropFirst(4))"), "\(prompt)")
            guard case .end(let end) = try await phone.type(code) else {
                Issue.record("no end")
                return
            }
            #expect(end.hasPrefix("Paid: GHS 25.00 to Makola Books"), "\(end)")
        }
        let receipt = try await kannel.center.next()
        #expect(receipt.text == "Paid: GHS 25.00 to Makola Books. Ref \(paid.dropFirst(4))")
        let letter = try await Self.next(mail)
        let masked = "\(issuer.text("pan").prefix(6))******\(issuer.text("pan").suffix(4))"
        #expect(letter.values("Subject") == ["Paid: GHS 25.00 to Makola Books"] && letter.defects.isEmpty)
        #expect(letter.recipients == ["ama@example.com"])
        for line in ["Merchant: Makola Books", "Amount: GHS 25.00", "Card: \(masked)", "dial *713#"] {
            #expect(letter.parts[0][1].contains(line), "\(line): \(letter.parts[0][1])")
        }
        #expect(letter.parts[1][1].contains("<td>Card</td><td><b>\(masked)</b></td>"), "\(letter.parts[1][1])")
        #expect(try await bank.run("status \(paid)") == "captured")
        let page = try await bank.run("ask $url/v1/payments/\(paid)/receipt?language=fr")
        #expect(page.contains("<h1>Reçu</h1>") && page.contains(masked) && page.contains("GHS 25.00"))

        let denied = try await bank.run("pay 1000")
        #expect(try await kannel.center.next().text.contains("GHS 10.00"))
        try await SimulatedPhone.with(host: register.host, imsi: Self.imsi) { phone in
            _ = try await phone.dial("*713#")
            guard case .end(let end) = try await phone.type("9") else {
                Issue.record("no end")
                return
            }
            #expect(end.contains("refused"), "\(end)")
        }
        #expect(try await bank.run("status \(denied)") == "denied")
        let counts = try await bank.run("metric ecard_messages_sent; metric ecard_gateway_up")
        for line in [
            #"ecard_messages_sent_total{channel="sms",kind="notice"} 2"#,
            #"ecard_messages_sent_total{channel="sms",kind="receipt"} 1"#,
            #"ecard_messages_sent_total{channel="mail",kind="receipt"} 1"#,
            #"ecard_gateway_up{channel="ussd",gateway="hlr"} 1"#,
        ] {
            #expect(counts.contains(line), "\(line): \(counts)")
        }

        let found = try await issuer.must(
            "ecard doctor --json | grep -c 'kannel answers\\|smtp answers\\|takes connections'")
        #expect(found == "3")
        kannel.stop()
        let third = try await bank.run(
            "pay 500; until_is failed part sms-kannel; curl -sS -f $url/readyz | field status")
        #expect(third.hasSuffix("degraded"), "\(third)")
        try await SimulatedPhone.with(host: register.host, imsi: Self.imsi) { phone in
            _ = try await phone.dial("*713#")
            guard case .end(let end) = try await phone.type(code) else {
                Issue.record("no end")
                return
            }
            #expect(end.hasPrefix("Paid: GHS 5.00"), "a payment waited for the SMS gateway: \(end)")
        }
        #expect(try await Self.next(mail).values("Subject") == ["Paid: GHS 5.00 to Makola Books"])
        register.stop()
        try await bank.run("until_is failed part hlr")

        try await bank.terminate()
        #expect(try await issuer.must("ecard account show $(cat account) | grep -o '470.00' | head -n 1") == "470.00")
        for secret in [code, issuer.text("pan"), issuer.text("key"), KannelService.password, MailServer.password] {
            #expect(!bank.log.contains(secret))
        }
    }
}
