import ECardTesting
import Foundation

/// A state folder that is ready to be served: issuer and bank, a verified merchant with a live key, one telephone gateway, and
/// cards, each of a customer and a telephone of its own. Removed with its last use.
struct ServedBank: Sendable {
    struct Card: Sendable {
        let id: String
        let account: String
        let phone: String
        let pan: String
        let expiry: String
        let code: String
    }

    let issuer: Issuer
    /// The bank's state folder: the issuer's, or one of its own where they run apart.
    let bankHome: String
    let cards: [Card]
    let merchant: String
    /// The merchant's live key.
    let key: String
    static let gatewaySecret = "0123456789abcdef0123456789abcdef"

    var home: String { issuer.home }
    var bankBooks: String { bankHome + "/bank.sqlite" }
    var ledger: String { home + "/ledger.sqlite" }

    private init(_ issuer: Issuer, bankHome: String) throws {
        self.issuer = issuer
        self.bankHome = bankHome
        merchant = issuer.text("merchant")
        key = issuer.text("key")
        cards = issuer.text("cards").split(separator: "\n").map { line in
            let words = line.split(separator: " ").map(String.init)
            return Card(
                id: words[0], account: words[1], phone: words[2], pan: issuer.text("\(words[0]).pan"), expiry: words[3],
                code: issuer.text("\(words[0]).code"))
        }
        guard cards.count == Self.cardCount else { throw Shell.Failure("\(cards.count) cards were made") }
    }

    /// A fresh copy, of bank and issuer in one state folder.
    static func make() async throws -> ServedBank {
        let issuer = try await Issuer(copy: together.value)
        return try ServedBank(issuer, bankHome: issuer.home)
    }

    /// A fresh copy, of a bank and an issuer that run apart, with certificates for both.
    static func makeApart() async throws -> ServedBank {
        let issuer = try await Issuer(copy: apart.value)
        return try ServedBank(issuer, bankHome: issuer.folder + "/bank")
    }

    private static let cardCount = 12

    private static let holders = Task {
        let issuer = try await Issuer()
        return try await PCSCService.exclusively { _ in
            try await issuer.must(cardScript, limit: 300)
            return issuer
        }
    }

    private static let together = Task {
        let issuer = try await Issuer(copy: holders.value)
        try await issuer.must("ecard bank init >&2\n" + bankScript)
        return issuer
    }

    private static let apart = Task {
        let issuer = try await Issuer(copy: holders.value)
        try await issuer.must(apartScript + bankScript)
        return issuer
    }

    /// Codes of six digits and ten tries.
    private static let cardScript = """
        umask 077
        make() {
            for N in $(seq $2 $3); do
                phone=+2332012345$((10 + N))
                customer=$(ecard customer add --name "Kofi Boateng" --phone $phone)
                account=$(ecard account open --customer $customer --currency GHS)
                ecard account deposit $account --amount 100000 >&2
                card=$(ecard card create --account $account)
                ecard card insert $card --detach --reader "$1" >&2
                ecard card personalize $card --reader "$1" >&2
                ecard card eject $card >&2
                ecard code issue $card --digits 6 --attempts 10 --code-fd 3 3>$card.code >&2
                ecard card show $card --pan-fd 3 3>$card.pan >&2
                echo "$card $account $phone $(ecard card show $card --field expiry)" >>cards
            done
        }
        make '00 00' 1 \(cardCount / 2) & a=$!; make '00 01' \(cardCount / 2 + 1) \(cardCount) & wait $! && wait $a
        """

    private static let apartScript = """
        umask 077
        ecard bank init --apart --home bank >&2
        ecard pki init >&2
        ecard pki issue issuer >&2
        ecard pki issue bank --out bank/pki >&2
        cp $ECARD_HOME/pki/authority.pem bank/pki/
        export ECARD_HOME=$PWD/bank

        """

    /// The bank's caps are wide: what is looked at here are faults.
    private static let bankScript = """
        umask 077
        printf 'caps: {codes-per-phone: 100000, codes-per-merchant: 100000, codes-everywhere: 100000, ' >$ECARD_HOME/patterns.yaml
        printf 'notices-per-card: 100000}\\nrules: []\\n' >>$ECARD_HOME/patterns.yaml
        ecard merchant add --name "Makola Books" --registration CS-1 >merchant
        ecard merchant verify $(cat merchant) --by Efua >&2
        ecard merchant key $(cat merchant) --live --key-fd 3 3>key >&2
        echo \(gatewaySecret) >$ECARD_HOME/at.secret
        printf 'server:\\n  ussd:\\n    africastalking:\\n      secret-file: at.secret\\n' >>$ECARD_HOME/ecard.yaml
        """

    /// Has the merchant told of its payments at a port of this machine's.
    func addWebhook(port: Int) async throws {
        try await issuer.must(
            "umask 077; ecard webhook add $(cat merchant) --live --allow-private --url http://127.0.0.1:\(port)/hook --secret-fd 3 3>hook >&2",
            environment: ["ECARD_HOME": bankHome])
    }

    /// `ecard ledger verify` and `ecard bank verify`, each since a checkpoint where there is one.
    func verify(since checkpoints: (ledger: String, bank: String)? = nil) async throws -> [String] {
        var findings: [String] = []
        for (books, home, checkpoint) in [
            ("ledger", home, checkpoints?.ledger), ("bank", bankHome, checkpoints?.bank),
        ] {
            let run = try await ToolRun.of(
                [books, "verify"] + (checkpoint.map { ["--since", $0] } ?? []), home: home)
            if run.status != 0 { findings.append("ecard \(books) verify: \(run.status) \(run.out)\(run.err)") }
        }
        return findings
    }

    func checkpoints() async throws -> (ledger: String, bank: String) {
        (
            try await issuer.must("ecard ledger checkpoint"),
            try await issuer.must("ecard bank checkpoint", environment: ["ECARD_HOME": bankHome])
        )
    }
}
