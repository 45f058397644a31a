import ECardTesting
import Foundation
import Testing

/// One command that must be refused: the exit code, and the words its message must have.
struct Refusal: Sendable, CustomTestStringConvertible {
    let command: String
    let status: Int32
    let words: [String]

    init(_ command: String, _ status: Int32, _ words: String...) {
        self.command = command
        self.status = status
        self.words = words
    }

    var testDescription: String { command }
}

/// What a person mistypes: what, where and what next is said, and nothing is lost.
@Suite(.ownThread) struct InputTests {
    /// Cannot change anything, so all share one issuer.
    private static let issuer = Task {
        let issuer = try await Issuer()
        let card = try await issuer.card()
        return (issuer, card)
    }

    private static let payment =
        "ecard authorize --currency GHS --merchant M --card-not-present --pan-fd 3 --code-fd 4 3<pan 4<code"

    static let refusals = [
        // Modules
        Refusal(
            "ecard hsm info --module /nonexistent.so", 3, "cannot be used", "/nonexistent.so", "No such file",
            "Give the path"),
        Refusal("ecard hsm info --module /etc/hostname", 3, "cannot be used", "/etc/hostname", ".so file"),
        Refusal("ecard hsm info --module /lib/x86_64-linux-gnu/libm.so.6", 3, "libm.so.6", "no PKCS#11 module"),
        Refusal("ecard hsm info --module /", 3, "cannot be used", ".so file"),
        // Tokens
        Refusal("ecard hsm preflight --token nobody --pin-file $ECARD_HOME/token.pin", 3, "nobody", "ecard-", "serial"),
        Refusal(
            "ecard hsm preflight --token 'pkcs11:token=nobody' --pin-file $ECARD_HOME/token.pin", 3, "nobody", "ecard-"),
        Refusal("ecard hsm preflight --token 'pkcs11:%zz' --pin-file $ECARD_HOME/token.pin", 2, "pkcs11"),
        // Telephones
        Refusal("ecard handset 0244000111 --script /dev/null", 2, "0244000111", "country code"),
        Refusal("ecard handset +233201234567 --json", 2, "--script"),
        Refusal("ecard handset +233201234567 --script /nonexistent", 2, "/nonexistent"),
        Refusal("ecard handset +233201234567 --url ftp://x --script /dev/null", 3, "ftp://x", "http"),
        Refusal("ecard handset +233201234567 --url https://bank.example --script /dev/null", 3, "not this machine"),
        Refusal("ecard handset +233201234567 --url http://127.0.0.1:9/phone --script /dev/null", 3, "no address"),
        Refusal(
            "ecard handset +233201234567 --url http://127.0.0.1:9/ --script <(echo 'dial *1#')", 3, "nobody answers",
            "ecard serve --simulator"),
        Refusal("ecard handset +233201234567 --script <(printf '# one\n\ndance')", 2, ":3:", "dance", "--help"),
        Refusal("ecard handset +233201234567 --script <(echo 'expect Pay')", 5, ":1:", "'Pay'", "not on the screen"),
        Refusal("ecard handset +233201234567 --script <(echo 'send 1')", 2, "dial first"),
        Refusal("ecard handset +233201234567 --script <(echo 'code-fd 9')", 2, ":1", "descriptor 9"),
        Refusal("ecard handset +233201234567 --script <(echo 'one-time-code')", 2, ":1", "dial first"),
        Refusal("ecard handset +233201234567 --script <(echo 'prompt')", 2, ":1", "prompt", "--help"),
        // Unknown things
        Refusal("ecard customer show nobody", 4, "nobody", "ecard customer list"),
        Refusal("ecard account show nobody", 4, "nobody", "ecard account list"),
        Refusal("ecard account open --customer nobody --currency GHS", 4, "nobody", "ecard customer list"),
        Refusal("ecard account deposit nobody --amount 1", 4, "nobody", "ecard account list"),
        Refusal("ecard card create --account nobody", 4, "nobody", "ecard account list"),
        Refusal("ecard card create --account $account --profile none", 4, "none.yaml", "classic"),
        Refusal("ecard card show nobody", 4, "nobody", "ecard card list"),
        Refusal("ecard card personalize nobody", 4, "nobody", "ecard card list"),
        Refusal("ecard card insert nobody", 4, "nobody", "ecard card list"),
        Refusal("ecard card eject nobody", 4, "nobody"),
        Refusal("ecard card block nobody", 4, "nobody", "ecard card list"),
        Refusal("ecard code status nobody", 4, "nobody"),
        Refusal("ecard code issue nobody", 4, "nobody", "ecard card list"),
        Refusal("ecard payment show nobody", 4, "nobody", "ecard payment list"),
        Refusal("ecard payment refund nobody", 4, "nobody", "ecard payment list"),
        Refusal("ecard reader replay /nonexistent", 4, "/nonexistent", "reader record"),
        // Amounts and currencies
        Refusal("ecard account deposit $account --amount 0", 2, "amount", "more than zero"),
        Refusal("ecard account deposit $account --amount -5.00", 2, "amount", "positive"),
        Refusal("ecard account deposit $account --amount 1.001", 2, "amount", "3 decimals", "GHS has 2"),
        Refusal("ecard account deposit $account --amount 10000000000.00", 2, "amount", "12 digits"),
        Refusal("ecard account deposit $account --amount 99999999999999999999999999", 2, "amount", "12 digits"),
        Refusal("ecard account deposit $account --amount 1e3", 2, "amount", "25.00"),
        Refusal("ecard account open --customer $customer --currency ZZZ", 2, "ZZZ", "ISO 4217"),
        Refusal("\(payment) --expiry 12/30 --amount 0.00", 2, "amount", "more than zero"),
        Refusal("\(payment) --expiry 12/30 --amount -1", 2, "amount", "positive"),
        Refusal("\(payment) --expiry 12/30 --amount 0.001", 2, "amount", "decimals"),
        Refusal("\(payment) --expiry 12/30 --amount 99999999999999999999", 2, "amount", "12 digits"),
        // Numbers, dates, names
        Refusal("\(payment) --expiry 12/30 --amount 1 3<<<9936001234567890", 2, "PAN", "Luhn"),
        Refusal("\(payment) --expiry 12/30 --amount 1 3<<<99360012", 2, "PAN"),
        Refusal("\(payment) --expiry 12/30 --amount 1 3<<<'no digits'", 2, "PAN"),
        Refusal("\(payment) --expiry 12/30 --amount 1 3<<<''", 2, "PAN", "descriptor 3"),
        Refusal("\(payment) --expiry 13/30 --amount 1", 2, "expiry", "month 13"),
        Refusal("\(payment) --expiry soon --amount 1", 2, "expiry"),
        Refusal("\(payment) --expiry 12/30 --amount 1 --merchant ''", 2, "merchant", "1 to 40"),
        Refusal("\(payment) --expiry 12/30 --amount 1 --merchant $'a\\e[2Jb'", 2, "merchant", "printable"),
        Refusal(
            "\(payment) --expiry 12/30 --amount 1 --idempotency-key $(printf '%065d' 0)", 2, "idempotency key", "64"),
        Refusal("ecard customer add --name ''", 2, "name", "1 to 64"),
        Refusal("ecard customer add --name A --phone 12", 2, "--phone", "E.164"),
        Refusal("ecard customer add --name A --email nobody", 2, "--email", "@"),
        Refusal("ecard card create --account $account --sequence 100", 2, "sequence number", "100"),
        Refusal("ecard code rotate $card --digits 2", 2, "3 to 8", "2"),
        Refusal("ecard code rotate $card --attempts 11", 2, "1 to 10", "11"),
        Refusal("ecard code rotate $card --valid-days 0", 2, "--valid-days"),
        Refusal("ecard code issue $card", 2, "has a code", "ecard code rotate"),
        Refusal("ecard code unlock $card", 2, "active"),
        Refusal("ecard card show $card --field secret", 2, "--field", "expiry"),
        Refusal("ecard hsm speed --seconds nan", 2, "--seconds"),
        Refusal("ecard payment list --limit 0", 2, "--limit"),
        Refusal("ecard card personalize --batch people.csv --feeder --reader R --timeout 1e300", 2, "--timeout"),
        Refusal("ecard card personalize --batch people.csv --feeder --reader R --timeout nan", 2, "--timeout"),
        Refusal("ecard card list --limit 0", 2, "--limit"), Refusal("ecard ledger list --limit -1", 2, "--limit"),
        // Descriptors
        Refusal("ecard code rotate $card --code-fd 9", 2, "--code-fd", "descriptor 9", "3>file"),
        Refusal("ecard code rotate $card --code-fd 3 3<code", 2, "not open for writing"),
        Refusal("ecard card show $card --pan-fd 9", 2, "--pan-fd", "descriptor 9"),
        Refusal(
            "ecard authorize --amount 1 --currency GHS --merchant M --card-not-present --expiry 12/30 --pan-fd 9", 2,
            "PAN", "descriptor 9"),
        Refusal(
            "ecard authorize --amount 1 --currency GHS --merchant M --card-not-present --expiry 12/30", 2,
            "no terminal", "--pan-fd"),
        Refusal(
            "ecard authorize --amount 1 --currency GHS --merchant M --card-not-present --expiry 12/30 --pan-fd 3 3<pan",
            2, "no terminal", "--code-fd"),
        // Commands to cards, recordings
        Refusal("ecard reader apdu 00", 2, "malformed APDU", "1 bytes"),
        Refusal("ecard reader apdu 00A4040005AA", 2, "malformed APDU"),
        Refusal("ecard reader apdu zz", 2, "zz", "hexadecimal"),
        Refusal("ecard reader apdu 00A40400$(printf '%0120000d' 0)", 2),
        Refusal("ecard reader replay /etc/hostname", 2, "/etc/hostname", "no"),
        Refusal("ecard reader record pan 00A40400", 2, "pan exists", "another name"),
        // Checkpoints
        Refusal("ecard ledger verify --since nonsense", 2, "COUNT:SEAL", "ecard ledger checkpoint"),
        Refusal("ecard ledger verify --since 1:\(String(repeating: "00", count: 32))", 5, "did not verify"),
        Refusal("ecard ledger verify --since 9999:\(String(repeating: "00", count: 32))", 5, "did not verify"),
        // Blank cards
        Refusal("ecard card personalize $card", 3, "in no reader", "ecard card insert"),
    ]

    @Test(arguments: refusals) func isRefusedWithAnExplanation(_ refusal: Refusal) async throws {
        let (issuer, card) = try await Self.issuer.value
        let outcome = try await issuer.run(refusal.command, environment: ["card": card])
        expect(outcome, exits: refusal.status, saying: refusal.words)
        if refusal.status == 2 { #expect(outcome.out.isEmpty, "\(outcome)") }
        for secret in [issuer.text("pan"), issuer.text("code")] {
            #expect(!outcome.err.contains(secret) && !outcome.out.contains(secret), "a secret in: \(outcome)")
        }
    }

    /// After all of that the books are whole, and the code is the one that was given out first.
    @Test func nothingWasLost() async throws {
        let issuer = try await Issuer.withCard()
        for refusal in Self.refusals { _ = try await issuer.run(refusal.command) }
        try await issuer.must(
            """
            ecard ledger verify
            \(Self.payment) --expiry $(cat expiry) --amount 1
            """)
    }

    // MARK: The state folder

    static let damages = [
        Refusal("rm $ECARD_HOME/ecard.yaml; ecard account list", 3, "no issuer", "ecard init", "--home"),
        Refusal("rm -r $ECARD_HOME; ecard account list", 3, "no issuer", "ecard init", "--home"),
        Refusal("sed -i /^token/d $ECARD_HOME/ecard.yaml; ecard account list", 3, "ecard.yaml", "'token' is missing"),
        Refusal("echo '{' >$ECARD_HOME/ecard.yaml; ecard account list", 3, "ecard.yaml", "YAML"),
        Refusal(
            "sed -i 's/^token:.*/token: [a]/' $ECARD_HOME/ecard.yaml; ecard account list", 3, "ecard.yaml", "'token'",
            "wrong form"),
        Refusal(
            "sed -i 's|^module:.*|module: /nonexistent.so|' $ECARD_HOME/ecard.yaml; ecard account list", 3,
            "/nonexistent.so"),
        Refusal(
            "sed -i 's|^token:.*|token: nobody|' $ECARD_HOME/ecard.yaml; ecard account list", 3, "nobody", "ecard-"),
        Refusal("rm -r $ECARD_HOME/softhsm; ecard account list", 3, "token"),
        // The PIN file
        Refusal("rm $ECARD_HOME/token.pin; ecard account list", 3, "token.pin", "No such file"),
        Refusal("chmod 644 $ECARD_HOME/token.pin; ecard account list", 3, "token.pin", "644", "chmod 600"),
        Refusal("echo 1111222233334444 >$ECARD_HOME/token.pin; ecard account list", 3, "PIN", "ecard-"),
        Refusal(": >$ECARD_HOME/token.pin; ecard account list", 3, "token.pin"),
        Refusal(
            "rm $ECARD_HOME/token.pin; mkdir $ECARD_HOME/token.pin; ecard account list", 3, "token.pin", "regular file"),
        // The ledger
        Refusal("rm $ECARD_HOME/ledger.sqlite; ecard account list", 3, "ledger.sqlite", "No such file", "ecard init"),
        Refusal(
            "rm $ECARD_HOME/ledger.sqlite; mkdir $ECARD_HOME/ledger.sqlite; ecard account list", 3, "ledger.sqlite"),
        Refusal(": >$ECARD_HOME/ledger.sqlite; ecard account list", 3, "ledger.sqlite", "no ledger in it"),
        Refusal(
            "echo 'this is a letter, not a database, and it is long enough' >$ECARD_HOME/ledger.sqlite; ecard account list",
            5, "ledger.sqlite"),
        // The schema's page, then one inside: found when it is read.
        Refusal(
            "printf '\\377\\377\\377\\377' | dd of=$ECARD_HOME/ledger.sqlite bs=1 seek=100 conv=notrunc status=none; ecard account list",
            5, "ledger.sqlite"),
        // user_version, at 60 in the header (sqlite.org/fileformat.html, 1.3)
        Refusal(
            "printf '\\0\\0\\377\\377' | dd of=$ECARD_HOME/ledger.sqlite bs=1 seek=60 conv=notrunc status=none; ecard account list",
            3, "version 65535", "newer ecard"),
        // application_id, at 68
        Refusal(
            "printf '\\1\\2\\3\\4' | dd of=$ECARD_HOME/ledger.sqlite bs=1 seek=68 conv=notrunc status=none; ecard account list",
            3, "another program"),
        // Keys that do not fit the ledger are not replaced.
        Refusal(
            "rm -r $ECARD_HOME/softhsm $ECARD_HOME/ecard.yaml; ecard init", 3, "ledger.sqlite", "lacks", "right token"),
        // Profiles
        Refusal(
            "sed -i 's/\"9F42\"/\"9F42\", \"DF7F\"/' $ECARD_HOME/profiles/classic.yaml; ecard card create --account $account",
            2, "classic.yaml", "DF7F"),
        Refusal(
            "sed -i 's/denial: \"0010000000\"/denial: \"00100000\"/' $ECARD_HOME/profiles/classic.yaml; ecard card create --account $account",
            2, "classic.yaml", "denial", "4 bytes", "5"),
        Refusal(
            "sed -i /^currency/d $ECARD_HOME/profiles/classic.yaml; ecard card create --account $account", 2,
            "classic.yaml", "currency", "missing"),
        Refusal(
            "sed -i 's/^country: .*/country: nowhere/' $ECARD_HOME/profiles/classic.yaml; ecard card create --account $account",
            2, "classic.yaml", "country"),
        Refusal(
            "echo 'cvv: 123' >>$ECARD_HOME/profiles/classic.yaml; ecard card create --account $account", 2,
            "classic.yaml", "cvv", "unknown key"),
        Refusal(
            "echo '[' >$ECARD_HOME/profiles/classic.yaml; ecard card create --account $account", 2, "classic.yaml",
            "YAML"),
        Refusal(
            "sed -i 's/^currency: .*/currency: USD/' $ECARD_HOME/profiles/classic.yaml; ecard card create --account $account",
            2, "USD", "GHS"),
    ]

    @Test(arguments: damages) func damageIsNamed(_ damage: Refusal) async throws {
        let issuer = try await Issuer()
        expect(try await issuer.run(damage.command), exits: damage.status, saying: damage.words)
    }

    /// A token that locks would be locked by a tool that tries a wrong PIN again and again; SoftHSM shows one try.
    @Test func aWrongPINIsTriedOnce() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            """
            p11=/usr/lib/x86_64-linux-gnu/pkcs11-spy.so
            [ -e $p11 ] || { echo "no pkcs11-spy (Debian package opensc-pkcs11)"; exit 77; }
            sed -i "s|^module:.*|module: $p11|" $ECARD_HOME/ecard.yaml
            echo 1111222233334444 >$ECARD_HOME/token.pin
            PKCS11SPY=/usr/lib/softhsm/libsofthsm2.so PKCS11SPY_OUTPUT=$PWD/spy ecard account list
            status=$?; grep -c 'C_Login$' spy; exit $status
            """)
        if outcome.status == 77 { return print(outcome.out) }
        expect(outcome, exits: 3, saying: ["PIN"])
        #expect(outcome.line == "1", "\(outcome)")
    }

    /// The ledger belongs to somebody else, or lies on a medium that cannot be written. Root may write everything, so
    /// the tool runs as nobody then.
    @Test func aReadOnlyLedgerIsNamed() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            """
            chmod 400 $ECARD_HOME/ledger.sqlite; tool=ecard
            if [ $(id -u) = 0 ]; then
                cp $(command -v ecard) .; chmod 755 ecard .; chown -R nobody $ECARD_HOME
                tool="setpriv --reuid=nobody --regid=nogroup --clear-groups ./ecard"
            fi
            $tool account list
            """)
        expect(outcome, exits: 3, saying: ["ledger.sqlite", "Permission denied", "readable and writable"])
    }

    @Test func outputThatCannotBeWrittenIsSaid() async throws {
        let issuer = try await Issuer()
        expect(try await issuer.run("ecard account list >/dev/full"), exits: 3, saying: ["output could not be written"])
        let card = try await issuer.card()
        expect(
            try await issuer.run("ecard code rotate \(card) --code-fd 3 3>/dev/full"), exits: 3,
            saying: ["descriptor 3", "No space", "ecard code rotate"])
        // Who stops reading has what they wanted.
        expect(try await issuer.run("set -o pipefail; ecard ledger list | true"), exits: 0)
    }
}
