import GRDB

/// What must be true of the books, each as a query for what is not.
enum BookChecks {
    struct Check: Sendable {
        let name: String
        let sql: String
        let say: @Sendable (inout RowReader) throws -> String
    }

    static let all = [
        foreignKeys, entriesSumToZero, balances, held, orphanHolds, authorizedWithoutHold, paymentPostings,
        entriesInChain, linesInEntries, cardsInChain, cardKeysInChain, chipsInChain, countersInChain, codesInChain,
        codeKeysInChain, paymentsInChain, requestsInChain, keyVersionsInChain, rowsOfChain, mailersInChain,
        announcementsInChain, termsInChain, approvedTries, policiesInChain, customersInChain,
    ]

    static let foreignKeys = Check(
        name: "references", sql: #"SELECT "table", ifnull(rowid, 0), parent FROM pragma_foreign_key_check"#
    ) { row in
        "table \(try row.next(String.self)), row \(try row.next(Int64.self)): its \(try row.next(String.self)) is missing"
    }

    static let entriesSumToZero = Check(
        name: "entries",
        sql: """
            SELECT entry.number, coalesce(account.currency, '?'), coalesce(sum(posting.minor_units), 0)
            FROM entry LEFT JOIN posting ON posting.entry = entry.number
            LEFT JOIN account ON account.id = posting.account
            GROUP BY entry.number, account.currency
            HAVING coalesce(sum(posting.minor_units), 0) <> 0 OR count(posting.account) < 2
            """
    ) { row in
        "entry \(try row.next(Int64.self)): its lines in \(try row.next(String.self)) sum to \(try row.next(Int64.self))"
    }

    static let balances = Check(
        name: "balances",
        sql: """
            SELECT account.id, account.balance, coalesce(lines.total, 0)
            FROM account LEFT JOIN (SELECT account, sum(minor_units) AS total FROM posting GROUP BY account) AS lines
            ON lines.account = account.id
            WHERE account.balance <> coalesce(lines.total, 0)
            """
    ) { row in
        """
        account \(try row.next(String.self)): balance \(try row.next(Int64.self)), \
        its postings sum to \(try row.next(Int64.self))
        """
    }

    private static let held = Check(
        name: "held amounts",
        sql: """
            SELECT account.id, account.held, coalesce(holds.total, 0)
            FROM account LEFT JOIN (SELECT account, sum(minor_units) AS total FROM hold GROUP BY account) AS holds
            ON holds.account = account.id
            WHERE account.held <> coalesce(holds.total, 0)
            """
    ) { row in
        "account \(try row.next(String.self)): held \(try row.next(Int64.self)), its holds sum to \(try row.next(Int64.self))"
    }

    private static let orphanHolds = Check(
        name: "holds",
        sql: """
            SELECT hold.payment FROM hold
            LEFT JOIN payment ON payment.id = hold.payment LEFT JOIN card ON card.id = payment.card
            WHERE payment.state IS NOT 'authorized' OR payment.amount IS NOT hold.minor_units
                OR card.account IS NOT hold.account
            """
    ) { row in "hold of payment \(try row.next(String.self)): no authorized payment of that amount and account" }

    private static let authorizedWithoutHold = Check(
        name: "authorized payments",
        sql: """
            SELECT id FROM payment WHERE state = 'authorized'
            AND NOT EXISTS (SELECT 1 FROM hold WHERE hold.payment = payment.id)
            """
    ) { row in "payment \(try row.next(String.self)): authorized, but nothing is held" }

    /// The customer's side of a payment's entries is what it captured and did not return.
    private static let paymentPostings = Check(
        name: "postings of payments",
        sql: """
            SELECT payment.id, payment.captured - payment.refunded, -coalesce(lines.total, 0)
            FROM payment LEFT JOIN card ON card.id = payment.card LEFT JOIN (
                SELECT entry.payment AS payment, posting.account AS account, sum(posting.minor_units) AS total
                FROM entry JOIN posting ON posting.entry = entry.number
                WHERE entry.payment IS NOT NULL GROUP BY entry.payment, posting.account
            ) AS lines ON lines.payment = payment.id AND lines.account = card.account
            WHERE payment.captured - payment.refunded <> -coalesce(lines.total, 0)
                OR (payment.captured > 0) <> (payment.state IN ('captured', 'refunded')
                    OR payment.state = 'reversed' AND payment.captured > 0)
            """
    ) { row in
        "payment \(try row.next(String.self)): captured less refunded is \(try row.next(Int64.self)), "
            + "its entries took \(try row.next(Int64.self))"
    }

    /// Detail that is no JSON (written by others, or damaged) says nothing, rather than stopping the check.
    static let said = "SELECT number, kind, subject, iif(json_valid(detail), detail, '{}') AS detail FROM audit"

    private static let told = """
        WITH said AS (\(said) WHERE kind IN ('account.deposited', 'payment.approved', 'payment.confirmed',
            'payment.captured', 'payment.reversed', 'payment.refunded', 'payment.step', 'merchant.paid')),
        told AS (SELECT json_extract(detail, '$.entry') AS entry, line.key AS account, line.value AS minor_units
            FROM said, json_each(said.detail, '$.lines') AS line)
        """

    static let entriesInChain = Check(
        name: "entries against the audit chain",
        sql: """
            \(told) SELECT DISTINCT entry FROM (
                SELECT entry, account, minor_units FROM posting EXCEPT SELECT entry, account, minor_units FROM told)
            """
    ) { row in "entry \(try row.next(Int64.self)): no audit record tells of it as it stands" }

    static let linesInEntries = Check(
        name: "the audit chain against the entries",
        sql: """
            \(told) SELECT DISTINCT entry FROM (
                SELECT entry, account, minor_units FROM told EXCEPT SELECT entry, account, minor_units FROM posting)
            """
    ) { row in "entry \(try row.next(Int64.self)): the audit chain tells of lines that are not there" }

    private static let cardsInChain = Check(
        name: "cards against the audit chain",
        sql: """
            WITH said AS (\(said)), newest AS (SELECT subject, max(number) AS number FROM audit
                WHERE kind IN ('card.created', 'card.personalizing', 'card.active', 'card.blocked') GROUP BY subject)
            SELECT card.id, card.state FROM card LEFT JOIN newest ON newest.subject = card.id
            LEFT JOIN said ON said.number = newest.number
            WHERE json_extract(said.detail, '$.state') IS NOT card.state
                OR json_extract(said.detail, '$.exposed') IS NOT card.exposed
            """
    ) { row in
        "card \(try row.next(String.self)): \(try row.next(String.self)) is not what its newest audit record says"
    }

    private static let chipsInChain = Check(
        name: "chips against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind = 'card.bound'),
            told AS (SELECT subject AS card, json_extract(detail, '$.chip') AS chip,
                ifnull(json_extract(detail, '$.kmc_key'), 1) AS kmc FROM said)
            SELECT DISTINCT card FROM (
                SELECT * FROM (SELECT card, hex(kdd), kmc_key FROM chip EXCEPT SELECT card, chip, kmc FROM told)
                UNION SELECT * FROM (SELECT card, chip, kmc FROM told EXCEPT SELECT card, hex(kdd), kmc_key FROM chip))
            """
    ) { row in "card \(try row.next(String.self)): its chip or KMC is not what its audit record names" }

    /// A card's ATC is the one that the newest record with an ATC of it tells.
    private static let countersInChain = Check(
        name: "transaction counters against the audit chain",
        sql: """
            WITH said AS (\(said)), told AS (
                SELECT number, subject AS card, json_extract(detail, '$.atc') AS atc FROM said
                WHERE kind IN ('card.created', 'card.personalizing', 'card.active', 'card.blocked')
                UNION ALL SELECT number, json_extract(detail, '$.card'), json_extract(detail, '$.atc') FROM said
                WHERE kind IN ('payment.approved', 'payment.declined') AND json_extract(detail, '$.atc') IS NOT NULL),
            newest AS (SELECT card, atc, max(number) FROM told GROUP BY card)
            SELECT card.id, ifnull(card.last_atc, -1), ifnull(newest.atc, -1)
            FROM card LEFT JOIN newest ON newest.card = card.id WHERE card.last_atc IS NOT newest.atc
            """
    ) { row in
        "card \(try row.next(String.self)): last ATC \(try row.next(Int64.self)), the audit chain tells \(try row.next(Int64.self))"
    }

    /// Every attempt tells what became of the code's state and failures.
    private static let codesInChain = Check(
        name: "codes against the audit chain",
        sql: """
            WITH said AS (\(said)), told AS (
                SELECT number, subject AS card, json_extract(detail, '$.version') AS version,
                    json_extract(detail, '$.state') AS state, json_extract(detail, '$.failures') AS failures FROM said
                WHERE kind IN ('code.issued', 'code.locked', 'code.unlocked', 'code.revoked', 'code.replaced')
                UNION ALL SELECT number, json_extract(detail, '$.card'), json_extract(detail, '$.code_version'),
                    json_extract(detail, '$.code_state'), json_extract(detail, '$.code_failures') FROM said
                WHERE kind IN ('payment.attempted', 'payment.approved', 'payment.declined')
                    AND json_extract(detail, '$.code_version') IS NOT NULL),
            newest AS (SELECT card, version, state, failures, max(number) FROM told GROUP BY card, version),
            latest AS (SELECT card, max(version) AS version FROM code GROUP BY card)
            SELECT code.card, code.version, code.state, code.failures FROM code JOIN latest ON latest.card = code.card
            LEFT JOIN newest ON newest.card = code.card AND newest.version = code.version
            WHERE iif(code.version < latest.version, 'replaced', newest.state) IS NOT code.state
                OR newest.failures IS NOT code.failures
            """
    ) { row in
        """
        card \(try row.next(String.self)), code version \(try row.next(Int64.self)): \(try row.next(String.self)) \
        with \(try row.next(Int64.self)) failures is not what its newest audit record says
        """
    }

    private static let paymentsInChain = Check(
        name: "payments against the audit chain",
        sql: """
            WITH said AS (\(said)), newest AS (SELECT subject, max(number) AS number FROM audit
                WHERE kind IN ('payment.attempted', 'payment.approved', 'payment.declined',
                'payment.confirmed', 'payment.captured', 'payment.voided', 'payment.reversed', 'payment.expired', 'payment.refunded')
                GROUP BY subject)
            SELECT payment.id, payment.state FROM payment LEFT JOIN newest ON newest.subject = payment.id
            LEFT JOIN hold ON hold.payment = payment.id
            LEFT JOIN said ON said.number = newest.number
            WHERE json_extract(said.detail, '$.state') IS NOT payment.state
                OR json_extract(said.detail, '$.amount') IS NOT payment.amount
                OR json_extract(said.detail, '$.currency') IS NOT payment.currency
                OR json_extract(said.detail, '$.captured') IS NOT payment.captured
                OR json_extract(said.detail, '$.refunded') IS NOT payment.refunded
                OR json_extract(said.detail, '$.card') IS NOT payment.card
                OR json_extract(said.detail, '$.merchant') IS NOT payment.merchant
                OR json_extract(said.detail, '$.response') IS NOT payment.response_code
                OR json_extract(said.detail, '$.decided') IS NOT payment.decided_at
                OR json_extract(said.detail, '$.confirmed') IS NOT payment.confirmed_at
                OR json_extract(said.detail, '$.hold_ends') IS NOT hold.expires_at
                OR json_extract(said.detail, '$.announcement') IS NOT payment.announcement
                OR json_extract(said.detail, '$.try') IS NOT payment.try
            """
    ) { row in
        "payment \(try row.next(String.self)): \(try row.next(String.self)) is not what its newest audit record says"
    }

    /// Whoever could change these would pay a request twice, or answer its repeat with what was not decided.
    private static let requestsInChain = Check(
        name: "requests and answers of payments against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind IN ('payment.attempted', 'payment.approved', 'payment.declined'))
            SELECT DISTINCT payment.id FROM said JOIN payment ON payment.id = said.subject
            WHERE json_extract(said.detail, '$.request') <> digest(payment.idempotency_key, payment.request_digest,
                    payment.digest_key, payment.channel, payment.pan_masked, payment.created_at, payment.sealed_digest)
                OR json_extract(said.detail, '$.answer') <> digest(payment.answer)
            """
    ) { row in
        "payment \(try row.next(String.self)): its request or its stored answer is not what the audit chain tells"
    }

    private static let rowsOfChain = Check(
        name: "what the audit chain tells of",
        sql: """
            SELECT DISTINCT kind, subject FROM audit WHERE
                kind = 'customer.added' AND NOT EXISTS (SELECT 1 FROM customer WHERE id = subject)
                OR kind = 'account.opened' AND NOT EXISTS (SELECT 1 FROM account WHERE id = subject)
                OR kind = 'card.created' AND NOT EXISTS (SELECT 1 FROM card WHERE id = subject)
                OR kind = 'card.enrolled' AND NOT EXISTS (SELECT 1 FROM enrollment WHERE card = subject)
                OR kind = 'code.issued' AND NOT EXISTS (SELECT 1 FROM code WHERE card = subject)
                OR kind = 'payment.attempted' AND NOT EXISTS (SELECT 1 FROM payment WHERE id = subject)
                OR kind IN ('announcement.made', 'announcement.reversed')
                    AND NOT EXISTS (SELECT 1 FROM announcement WHERE id = subject)
            """
    ) { row in "\(try row.next(String.self)) \(try row.next(String.self)): told by the audit chain, but gone" }

    /// A mailer is there from the issue of its code to its delivery or withdrawal, at the place its newest record names.
    private static let mailersInChain = Check(
        name: "code mailers against the audit chain",
        sql: """
            WITH said AS (\(said)), told AS (
                SELECT json_extract(detail, '$.mailer') AS id, kind, subject AS card,
                    json_extract(detail, '$.version') AS version, json_extract(detail, '$.place') AS place, max(number)
                FROM said WHERE kind IN ('code.issued', 'code.delivering', 'code.delivered', 'code.withdrawn')
                    AND json_extract(detail, '$.mailer') IS NOT NULL GROUP BY json_extract(detail, '$.mailer')),
            open AS (SELECT id, card, version, place FROM told WHERE kind IN ('code.issued', 'code.delivering'))
            SELECT DISTINCT card, version FROM (
                SELECT * FROM (SELECT id, card, version, place FROM mailer EXCEPT SELECT * FROM open)
                UNION SELECT * FROM (SELECT * FROM open EXCEPT SELECT id, card, version, place FROM mailer))
            """
    ) { row in
        "card \(try row.next(String.self)), code version \(try row.next(Int64.self)): its mailer is not what the audit chain tells"
    }
}
