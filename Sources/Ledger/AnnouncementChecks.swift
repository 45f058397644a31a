import GRDB

/// What must be true of announced payments, their holders and their cards' policies.
extension BookChecks {
    /// Its own records and those of its tries tell what became of an announcement.
    static let announcementsInChain = Check(
        name: "announcements against the audit chain",
        sql: """
            WITH said AS (\(said)), told AS (
                SELECT number, subject AS id, json_extract(detail, '$.state') AS state,
                    json_extract(detail, '$.approved') AS approved, json_extract(detail, '$.code_failures') AS failures
                FROM said WHERE kind IN ('announcement.made', 'announcement.reversed', 'announcement.expired')
                UNION ALL SELECT number, json_extract(detail, '$.announcement'),
                    json_extract(detail, '$.announcement_state'), json_extract(detail, '$.announcement_approved'),
                    json_extract(detail, '$.announcement_failures') FROM said
                WHERE kind IN ('payment.attempted', 'payment.approved', 'payment.declined')
                    AND json_extract(detail, '$.announcement') IS NOT NULL),
            newest AS (SELECT id, state, approved, failures, max(number) FROM told GROUP BY id)
            SELECT announcement.id, announcement.state FROM announcement LEFT JOIN newest ON newest.id = announcement.id
            WHERE newest.state IS NOT announcement.state OR newest.approved IS NOT announcement.approved
                OR newest.failures IS NOT announcement.code_failures
                OR announcement.code_digest IS NOT NULL AND announcement.state <> 'open'
            """
    ) { row in
        "announcement \(try row.next(String.self)): \(try row.next(String.self)) is not what its newest audit record says"
    }

    static let termsInChain = Check(
        name: "terms of announcements against the audit chain",
        sql: """
            WITH made AS (\(said) WHERE kind = 'announcement.made')
            SELECT announcement.id FROM announcement LEFT JOIN made ON made.subject = announcement.id
            WHERE json_extract(made.detail, '$.amount') IS NOT announcement.amount
                OR json_extract(made.detail, '$.currency') IS NOT announcement.currency
                OR json_extract(made.detail, '$.merchant') IS NOT announcement.merchant
                OR json_extract(made.detail, '$.later') IS NOT announcement.later
                OR json_extract(made.detail, '$.expires') IS NOT announcement.expires_at
                OR json_extract(made.detail, '$.card') IS NOT announcement.card
            """
    ) { row in "announcement \(try row.next(String.self)): its terms are not what its audit record says" }

    /// At most one try is approved, of the announced amount and card, and the announcement names it.
    static let approvedTries = Check(
        name: "approved tries",
        sql: """
            SELECT payment.announcement FROM payment JOIN announcement ON announcement.id = payment.announcement
            WHERE payment.response_code = '00' AND (announcement.approved IS NOT payment.id
                OR announcement.amount IS NOT payment.amount OR announcement.currency IS NOT payment.currency
                OR announcement.card IS NOT payment.card OR announcement.merchant IS NOT payment.merchant)
            UNION SELECT id FROM announcement WHERE (approved IS NOT NULL) <> EXISTS (
                SELECT 1 FROM payment WHERE payment.id = announcement.approved
                    AND payment.announcement = announcement.id AND payment.response_code = '00')
                OR approved IS NULL AND state = 'approved'
            """
    ) { row in "announcement \(try row.next(String.self)): the try that was approved is not the one it names" }

    static let policiesInChain = Check(
        name: "card policies against the audit chain",
        sql: """
            WITH newest AS (SELECT subject, json_extract(detail, '$.profiles') AS profiles, max(number)
                FROM (\(said) WHERE kind = 'card.profiles') GROUP BY subject)
            SELECT card.id, card.profiles FROM card LEFT JOIN newest ON newest.subject = card.id
            WHERE ifnull(newest.profiles, 'AB') IS NOT card.profiles
            """
    ) { row in
        "card \(try row.next(String.self)): it takes codes by \(try row.next(String.self)), the audit chain tells otherwise"
    }

    static let customersInChain = Check(
        name: "languages and telephones against the audit chain",
        sql: """
            WITH said AS (\(said)),
            spoken AS (SELECT subject, json_extract(detail, '$.language') AS language, max(number)
                FROM said WHERE kind IN ('customer.added', 'customer.language') GROUP BY subject),
            moved AS (SELECT subject, json_extract(detail, '$.since') AS since, max(number)
                FROM said WHERE kind = 'customer.phone' GROUP BY subject)
            SELECT customer.id FROM customer LEFT JOIN spoken ON spoken.subject = customer.id
            LEFT JOIN moved ON moved.subject = customer.id
            WHERE ifnull(spoken.language, 'en') IS NOT customer.language
                OR moved.since IS NOT customer.phone_changed_at
            """
    ) { row in
        "customer \(try row.next(String.self)): language or age of the telephone is not what the audit chain tells"
    }
}
