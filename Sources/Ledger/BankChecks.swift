import GRDB
import PaymentPorts

extension BookRules {
    static let bank = BookRules(
        seals: [.merchant, .merchantKey, .signingKey, .merchantRequest, .webhookEndpoint],
        checks: [
            BookChecks.foreignKeys, BookChecks.entriesSumToZero, BookChecks.balances, BookChecks.entriesInChain,
            BookChecks.linesInEntries, BookChecks.onlinePostings, BookChecks.onlinePaymentsInChain,
            BookChecks.onlineOpeningsInChain, BookChecks.promptsInChain, BookChecks.evidenceInChain,
            BookChecks.requestsOfPayments,
            BookChecks.merchantsInChain, BookChecks.countriesInChain, BookChecks.signaturesInChain,
            BookChecks.endedInChain,
            BookChecks.bankRowsOfChain, BookChecks.sealedCodes,
        ])
}

extension RowSeal {
    static let merchant = RowSeal(
        table: "merchant", columns: "id, name, registration, created_at", key: ["id"], told: told(by: .merchantAdded),
        contents: "name or registration number")
    static let merchantKey = RowSeal(
        table: "merchant_key", columns: "hint, digest, merchant, is_live, created_at", key: ["hint"],
        told: told(by: .merchantKeyAdded), contents: "digest, merchant or mode")
    static let signingKey = RowSeal(
        table: "signing_key", columns: "id, merchant, is_live, point, created_at", key: ["id"],
        told: told(by: .signingKeyAdded), contents: "point, merchant or mode")
    static let merchantRequest = RowSeal(
        table: "merchant_request", columns: "id, payment, request, signed, at", key: ["id"],
        told: told(by: .paymentRequest), contents: "payment, request or record")
    static let webhookEndpoint = RowSeal(
        table: "webhook_endpoint", columns: "id, merchant, is_live, url, sealed_secret, created_at", key: ["id"],
        told: told(by: .webhookAdded), contents: "address, secret, merchant or mode")
}

extension BookChecks {
    /// The merchant's side of a payment's entries is what was captured and not returned.
    fileprivate static let onlinePostings = Check(
        name: "postings of online payments",
        sql: """
            SELECT payment.id, payment.captured - payment.refunded, coalesce(lines.total, 0)
            FROM payment LEFT JOIN (
                SELECT entry.payment AS payment, posting.account AS account, sum(posting.minor_units) AS total
                FROM entry JOIN posting ON posting.entry = entry.number
                WHERE entry.payment IS NOT NULL GROUP BY entry.payment, posting.account
            ) AS lines ON lines.payment = payment.id AND lines.account =
                iif(payment.is_live, '', 'test:') || 'merchant:' || payment.merchant || ':' || payment.currency
            WHERE payment.captured - payment.refunded <> coalesce(lines.total, 0)
                OR (payment.captured > 0) <> (payment.state IN ('captured', 'refunded'))
                OR (payment.state = 'refunded') <> (payment.captured > 0 AND payment.refunded = payment.captured)
            """
    ) { row in
        "payment \(try row.next(String.self)): captured less refunded is \(try row.next(Int64.self)), "
            + "its entries gave \(try row.next(Int64.self))"
    }

    fileprivate static let onlinePaymentsInChain = Check(
        name: "online payments against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind = 'payment.step'),
            newest AS (SELECT subject, max(number) AS number FROM said GROUP BY subject)
            SELECT payment.id, payment.state FROM payment LEFT JOIN newest ON newest.subject = payment.id
            LEFT JOIN said ON said.number = newest.number
            WHERE json_extract(said.detail, '$.state') IS NOT payment.state
                OR json_extract(said.detail, '$.step') IS NOT payment.step
                OR json_extract(said.detail, '$.amount') IS NOT payment.amount
                OR json_extract(said.detail, '$.currency') IS NOT payment.currency
                OR json_extract(said.detail, '$.merchant') IS NOT payment.merchant
                OR json_extract(said.detail, '$.live') IS NOT payment.is_live
                OR json_extract(said.detail, '$.captured') IS NOT payment.captured
                OR json_extract(said.detail, '$.refunded') IS NOT payment.refunded
                OR json_extract(said.detail, '$.attempts') IS NOT payment.attempts
                OR json_extract(said.detail, '$.profile') IS NOT payment.profile
                OR json_extract(said.detail, '$.prompted') IS NOT payment.prompt_at
                OR json_extract(said.detail, '$.shown') <> digest(payment.prompt, payment.prompt_channel)
                OR json_extract(said.detail, '$.reason') IS NOT payment.reason
            """
    ) { row in
        "payment \(try row.next(String.self)): \(try row.next(String.self)) is not what its newest audit record says"
    }

    fileprivate static let onlineOpeningsInChain = Check(
        name: "openings of online payments against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind = 'payment.step')
            SELECT payment.id FROM payment
            LEFT JOIN said ON said.subject = payment.id AND json_extract(said.detail, '$.step') = 1
            WHERE json_extract(said.detail, '$.expires') IS NOT payment.expires_at
                OR json_extract(said.detail, '$.later') IS NOT payment.captures_later
                OR json_extract(said.detail, '$.name') IS NOT payment.merchant_name
                OR json_extract(said.detail, '$.pan') IS NOT payment.pan_masked
                OR json_extract(said.detail, '$.card') IS NOT payment.card
                OR json_extract(said.detail, '$.request') IS NOT payment.request
                OR json_extract(said.detail, '$.row') <>
                    digest(reference, details, language, profiles, phone_since, created_at)
            """
    ) { row in "payment \(try row.next(String.self)): its beginning is not what its first audit record says" }

    /// Only a step that shows a prompt tells of another than the step before: one that was changed while its payment waited is
    /// told by the next step as it was found.
    fileprivate static let promptsInChain = Check(
        name: "prompts against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind = 'payment.step')
            SELECT DISTINCT subject FROM (
                SELECT subject, detail, json_extract(detail, '$.shown') AS shown,
                    lag(json_extract(detail, '$.shown')) OVER (PARTITION BY subject ORDER BY number) AS before
                FROM said)
            WHERE before IS NOT NULL AND shown IS NOT before
                AND NOT (json_extract(detail, '$.state') = 'awaiting_holder' AND json_extract(detail, '$.role') = 'bank')
            """
    ) { row in "payment \(try row.next(String.self)): its prompt was changed after it was shown" }

    /// A signed record is there exactly where the chain tells of one, and is the one that was written then. Records of before
    /// 0.1.0 was done tell only that there is one.
    fileprivate static let evidenceInChain = Check(
        name: "signed records against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind = 'payment.step'),
            told AS (SELECT subject AS payment, json_extract(detail, '$.evidence') AS digest FROM said
                WHERE json_extract(detail, '$.evidence') IS NOT NULL)
            SELECT told.payment FROM told LEFT JOIN evidence ON evidence.payment = told.payment
                WHERE evidence.signed IS NULL OR told.digest <> 1 AND told.digest <> digest(evidence.signed)
            UNION SELECT payment FROM evidence WHERE payment NOT IN (SELECT payment FROM told)
            """
    ) { row in "payment \(try row.next(String.self)): its signed record is not what the audit chain tells" }

    /// What a payment's first record names is there, and the payment's own.
    fileprivate static let requestsOfPayments = Check(
        name: "signed requests of payments",
        sql: """
            SELECT payment.id FROM payment LEFT JOIN merchant_request AS request ON request.id = payment.request
            WHERE payment.request IS NOT NULL AND request.payment IS NOT payment.id
            """
    ) { row in "payment \(try row.next(String.self)): the signed request that made it is gone, or another's" }

    fileprivate static let signaturesInChain = Check(
        name: "whether merchants sign, against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind = 'merchant.signatures'),
            newest AS (SELECT subject, max(number) AS number FROM said GROUP BY subject)
            SELECT merchant.id FROM merchant LEFT JOIN newest ON newest.subject = merchant.id
            LEFT JOIN said ON said.number = newest.number
            WHERE coalesce(json_extract(said.detail, '$.required'), 0) IS NOT merchant.requires_signatures
            """
    ) { row in
        "merchant \(try row.next(String.self)): whether its requests must be signed is not what the audit chain tells"
    }

    fileprivate static let merchantsInChain = Check(
        name: "merchants against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind IN ('merchant.added', 'merchant.state')),
            newest AS (SELECT subject, max(number) AS number FROM said GROUP BY subject)
            SELECT merchant.id, merchant.state FROM merchant LEFT JOIN newest ON newest.subject = merchant.id
            LEFT JOIN said ON said.number = newest.number
            WHERE json_extract(said.detail, '$.state') IS NOT merchant.state
            """
    ) { row in
        "merchant \(try row.next(String.self)): \(try row.next(String.self)) is not what its newest audit record says"
    }

    fileprivate static let countriesInChain = Check(
        name: "countries of merchants against the audit chain",
        sql: """
            SELECT merchant.id FROM merchant
            LEFT JOIN audit AS added ON added.subject = merchant.id AND added.kind = 'merchant.added'
            WHERE json_extract(added.detail, '$.country') IS NOT merchant.country
            """
    ) { row in "merchant \(try row.next(String.self)): its country is not what the audit chain tells" }

    /// What is in use has not been ended, and what was ended is not in use again.
    fileprivate static let endedInChain = Check(
        name: "keys and webhook endpoints against the audit chain",
        sql: """
            SELECT 'merchant key ' || hint FROM merchant_key WHERE (ended_at IS NOT NULL) <> EXISTS
                (SELECT 1 FROM audit WHERE kind = 'merchant.key_ended' AND subject = hint)
            UNION ALL SELECT 'signing key ' || id FROM signing_key WHERE (ended_at IS NOT NULL) <> EXISTS
                (SELECT 1 FROM audit WHERE kind = 'signing_key.ended' AND subject = id)
            UNION ALL SELECT 'webhook endpoint ' || id FROM webhook_endpoint WHERE (ended_at IS NOT NULL) <> EXISTS
                (SELECT 1 FROM audit WHERE kind = 'webhook.removed' AND subject = id)
            """
    ) { row in "\(try row.next(String.self)): whether it is in use is not what the audit chain tells" }

    fileprivate static let bankRowsOfChain = Check(
        name: "what the audit chain tells of",
        sql: """
            SELECT DISTINCT kind, subject FROM audit WHERE
                kind = 'merchant.added' AND NOT EXISTS (SELECT 1 FROM merchant WHERE id = subject)
                OR kind = 'merchant.key_added' AND NOT EXISTS (SELECT 1 FROM merchant_key WHERE hint = subject)
                OR kind = 'signing_key.added' AND NOT EXISTS (SELECT 1 FROM signing_key WHERE id = subject)
                OR kind = 'payment.request' AND NOT EXISTS (SELECT 1 FROM merchant_request WHERE id = subject)
                OR kind = 'webhook.added' AND NOT EXISTS (SELECT 1 FROM webhook_endpoint WHERE id = subject)
                OR kind = 'payment.step' AND NOT EXISTS (SELECT 1 FROM payment WHERE id = subject)
            """
    ) { row in "\(try row.next(String.self)) \(try row.next(String.self)): told by the audit chain, but gone" }

    /// A sealed code is there from its arrival to the verdict alone.
    fileprivate static let sealedCodes = Check(
        name: "sealed codes",
        sql: """
            SELECT id, state FROM payment WHERE sealed_code IS NOT NULL AND state NOT IN ('checking', 'review')
            """
    ) { row in "payment \(try row.next(String.self)): \(try row.next(String.self)), but its sealed code is still there"
    }
}
