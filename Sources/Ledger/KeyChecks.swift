/// What the audit chain tells of key versions, against the rows. What was recorded before there were versions names
/// none: it is of the first.
extension BookChecks {
    static let keyVersionsInChain = Check(
        name: "key versions against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind IN ('key.rotated', 'key.retired')),
            told AS (SELECT subject AS role, json_extract(detail, '$.version') AS version,
                max(kind = 'key.retired') AS is_retired FROM said GROUP BY subject, version),
            kept AS (SELECT role, version, retired_at IS NOT NULL AS is_retired FROM key_version)
            SELECT DISTINCT role, ifnull(version, 0) FROM (
                SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM told)
                UNION SELECT * FROM (SELECT * FROM told EXCEPT SELECT * FROM kept))
            """
    ) { row in
        "key '\(try row.next(String.self))' version \(try row.next(Int64.self)): the audit chain tells otherwise"
    }

    static let cardKeysInChain = Check(
        name: "key versions of cards against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind IN ('card.created', 'card.rewrapped', 'card.personalizing')),
            sealed AS (SELECT subject, max(number), ifnull(json_extract(detail, '$.pan_key'), 1) AS pan,
                ifnull(json_extract(detail, '$.index_key'), 1) AS pan_index
                FROM said WHERE kind <> 'card.personalizing' GROUP BY subject),
            made AS (SELECT subject, max(number), ifnull(json_extract(detail, '$.cvk_key'), 1) AS cvk
                FROM said WHERE kind = 'card.created' GROUP BY subject),
            chip AS (SELECT subject, max(number), ifnull(json_extract(detail, '$.imk_ac'), 1) AS ac,
                ifnull(json_extract(detail, '$.imk_smi'), 1) AS smi, ifnull(json_extract(detail, '$.imk_smc'), 1) AS smc
                FROM said WHERE kind = 'card.personalizing' GROUP BY subject)
            SELECT card.id FROM card LEFT JOIN sealed ON sealed.subject = card.id
            LEFT JOIN made ON made.subject = card.id LEFT JOIN chip ON chip.subject = card.id
            WHERE card.pan_key IS NOT sealed.pan OR card.index_key IS NOT sealed.pan_index
                OR card.cvk_key IS NOT made.cvk OR card.imk_ac IS NOT chip.ac OR card.imk_smi IS NOT chip.smi
                OR card.imk_smc IS NOT chip.smc
            """
    ) { row in "card \(try row.next(String.self)): its key versions are not what the audit chain tells" }

    static let codeKeysInChain = Check(
        name: "key versions of codes against the audit chain",
        sql: """
            WITH said AS (\(said) WHERE kind IN ('code.issued', 'payment.approved', 'payment.declined')),
            told AS (
                SELECT number, subject AS card, json_extract(detail, '$.version') AS version,
                    ifnull(json_extract(detail, '$.code_key'), 1) AS code_key FROM said WHERE kind = 'code.issued'
                UNION ALL SELECT number, json_extract(detail, '$.card'), json_extract(detail, '$.code_version'),
                    json_extract(detail, '$.code_key') FROM said
                WHERE kind <> 'code.issued' AND json_extract(detail, '$.code_key') IS NOT NULL),
            newest AS (SELECT card, version, code_key, max(number) FROM told GROUP BY card, version)
            SELECT code.card, code.version FROM code
            LEFT JOIN newest ON newest.card = code.card AND newest.version = code.version
            WHERE newest.code_key IS NOT code.code_key
            """
    ) { row in
        """
        card \(try row.next(String.self)), code version \(try row.next(Int64.self)): \
        its key version is not what the audit chain tells
        """
    }
}
