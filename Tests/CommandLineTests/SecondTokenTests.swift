import ByteCoding
import ECardTesting
import Foundation
import KeyCustody
import PKCS11
import Testing

/// The tool on a token that lacks what custody needs: it is refused with the reason, before anything is made, and what
/// the token can do is done.
@Suite(.ownThread, .serialized, .enabled(if: OpenCryptoki.isAvailable)) struct SecondTokenTests {
    private static let module = "--module \(OpenCryptoki.modulePath)"

    /// An issuer's folder without an issuer, or with one of another token, and the PIN of a second token in `pin`.
    private static func folder(_ token: OpenCryptoki.Token) throws -> String {
        let folder = try Issuer.temporaryFolder()
        try writePIN(of: token, to: folder)
        return folder
    }

    private static func writePIN(of token: OpenCryptoki.Token, to folder: String) throws {
        try #require(
            FileManager.default.createFile(
                atPath: folder + "/pin", contents: Data(token.pin.exposedCopy()), attributes: [.posixPermissions: 0o600]
            ))
    }

    /// The labels of our keys in it, by the tool itself.
    private static func labels(_ token: OpenCryptoki.Token, _ folder: String) async throws -> [String] {
        let listed = try await Shell.run(
            "ecard hsm keys \(module) --token \(token.label) --pin-file pin --json", home: folder + "/none",
            folder: folder)
        let rows = try #require(try listed.json() as? [[String: Any]])
        return rows.compactMap { $0["label"] as? String }
    }

    @Test func initLeavesNoHalfAnIssuer() async throws {
        let token = try OpenCryptoki.Token()
        let folder = try Self.folder(token)
        let outcome = try await Shell.run(
            "ecard init \(Self.module) --token \(token.label) --pin-file pin", home: folder + "/home", folder: folder)
        expect(
            outcome, exits: 3,
            saying: [
                "cannot serve an issuer; nothing was made in it",
                "PANs sealed at rest: CKM_AES_GCM refused with CKR_MECHANISM_INVALID (0x70)",
                "card and session keys derived in the token: CKM_DES3_CMAC, CKM_DES3_ECB_ENCRYPT_DATA",
                "card keys wrapped into the chip", "would be computed in host memory",
                "would lie in the ledger in clear",
                "It serves for:", "secret codes", "card values under an imported CVK", "hsm preflight",
            ])
        let left = try await Self.labels(token, folder)
        #expect(left == [], "keys were made in it")
        #expect(!FileManager.default.fileExists(atPath: folder + "/home"), "a state folder was left behind")
        print(
            "claim: keys that a refused init left in the token | \(left.count) | 0 | \(left.isEmpty ? "holds" : "fails")"
        )
    }

    @Test func preflightSaysWhatItMeans() async throws {
        let token = try OpenCryptoki.Token()
        let folder = try Self.folder(token)
        let outcome = try await Shell.run(
            "ecard hsm preflight \(Self.module) --token \(token.label) --pin-file pin --json", home: folder + "/home",
            folder: folder)
        expect(outcome, exits: 5, saying: ["no card can be issued with it"])
        let report = try #require(try outcome.json() as? [String: Any])
        #expect(report["canIssue"] as? Bool == false)
        let rows = try #require(report["rows"] as? [[String: Any]])
        let refused = rows.filter { $0["passed"] as? Bool == false }
        for row in refused { #expect((row["result"] as? String)?.contains("CKR_") == true, "\(row)") }
        let abilities = try #require(report["abilities"] as? [[String: Any]])
        let able = abilities.filter { $0["able"] as? Bool == true }.compactMap { $0["ability"] as? String }
        #expect(
            able == [
                "keys that cannot be read", "secret codes, PAN index, audit chain", "card values under an imported CVK",
                "keys wrapped to an RSA key",
            ])
        for row in abilities where row["able"] as? Bool == false { #expect(row["consequence"] is String, "\(row)") }
        print(
            "claim: mechanisms that preflight executed on the second token | \(rows.count) run, \(refused.count) refused "
                + "with their CKR name | | info")
    }

    /// docs/operations.md tells which token can do what, as measured here and on SoftHSM.
    @Test func theDocumentSaysTheSame() async throws {
        let measured = [
            try await TestToken.softHSM.store().preflight(), try await TestToken.openCryptoki.store().preflight(),
        ]
        let text = try String(contentsOfFile: Shell.package + "/docs/operations.md", encoding: .utf8)
        for ability in Preflight.Ability.allCases {
            let cells = measured.map { preflight in
                preflight.abilities.contains { $0.ability == ability && $0.failures.isEmpty } ? "yes" : "no"
            }
            #expect(
                text.contains("| \(ability.rawValue) | \(cells[0]) | \(cells[1]) |"), "\(ability.rawValue): \(cells)")
        }
    }

    /// Commands on an issuer whose settings name this token: each refuses, with a documented exit code and a reason.
    static let refusals = [
        Refusal("ecard hsm keys", 3, "ecard."),
        Refusal("ecard doctor", 3, "need mending"),
        Refusal("ecard code status $card", 3, "ecard.", "ecard doctor"),
        Refusal("ecard code issue $card", 3, "ecard.", "ecard doctor"),
        Refusal("ecard code rotate $card", 3, "ecard.", "ecard doctor"),
        Refusal("ecard card create --account $account", 3, "ecard.", "ecard doctor"),
        Refusal("ecard card personalize $card", 3, "ecard.", "ecard doctor"),
        Refusal(
            "ecard authorize --card-not-present --pan-fd 3 --code-fd 4 3<pan 4<code --expiry 12/30 --amount 1 --currency GHS --merchant M",
            3, "ecard.", "ecard doctor"),
        Refusal(
            "ecard card personalize --batch <(printf 'reference,name,currency\\nR1,Ama,GHS')", 3, "ecard.",
            "ecard doctor"),
        Refusal("ecard code deliver", 3, "ecard.", "ecard doctor"),
        Refusal("ecard hsm rotate --all --yes", 3, "ecard.", "ecard doctor"),
        Refusal("ecard hsm rotate --status", 3, "ecard.", "ecard doctor"),
        Refusal("ecard hsm retire pan 1 --yes", 3, "ecard.", "ecard doctor"),
        Refusal("ecard ledger verify", 3, "ecard.", "ecard doctor"),
        Refusal("ecard hsm preflight", 5, "no card can be issued with it"),
        Refusal(
            "ecard hsm import imk-ac --components 2 --component-file c1 --component-file c2 --expect-kcv 08D7B4", 3,
            "of no use", "CKM_DES3_ECB_ENCRYPT_DATA", "Nobody was asked"),
        Refusal(
            "ecard hsm import kmc --components 2 --component-file c1 --component-file c2 --expect-kcv 08D7B4", 3,
            "of no use", "CKM_AES_ECB_ENCRYPT_DATA"),
    ]

    @Test func everyCommandRefusesWithItsReason() async throws {
        let token = try OpenCryptoki.Token()
        let (issuer, card) = try await Self.issuer(of: token)
        var refused = 0
        for refusal in Self.refusals {
            let outcome = try await issuer.run(refusal.command, environment: ["card": card])
            expect(outcome, exits: refusal.status, saying: refusal.words)
            if outcome.status == refusal.status { refused += 1 }
        }
        let doctor = try await issuer.run("ecard doctor")
        #expect(
            doctor.out.contains("MISSING  mechanisms: PANs sealed at rest: CKM_AES_GCM"), "\(doctor)")
        let info = try await issuer.run("ecard hsm info")
        expect(info, exits: 0)
        #expect(info.out.contains("IBM SoftTok"), "\(info)")
        #expect(try await Self.labels(token, issuer.folder) == [], "a refused command made a key")
        print(
            "claim: commands refused on the second token, with their reason | \(refused) of \(Self.refusals.count) | all | "
                + (refused == Self.refusals.count ? "holds" : "fails"))
    }

    /// Even when somebody put keys with all our labels into it: HMAC is done, the rest is refused, and nothing that the
    /// token would not do is done in host memory, which the chain of refusals shows: no card, no cryptogram, no wrap.
    @Test func aFullSetOfKeysChangesNothing() async throws {
        let token = try TestToken.secondToken()
        let (issuer, card) = try await Self.issuer(of: token)
        try TestToken.openCryptoki.store().withSessionBlocking { session in
            let bytes = (0..<32).map { UInt8($0) }
            for (name, type, usage): (String, KeyType, KeyUsage) in [
                ("storage", .aes(bytes: 32), [.wrap, .unwrap]), ("pan", .aes(bytes: 32), [.encrypt, .decrypt]),
                ("pan-index", .generic(bytes: 32), [.sign, .verify]), ("code", .generic(bytes: 32), [.sign, .verify]),
                ("delivery", .aes(bytes: 32), [.encrypt, .decrypt]),
                ("audit", .generic(bytes: 32), [.sign, .verify]), ("cvk-seed", .des3, .derive),
                ("code-seal", .p256, .derive), ("imk-ac", .des2, .derive), ("imk-smi", .des2, .derive),
                ("imk-smc", .des2, .derive),
                ("kmc", .aes(bytes: 16), .derive),
            ] {
                _ = try session.importSecret(
                    KeyTemplate(persistent: "ecard.\(name).1", type, usage), value: SecretBytes(bytes[..<type.length]))
            }
        }
        for refusal in [
            Refusal("ecard card create --account $account", 3, "lacks a mechanism", "CKM_DES3_ECB_ENCRYPT_DATA"),
            Refusal("ecard card show $card --pan-fd 3 3>pan2", 3, "lacks a mechanism", "CKM_AES_GCM"),
            Refusal("ecard hsm preflight", 5, "no card can be issued"),
            Refusal("ecard init", 3, "cannot serve an issuer; nothing was made in it"),
        ] {
            let outcome = try await issuer.run(refusal.command, environment: ["card": card])
            expect(outcome, exits: refusal.status, saying: refusal.words)
        }
        let speed = try await issuer.run("ecard hsm speed --seconds 0.02 --json")
        expect(speed, exits: 0)
        let rows = try #require(try speed.json() as? [[String: Any]])
        let refused = Set(rows.filter { $0["refused"] is String }.compactMap { $0["operation"] as? String })
        #expect(
            refused == [
                "CVV", "ARQC + ARPC", "ECDH (sealed code)", "decision, HSM work", "ES256 (evidence)",
                "decision, durable",
            ], "\(speed)")
        // A code is an HMAC: the token does it, and the ledger's records are sealed by it.
        expect(try await issuer.run("ecard code status \(card)"), exits: 0)
    }

    /// What the token is good for: a CVK by a key ceremony, its card values, codes and their speed.
    @Test func aCardVerificationKeyComesByCeremony() async throws {
        let token = try OpenCryptoki.Token()
        let folder = try Self.folder(token)
        let given = "\(Self.module) --token \(token.label) --pin-file pin"
        let outcome = try await Shell.run(
            """
            set -e
            (umask 077; echo 803DC8248E08183E2E1BB14555C0BB7A >c1; echo 811E8D4307A3D5D1D0C70BDD2394896A >c2)
            ecard hsm import cvk \(given) --components 2 --component-file c1 --component-file c2 --expect-kcv 08D7B4
            ecard hsm keys \(given)
            ecard hsm transcript verify \(given) home/ceremonies/*
            ecard hsm speed \(given) --seconds 0.02
            """, home: folder + "/home", folder: folder)
        expect(outcome, exits: 0)
        for words in [
            "ecard.cvk.1 is in token '\(token.label)'", "08D7B4", "(imported)", "Verified: sealed by this token",
            "CKM_DES2_KEY_GEN",
        ] { #expect(outcome.out.contains(words), "'\(words)' in: \(outcome)") }
        let timed = outcome.out.split(separator: "\n").filter { $0.contains("batch") }
        #expect(timed.contains { $0.hasPrefix("CVV") } && timed.contains { $0.hasPrefix("code verify") }, "\(outcome)")
        #expect(try await Self.labels(token, folder) == ["ecard.audit.1", "ecard.cvk-left.1", "ecard.cvk.1"])
        for line in timed {
            let cells = line.split(separator: "  ", omittingEmptySubsequences: true).map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            if cells.count > 2 { print("claim: \(cells[0]) on the second token, a second | \(cells[2]) | | info") }
        }
    }

    /// An issuer with a card, whose settings then name the second token.
    private static func issuer(of token: OpenCryptoki.Token) async throws -> (Issuer, card: String) {
        let issuer = try await Issuer()
        let card = try await issuer.card()
        try writePIN(of: token, to: issuer.folder)
        try await issuer.must(
            """
            echo 803DC8248E08183E2E1BB14555C0BB7A >c1; echo 811E8D4307A3D5D1D0C70BDD2394896A >c2; chmod 600 c1 c2
            printf 'module: %s\\ntoken: pkcs11:token=%s\\npin-file: %s\\nledger: ledger.sqlite\\n' \
                \(OpenCryptoki.modulePath) \(token.label) $PWD/pin >$ECARD_HOME/ecard.yaml
            """)
        return (issuer, card)
    }
}
