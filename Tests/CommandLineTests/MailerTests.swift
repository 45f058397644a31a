import ECardTesting
import Foundation
import Testing

/// Codes on paper: each once, and nowhere else.
@Suite(.ownThread, .serialized) struct MailerTests {
    private static let waiting =
        "ecard code deliver --list --json | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))'"

    /// What the ledger's file and its log still have of the sealed codes that `sealed` names; the code's digits after that.
    private static let remains = """
        python3 - $ECARD_HOME/ledger.sqlite <<'P'
        import os, sys
        data = b"".join(open(sys.argv[1] + end, "rb").read() for end in ("", "-wal") if os.path.exists(sys.argv[1] + end))
        print(sum(bytes.fromhex(line) in data for line in open("sealed").read().split()))
        P
        """

    private static let keepSealed = """
        python3 -c 'import sqlite3,sys; [print(row[0].hex()) for row in sqlite3.connect(sys.argv[1]).execute("SELECT sealed FROM mailer")]' \
            $ECARD_HOME/ledger.sqlite >sealed
        """

    private static func code(in text: String) throws -> String {
        let match = try #require(text.firstMatch(of: /Your secret code:\s+((?:\d ){3,8})/), "\(text)")
        return match.output.1.filter { $0 != " " }
    }

    private static let pay = """
        ecard authorize --card-not-present --pan-fd 3 --code-fd 4 3<pan 4<code --expiry $(cat expiry) --amount 1 \
        --currency GHS --merchant M
        """

    @Test func sealedDeliveredOnceAndGone() async throws {
        let issuer = try await Issuer.withCard()
        let made = try await issuer.run("ecard code rotate $card --mailer --digits 8 --json")
        expect(made, exits: 0)
        #expect(made.out.contains("\"code\" : null") && made.out.contains("mailer mlr_"), "\(made)")
        #expect(try await issuer.must(Self.waiting) == "1")
        #expect(try await issuer.must(Self.keepSealed + "\n" + Self.remains) == "1", "the search finds what is there")
        let delivered = try await issuer.run("ecard code deliver --out letters --json")
        expect(delivered, exits: 0)
        let letter = try #require((try delivered.json() as? [[String: Any]])?.first)
        let id = try #require(letter["mailer"] as? String)
        #expect(letter["state"] as? String == "delivered")
        #expect(try await issuer.must("ls letters; stat -c %a letters/* letters") == "\(id).txt\n600\n700")
        let text = issuer.text("letters/\(id).txt")
        let code = try Self.code(in: text)
        #expect(code.count == 8 && text.contains("Kofi Boateng") && !delivered.out.contains(code))
        try code.write(toFile: issuer.folder + "/code", atomically: true, encoding: .utf8)
        expect(try await issuer.run(Self.pay), exits: 0)

        let left = try await issuer.must(Self.remains)
        #expect(left == "0")
        // In no file but the letter, in no record.
        let found = try await issuer.must("grep -rla \(code) . | sort; ecard ledger list | grep -c \(code) || true")
        #expect(found == "./code\n0", "the letter has blanks between the digits")
        #expect(
            try await issuer.must("\(Self.waiting); ecard code deliver; ecard ledger verify").hasPrefix("0\nLedger"))
        expect(try await issuer.run("ecard code deliver --again \(id)"), exits: 4, saying: ["waits"])
        print(
            "claim: Sealed codes left in the ledger's file and log after delivery | \(left) of 1 | 0 | \(left == "0" ? "holds" : "fails")"
        )
    }

    @Test func pagesForABrowser() async throws {
        let issuer = try await Issuer()
        let page = try await issuer.must(
            """
            c=$(ecard customer add --name 'Esi "<b>& O'"'"'Hara' --phone +233200000001)
            a=$(ecard account open --customer $c --currency GHS)
            for n in 1 2; do k=$(ecard card create --account $a); ecard code issue $k --mailer >/dev/null; done
            ecard code deliver --format html 2>note
            cat note >&2
            """)
        let checked = try await issuer.run(
            """
            cat >page <<'PAGE'
            \(page)
            PAGE
            python3 - <<'P'
            import html.parser, re
            class Page(html.parser.HTMLParser):
                def __init__(self): super().__init__(); self.open = []; self.count = 0; self.outside = []
                def handle_starttag(self, tag, attributes):
                    if tag not in ("meta", "br"): self.open.append(tag)
                    self.count += tag == "section"
                    self.outside += [a for a in attributes if a[0] in ("src", "href", "style") or "url(" in (a[1] or "")]
                def handle_endtag(self, tag): assert self.open.pop() == tag
            p = Page(); text = open("page").read(); p.feed(text); p.close()
            codes = re.findall(r'<p class="code">\\s*(\\d{6})\\s*</p>', text)
            print(p.count, len(codes), p.open, p.outside, "<b>" in text, "@page { size: A4" in text, "://" in text)
            P
            """)
        #expect(checked.line == "2 2 [] [] False True False", "\(checked)\n\(page)")
        #expect(page.contains("Esi &quot;&lt;b&gt;&amp; O&#39;Hara"))
    }

    /// Printed on a stream, a cut leaves one mailer in doubt, and only a person's word prints it again.
    @Test func inDoubtOnAStream() async throws {
        let issuer = try await Issuer.withCard()
        try await issuer.must("ecard code rotate $card --mailer")
        // The far end of the pipe is gone before the letter is written.
        let cut = try await issuer.run("ecard code deliver | true; exit ${PIPESTATUS[0]}")
        let full = try await issuer.run("ecard code deliver >/dev/full")
        #expect(cut.status == 3 || cut.status == 0 || full.status == 5, "\(cut)\(full)")
        let state = try await issuer.must(
            "ecard code deliver --list --json | python3 -c 'import json,sys; print(*[m[\"state\"] + \" \" + m[\"mailer\"] for m in json.load(sys.stdin)])'"
        )
        guard state.hasPrefix("uncertain ") else {
            // `true` had not ended yet: the pipe took the letter.
            return #expect(state == "" && cut.status == 0, "\(cut) \(full)")
        }
        let id = String(state.dropFirst("uncertain ".count))
        let refused = try await issuer.run("ecard code deliver")
        expect(refused, exits: 5, saying: ["may be delivered", id, "--again"])
        #expect(!refused.out.contains("secret code"))
        expect(try await issuer.run("ecard code deliver --out letters"), exits: 5, saying: ["may be delivered"])
        let again = try await issuer.run("ecard code deliver --again \(id)")
        expect(again, exits: 0)
        try Self.code(in: again.out).write(toFile: issuer.folder + "/code", atomically: true, encoding: .utf8)
        expect(try await issuer.run(Self.pay), exits: 0)
        #expect(try await issuer.must(Self.waiting) == "0")
    }

    /// Cut off after the file was there and before its sealed code was destroyed; then begun again in the other format, and
    /// twice at the same time: one letter, by one of the two.
    @Test func aCutDeliveryLeavesOneLetter() async throws {
        let issuer = try await Issuer.withCard()
        try await issuer.must("ecard code rotate $card --mailer; mkdir -m 700 letters")
        try await issuer.must(
            """
            python3 - $ECARD_HOME/ledger.sqlite "$(realpath letters)" <<'P'
            import sqlite3, sys
            db = sqlite3.connect(sys.argv[1])
            db.execute("UPDATE mailer SET place = ?", [sys.argv[2]])
            db.commit()
            for name, in db.execute("SELECT id FROM mailer"):
                for end in (".txt", ".txt.new"): open(f"letters/{name}{end}", "w").write("the code, of a run that was cut off")
            P
            """)
        let outcome = try await issuer.must(
            """
            ecard code deliver --out letters --format html --json >one & first=$!
            ecard code deliver --out letters --format html --json >two & second=$!
            wait $first && wait $second || exit 1
            cat one two | grep -c '"delivered"'; ls letters | sed 's/.*[.]//'
            """)
        #expect(outcome == "1\nhtml")
    }

    @Test func aPersonFoundIt() async throws {
        let issuer = try await Issuer.withCard()
        try await issuer.must("ecard code rotate $card --mailer")
        let id = try await issuer.must(
            "ecard code deliver --list --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[0][\"mailer\"])'"
        )
        expect(try await issuer.run("ecard code deliver --arrived \(id)"), exits: 2, saying: ["not begun"])
        expect(try await issuer.run("ecard code deliver >/dev/full"), exits: 3, saying: ["in doubt"])
        expect(try await issuer.run("ecard code deliver --arrived \(id)"), exits: 0)
        #expect(try await issuer.must("\(Self.waiting); ecard ledger verify").hasPrefix("0\nLedger"))
    }

    /// What waited too long is not opened: a new code takes the place of the old one. What was changed is not delivered.
    @Test func expiredAndDamaged() async throws {
        let issuer = try await Issuer.withCard()
        try await issuer.must("ecard code rotate $card --mailer")
        try await issuer.must(
            "python3 -c 'import sqlite3,sys; d=sqlite3.connect(sys.argv[1]); d.execute(\"UPDATE mailer SET expires_at = sealed_at + 1\"); d.commit()' $ECARD_HOME/ledger.sqlite"
        )
        let renewed = try await issuer.must(
            "ecard code deliver --out letters --json | python3 -c 'import json,sys; print(*[m[\"state\"] for m in json.load(sys.stdin)])'; ls letters | wc -l; ecard code status $card | grep version"
        )
        #expect(renewed == "renewed delivered\n1\nversion   3 (6 digits)")
        let letter = try await issuer.must("cat letters/*")
        try Self.code(in: letter).write(toFile: issuer.folder + "/code", atomically: true, encoding: .utf8)
        expect(try await issuer.run(Self.pay), exits: 0)
        try await issuer.must("ecard code rotate $card --mailer")
        try await issuer.must(
            "python3 -c 'import sqlite3,sys; d=sqlite3.connect(sys.argv[1]); d.execute(\"UPDATE mailer SET sealed = zeroblob(34)\"); d.commit()' $ECARD_HOME/ledger.sqlite"
        )
        let damaged = try await issuer.run("ecard code deliver --out letters; ls letters | wc -l")
        expect(damaged, exits: 0, saying: ["cannot be opened", "code rotate"])
        #expect(damaged.line.hasSuffix("\n1"))
    }

    /// A blocked card gets no letter, and its code ends.
    @Test func blocked() async throws {
        let issuer = try await Issuer.withCard()
        let outcome = try await issuer.must(
            """
            ecard code rotate $card --mailer >/dev/null
            ecard card block $card >/dev/null
            ecard code deliver --out letters --json | grep state
            ls letters | wc -l; ecard code status $card | grep state; ecard ledger verify >/dev/null
            """)
        #expect(outcome.contains("withdrawn") && outcome.hasSuffix("0\nstate     revoked"), "\(outcome)")
    }
}
