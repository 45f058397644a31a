import ECardTesting
import Foundation
import Testing

@Suite("Telephones and policies on the command line", .ownThread) struct TelephoneCommandTests {
    @Test("A telephone is changed by the code that went to it, and the ledger tells of it")
    func changes() async throws {
        let issuer = try await Issuer()
        try await issuer.must("ecard customer phone $customer --phone +233244000111")
        let wrong = try await issuer.run("ecard customer phone confirm $customer --code-fd 3 3<<<12345")
        #expect(wrong.status == 5 && wrong.err.contains("Tries left: 2"))
        let confirmed = try await issuer.run(
            """
            code=$(grep -ho 'Code [0-9]*' $ECARD_HOME/outbox/*phone-mlr* | grep -o '[0-9]*')
            ecard customer phone confirm $customer --code-fd 3 3<<<$code
            ecard customer show $customer
            grep -l 'on another telephone' $ECARD_HOME/outbox/*phone-changed*
            """)
        #expect(confirmed.status == 0, "\(confirmed)")
        #expect(confirmed.out.contains("+233244000111 since"))
        let again = try await issuer.run("ecard customer phone confirm $customer --code-fd 3 3<<<123456")
        #expect(again.status == 2)
        try await issuer.must("ecard ledger verify")
        try await issuer.must(
            "\"$LEDGER_AUDIT\" $ECARD_HOME/ledger.sqlite", environment: ["LEDGER_AUDIT": Self.auditor])
    }

    @Test("Nobody's word is taken without a name and a reason")
    func word() async throws {
        let issuer = try await Issuer()
        let nameless = try await issuer.run("ecard customer phone $customer --phone +233244000111 --verified-by Esi")
        #expect(nameless.status == 2)
        try await issuer.must(
            "ecard customer phone $customer --phone +233244000111 --verified-by Esi --reason 'seen at the counter'")
        let unknown = try await issuer.run("ecard customer phone cus_0 --phone +233244000112")
        #expect(unknown.status == 4)
        let none = try await issuer.run("ecard customer language $customer Twi")
        #expect(none.status == 2)
        try await issuer.must("ecard customer language $customer tw")
        try await issuer.must("ecard ledger verify")
    }

    private static let auditor =
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("tools/ledger-audit").path
}
