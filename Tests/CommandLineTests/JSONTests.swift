import ECardTesting
import Foundation
import Testing

/// What `--json` prints is for programs: it parses, and its keys are always the same.
@Suite(.ownThread) struct JSONTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        let command: String
        let keys: Set<String>
        init(_ command: String, _ keys: String) {
            self.command = command
            self.keys = Set(keys.split(separator: " ").map(String.init))
        }
        var testDescription: String { command }
    }

    private static let card =
        "id account pan sequenceNumber expiry name profile state exposed lastVerifiedATC createdAt reader"
    private static let customer = "id name phone phoneSince email language createdAt"
    private static let account = "id customer currency balance held available"
    private static let code = "card version digits state failures failureLimit issuedAt expiresAt code deliveredTo"
    private static let mailer = "mailer card version state place sealedAt expiresAt"
    private static let merchant = "id name registration country state verifiedBy signatures createdAt"
    private static let signingKey = "keyid merchant live createdAt endedAt publicKey"
    private static let payment =
        "id state channel merchant amount currency captured refunded card pan responseCode reason createdAt holdExpiresAt"

    static let shapes = [
        Shape("init", "home token keysMade alreadyThere"),
        Shape("doctor", "part ok what mend"),
        Shape("hsm info", "module manufacturer description version cryptoki tokens"),
        Shape("hsm preflight", "token canIssue rows abilities imported keyFindings"),
        Shape("hsm keys", "label version state type usage checkValue dependants purpose imported"),
        Shape("hsm component cvk --component-fd 3 3>/dev/null", "key bytes checkValue file"),
        Shape(
            "hsm import cvk --components 2 --component-fd 3 --component-fd 4 --expect-kcv 08D7B4 3<<<803DC8248E08183E2E1BB14555C0BB7A 4<<<811E8D4307A3D5D1D0C70BDD2394896A",
            "key label version checkValue components adjustedParity transcript recorded"),
        Shape(
            "hsm transcript verify $ECARD_HOME/ceremonies/*",
            "transcript sealed consistent keyPresent recorded findings"),
        Shape("hsm rotate pan --yes", "key version isNew imported checkValue underOlder"),
        Shape("hsm rotate --status", "key version state dependants toMove what"),
        Shape("hsm retire pan 1 --yes", "id state"),
        Shape("hsm speed --seconds 0.01", "operation mode perSecond microseconds refused"),
        Shape("pki init", "party certificate key validUntil serialNumber"),
        Shape("pki issue bank", "party certificate key validUntil serialNumber"),
        Shape("pki list", "party certificate key validUntil serialNumber"),
        Shape("bank init", "home token keysMade alreadyThere"),
        Shape("merchant add --name Makola --registration CS-1", merchant),
        Shape("merchant list", merchant),
        Shape("merchant show $(ecard merchant list | tail -1 | cut -d' ' -f1)", "merchant keys"),
        Shape("merchant verify $(ecard merchant list | tail -1 | cut -d' ' -f1) --by Efua", "id state"),
        Shape("merchant key $(ecard merchant list | tail -1 | cut -d' ' -f1)", "hint live createdAt endedAt key"),
        Shape(
            "merchant signing-key add $(ecard merchant list | tail -1 | cut -d' ' -f1) <(openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout 2>/dev/null)",
            signingKey),
        Shape("merchant signing-key list $(ecard merchant list | tail -1 | cut -d' ' -f1)", signingKey),
        Shape("merchant require-signatures $(ecard merchant list | tail -1 | cut -d' ' -f1) --by Efua", "id state"),
        Shape(
            "merchant signing-key end $(ecard merchant list | tail -1 | cut -d' ' -f1) --keyid $(ecard merchant signing-key list $(ecard merchant list | tail -1 | cut -d' ' -f1) | tail -1 | cut -d' ' -f1)",
            "id state"),
        Shape(
            "merchant settle $(ecard merchant list | tail -1 | cut -d' ' -f1)",
            "merchant live currency captured refunded paid owed"),
        Shape(
            "webhook add $(ecard merchant list | tail -1 | cut -d' ' -f1) --url https://shop.example/hook",
            "id merchant live url createdAt secret"),
        Shape("webhook list $(ecard merchant list | tail -1 | cut -d' ' -f1)", "id merchant live url createdAt secret"),
        Shape("webhook events $(ecard merchant list | tail -1 | cut -d' ' -f1)", ""),
        Shape("webhook resend $(ecard merchant list | tail -1 | cut -d' ' -f1) --all", ""),
        Shape(
            "webhook remove $(ecard merchant list | tail -1 | cut -d' ' -f1) $(ecard webhook list $(ecard merchant list | tail -1 | cut -d' ' -f1) | tail -1 | cut -d' ' -f1)",
            "id state"),
        Shape("bank payment list", ""),
        Shape("review list", ""),
        Shape("bank verify", "records findings"),
        Shape("bank checkpoint", "count seal"),
        Shape("evidence key", "kty crv x y use alg kid"),
        Shape(
            "evidence verify --public-key <(ecard evidence key) <(echo no.such.record)",
            "line valid finding record request merchantSigned"),
        Shape("reader list", "name card atr inUse exclusive mute virtual"),
        Shape("customer add --name B", customer),
        Shape("customer show $customer", customer),
        Shape("customer list", customer),
        Shape("customer phone $customer --phone +233200000001", "customer phone state expiresAt"),
        Shape(
            "customer phone $customer --phone +233200000002 --verified-by Esi --reason 'came to the counter'",
            "customer phone state expiresAt"),
        Shape("customer language $customer tw", "id state"),
        Shape("account open --customer $customer --currency EUR", account),
        Shape("account show $account", "account postings"),
        Shape("account deposit $account --amount 1", account),
        Shape("account list", account),
        Shape("card create --account $account", card),
        Shape("card list", card),
        Shape("card list --limit 1", card),
        Shape("card show $card", card),
        Shape("card policy $card", "card profiles"),
        Shape("card policy $card --profiles B,D", "card profiles"),
        Shape("card eject --all", "id state"),
        Shape("code status $card", code),
        Shape(
            "authorize --card-not-present --pan-fd 3 --code-fd 4 3<pan 4<code --expiry $(cat expiry) --amount 1 --currency GHS --merchant M --capture later",
            "approved payment responseCode message amount currency merchant pan state chip nameMatch repeated"),
        Shape("code rotate $card", code),
        Shape("code rotate $card --deliver", code),
        Shape("code rotate $card --mailer", code),
        Shape("code keys", "key publicKey"),
        Shape("handset +233201234567 --script /dev/null", "phone url profile exchanges messages"),
        Shape("code deliver --list", mailer),
        Shape("code deliver --out $FOLDER/mailers", mailer),
        Shape(
            "card personalize --batch <(printf 'reference,name,currency\\nR1,Ama Mensah,GHS\\nR2,Esi Addo,GHS') --dry-run",
            "line reference card pan state reason milliseconds timing prepared"),
        Shape("payment list", payment),
        Shape("payment show $(ecard payment list --ids --limit 1)", payment),
        Shape("payment capture $(ecard payment list --ids --limit 1)", payment),
        Shape("payment refund $(ecard payment list --ids --limit 1)", payment),
        Shape("ledger list", "number at kind subject detail"),
        Shape("ledger list --limit 1", "number at kind subject detail"),
        Shape("ledger verify", "records findings"),
        Shape("ledger checkpoint", "count seal"),
        Shape("code revoke $card", "id state"),
        Shape("card block $card", "id state"),
    ]

    @Test func everyFactHasItsKeys() async throws {
        let issuer = try await Issuer.withCard()
        for shape in Self.shapes {
            let outcome = try await issuer.run("ecard \(shape.command) --json")
            if shape.command == "doctor" || shape.command == "reader list", outcome.status == 3 {
                // Without pcscd there is nothing to list; the suite with readers has it.
                continue
            }
            #expect(outcome.status <= 1 || shape.command.hasPrefix("evidence verify"), "\(outcome)")
            let facts = try outcome.json()
            for fact in (facts as? [Any]) ?? [facts] {
                #expect(Set((fact as? [String: Any] ?? [:]).keys) == shape.keys, "\(shape.command): \(outcome.out)")
            }
            if shape.command.hasPrefix("code rotate") {
                let shown = (facts as? [String: Any])?["code"]
                // Shown once, where nothing else was asked for.
                #expect(
                    (shape.command.contains("--deliver") || shape.command.contains("--mailer")) == (shown is NSNull),
                    "\(outcome)")
            }
        }
    }

    /// What is asked for by `--json` stays alone on standard output, also when the answer is no.
    @Test func aFindingIsFactsAndAnExitCode() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            "ecard ledger verify --json --since 99:\(String(repeating: "AB", count: 32))")
        expect(outcome, exits: 5, saying: ["did not verify"])
        let report = try #require(try outcome.json() as? [String: Any])
        #expect((report["findings"] as? [String])?.count == 1)
    }
}
