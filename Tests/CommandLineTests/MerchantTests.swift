import ECardTesting
import Foundation
import Testing

/// The bank's people at the command line.
@Suite(.ownThread) struct MerchantTests {
    private static let setUp = """
        set -e
        ecard bank init >/dev/null
        merchant=$(ecard merchant add --name 'Makola Books' --registration CS-1)
        """

    @Test("A merchant is registered, verified, suspended, and each name taken once")
    func merchants() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.must(
            """
            \(Self.setUp)
            ecard merchant show $merchant; ecard merchant verify $merchant --by 'Efua, certificate seen'
            ecard merchant suspend $merchant --by Yaw; ecard merchant show $merchant; ecard merchant list
            ecard bank verify; ecard bank checkpoint
            """)
        for text in ["registered", "is verified", "suspended by Efua, certificate seen", "chain whole"] {
            #expect(outcome.contains(text), "\(text): \(outcome)")
        }
        expect(
            try await issuer.run("ecard merchant add --name 'Makola Books' --registration CS-2"), exits: 2,
            saying: ["has this name"])
        expect(try await issuer.run("ecard merchant show mer_0"), exits: 4, saying: ["merchant list"])
        for name in [
            "", " x", "$(printf 'a\\tb')", "\(String(repeating: "a", count: 41))", "a\u{2028}b", "a\u{202E}b",
            "a\u{200B}b", "a\u{2029}b", "\u{FEFF}a",
        ] {
            expect(
                try await issuer.run("ecard merchant add --name \"\(name)\" --registration CS-3"), exits: 2,
                saying: ["--name"])
        }
        for name in ["Ɛdɔ & Sons, 5’", "Société Générale", "株式会社"] {
            try await issuer.must("ecard merchant add --name \"\(name)\" --registration \"\(name)\"")
        }
        expect(
            try await issuer.run("ecard bank verify --since 99:\(String(repeating: "AB", count: 32))"), exits: 5,
            saying: ["bank's books did not verify"])
    }

    @Test("A key is shown once, kept nowhere, and ends")
    func keys() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.must(
            """
            \(Self.setUp)
            ecard merchant key $merchant; ecard merchant key $merchant --live --key-fd 3 3>key
            ecard merchant show $merchant
            """)
        let shown = try #require(outcome.split(separator: "\n").first { $0.hasPrefix("sk_test_") })
        #expect(shown.count == 51)
        let written = try String(contentsOfFile: issuer.folder + "/key", encoding: .utf8)
        #expect(written.hasPrefix("sk_live_") && !outcome.contains(written.trimmingCharacters(in: .newlines)))
        let found = try await issuer.run("grep -rlF -e '\(shown)' -e \"$(cat key)\" $ECARD_HOME")
        #expect(found.out.isEmpty, "\(found)")
        let hint = try #require(outcome.split(separator: "\n").last { $0.contains("sk_test_…") })
        let name = try #require(hint.split(separator: " ").first)
        let merchant = try await issuer.must("ecard merchant list | tail -1 | cut -d' ' -f1")
            .trimmingCharacters(in: .whitespacesAndNewlines)
        try await issuer.must("ecard merchant end-key \(merchant) '\(name)'")
        expect(try await issuer.run("ecard merchant end-key \(merchant) '\(name)'"), exits: 4, saying: ["key"])
        expect(
            try await issuer.run("ecard merchant key \(merchant) --key-fd 9"), exits: 2, saying: ["--key-fd"])
    }

    @Test("A signing key is registered from its public half, once, and ends")
    func signingKeys() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.must(
            """
            \(Self.setUp)
            openssl ecparam -name prime256v1 -genkey -noout -out private.pem
            openssl ec -in private.pem -pubout -out public.pem 2>/dev/null
            openssl ecparam -name secp384r1 -genkey -noout | openssl ec -pubout -out other.pem 2>/dev/null
            ecard merchant signing-key add $merchant public.pem --live; ecard merchant signing-key list $merchant
            ecard merchant require-signatures $merchant --by Efua; ecard merchant show $merchant; echo $merchant
            """)
        let keyid = try #require(outcome.split(separator: "\n").first)
        let merchant = try #require(outcome.split(separator: "\n").last)
        #expect(keyid.count == 43 && outcome.contains("\(keyid)  live") && outcome.contains("signatures    required"))
        expect(
            try await issuer.run("ecard merchant signing-key add \(merchant) public.pem"), exits: 2,
            saying: ["has or had it"])
        for file in ["private.pem", "other.pem", "/dev/null"] {
            let refused = try await issuer.run("ecard merchant signing-key add \(merchant) \(file)")
            expect(refused, exits: 2, saying: ["-pubout"])
            #expect(!refused.err.contains("PRIVATE"))
        }
        expect(
            try await issuer.run("ecard merchant signing-key add \(merchant) none.pem"), exits: 4, saying: ["no file"])
        expect(
            try await issuer.run("ecard merchant signing-key end \(merchant) --keyid -hT65zBdEqpx"), exits: 4,
            saying: ["signing-key list"])
        try await issuer.must(
            "ecard merchant signing-key end \(merchant) --keyid '\(keyid)'; ecard merchant require-signatures \(merchant) --by E --off"
        )
        expect(
            try await issuer.run("ecard merchant signing-key end \(merchant) --keyid '\(keyid)'"), exits: 4,
            saying: ["signing-key list"])
        expect(
            try await issuer.run("ecard merchant require-signatures \(merchant) --by Efua"), exits: 2,
            saying: ["signing-key add"])
        expect(try await issuer.run("ecard bank verify"), exits: 0)
    }

    @Test("A webhook's secret is shown once and kept sealed, and its URL must be one that may be reached")
    func webhooks() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.must(
            """
            \(Self.setUp)
            ecard webhook add $merchant --url https://shop.example/hook
            ecard webhook add $merchant --live --url https://shop.example/live --secret-fd 3 3>secret
            ecard webhook list $merchant; echo $merchant
            """)
        let secret = try #require(outcome.split(separator: "\n").first { $0.hasPrefix("whsec_") })
        let found = try await issuer.run("grep -rlF -e '\(secret)' -e \"$(cat secret)\" $ECARD_HOME")
        #expect(found.out.isEmpty, "\(found)")
        #expect(outcome.contains("https://shop.example/live") && outcome.components(separatedBy: "whsec_").count == 2)
        let merchant = try #require(outcome.split(separator: "\n").last)
        for url in [
            "http://shop.example/", "https://127.0.0.1/", "https://[::1]/", "shop", "https://u:p@shop.example/",
        ] {
            expect(try await issuer.run("ecard webhook add \(merchant) --url '\(url)'"), exits: 2, saying: ["--url"])
        }
        try await issuer.must(
            "ecard webhook add \(merchant) --url http://127.0.0.1:9/ --allow-private; ecard bank verify")
        expect(try await issuer.run("ecard webhook remove \(merchant) whe_0"), exits: 4, saying: ["webhook list"])
    }

    @Test("Before 'bank init' each says what to do, and a rules file that cannot be meant is named with its place")
    func missing() async throws {
        let issuer = try await Issuer()
        for command in ["merchant list", "review list", "bank payment list", "bank verify"] {
            expect(try await issuer.run("ecard \(command)"), exits: 3, saying: ["ecard bank init"])
        }
        try await issuer.must(
            "ecard bank init && sed -i 's/codes-per-phone: 10/codes-per-phone: 0/' $ECARD_HOME/patterns.yaml")
        expect(try await issuer.run("ecard review list"), exits: 3, saying: ["patterns.yaml", "a cap must be 1"])
        // A second 'bank init' leaves a bank's own rules alone.
        try await issuer.must("ecard bank init")
        expect(try await issuer.run("ecard review list"), exits: 3, saying: ["a cap must be 1"])
    }

    @Test("Nothing is owed to a new merchant, and nothing can be paid")
    func settle() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.must(
            "\(Self.setUp)\necard merchant settle $merchant; ecard merchant settle $merchant --csv; echo $merchant")
        #expect(outcome.contains("CURRENCY") && outcome.contains("entry,time,kind"), "\(outcome)")
        let merchant = try #require(outcome.split(separator: "\n").last)
        for (options, problem) in [
            ("--pay t1", "--currency"), ("--pay t1 --currency GHS", "nothing is owed"),
            ("--pay t1 --currency GHS --amount 1", "Owed are"), ("--pay t1 --test --currency GHS", "never paid out"),
            ("--amount 1", "goes with --pay"),
        ] {
            expect(
                try await issuer.run("ecard merchant settle \(merchant) \(options)"), exits: 2, saying: [problem])
        }
    }
}
