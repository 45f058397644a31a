import GRDB

/// The tables of a file and how they came to be. `PRAGMA user_version` counts the steps.
struct Schema: Sendable {
    /// In `PRAGMA application_id`: what `file(1)` and we recognise the file by.
    let applicationID: Int
    let steps: [String]
    /// The command that makes such a file.
    let maker: String

    var version: Int { steps.count }

    /// `ECRD`.
    static let issuer = Schema(
        applicationID: 0x4543_5244,
        steps: [version1, decisionIndices, keyVersions, enrollmentsAndMailers, receiptMark, announcements],
        maker: "ecard init")

    /// Brings an older or empty file up to date, all or nothing.
    func migrate(_ db: Database) throws {
        try db.inTransaction(.immediate) {
            let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
            guard version < steps.count else { return .commit }
            for step in steps[max(0, version)...] { try db.execute(sql: step) }
            try db.execute(
                sql: "PRAGMA application_id = \(applicationID); PRAGMA user_version = \(steps.count)")
            return .commit
        }
    }

    /// Times are milliseconds since 1970 UTC, amounts signed minor units.
    ///
    /// - `account`: a customer's, or with `customer` NULL the issuer's own: `cash:GHS`, `merchant:GHS:Name`.
    ///   `balance` and `held` are kept with every posting and hold; the verification recomputes both.
    /// - `hold`: open holds only.
    /// - `code_failure`: attempts with a code that did not turn out right, by minute, so that an hour is summed over at
    ///   most 61 rows however many attempts there were.
    /// - `nobody`: one row, written in place of a code's where an attempt has none to count on.
    private static let version1 = """
        CREATE TABLE customer (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            phone TEXT,
            email TEXT,
            created_at INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE account (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            customer TEXT REFERENCES customer (id),
            currency TEXT NOT NULL,
            balance INTEGER NOT NULL DEFAULT 0,
            held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX account_of_customer ON account (customer);

        CREATE TABLE card (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            account TEXT NOT NULL REFERENCES account (id),
            pan_index BLOB NOT NULL UNIQUE,
            pan_sealed BLOB NOT NULL,
            pan_masked TEXT NOT NULL,
            sequence_number INTEGER NOT NULL CHECK (sequence_number BETWEEN 0 AND 99),
            expiry TEXT NOT NULL,
            name TEXT NOT NULL,
            profile TEXT NOT NULL,
            state TEXT NOT NULL,
            exposed INTEGER NOT NULL CHECK (exposed IN (0, 1)),
            last_atc INTEGER CHECK (last_atc BETWEEN 0 AND 65535),
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX card_of_account ON card (account);

        CREATE TABLE chip (
            kdd BLOB PRIMARY KEY,
            card TEXT NOT NULL UNIQUE REFERENCES card (id)
        ) STRICT;

        CREATE TABLE code (
            card TEXT NOT NULL REFERENCES card (id),
            version INTEGER NOT NULL CHECK (version >= 1),
            salt BLOB NOT NULL,
            digest BLOB NOT NULL,
            digits INTEGER NOT NULL CHECK (digits BETWEEN 3 AND 8),
            state TEXT NOT NULL,
            failures INTEGER NOT NULL CHECK (failures >= 0),
            failure_limit INTEGER NOT NULL CHECK (failure_limit >= 1),
            expires_at INTEGER,
            issued_at INTEGER NOT NULL,
            PRIMARY KEY (card, version)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE payment (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            idempotency_key TEXT NOT NULL,
            request_digest BLOB NOT NULL,
            channel TEXT NOT NULL,
            merchant TEXT NOT NULL,
            amount INTEGER NOT NULL,
            currency TEXT NOT NULL,
            card TEXT REFERENCES card (id),
            pan_masked TEXT NOT NULL,
            state TEXT NOT NULL,
            response_code TEXT,
            reason TEXT NOT NULL DEFAULT '',
            answer BLOB NOT NULL DEFAULT x'',
            captured INTEGER NOT NULL DEFAULT 0 CHECK (captured BETWEEN 0 AND amount OR captured = 0),
            refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND captured),
            created_at INTEGER NOT NULL,
            decided_at INTEGER,
            confirmed_at INTEGER,
            attempted_at INTEGER NOT NULL,
            card_scope TEXT,
            customer_scope TEXT,
            code_version INTEGER,
            UNIQUE (merchant, idempotency_key)
        ) STRICT;
        CREATE INDEX payment_of_card ON payment (card);
        CREATE INDEX payment_undecided ON payment (attempted_at) WHERE state = 'attempted';
        CREATE INDEX payment_approved ON payment (card, decided_at, amount) WHERE response_code = '00';

        CREATE TABLE hold (
            payment TEXT PRIMARY KEY REFERENCES payment (id),
            account TEXT NOT NULL REFERENCES account (id),
            minor_units INTEGER NOT NULL CHECK (minor_units > 0),
            expires_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX hold_of_account ON hold (account, expires_at);
        CREATE INDEX hold_by_expiry ON hold (expires_at);

        CREATE TABLE entry (
            number INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            payment TEXT REFERENCES payment (id),
            idempotency_key TEXT,
            request TEXT,
            at INTEGER NOT NULL,
            UNIQUE (kind, idempotency_key)
        ) STRICT;

        CREATE TABLE posting (
            entry INTEGER NOT NULL REFERENCES entry (number),
            account TEXT NOT NULL REFERENCES account (id),
            minor_units INTEGER NOT NULL CHECK (minor_units <> 0),
            PRIMARY KEY (entry, account)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX posting_of_account ON posting (account, entry);

        CREATE TABLE code_failure (
            scope TEXT NOT NULL,
            minute INTEGER NOT NULL,
            attempts INTEGER NOT NULL CHECK (attempts >= 0),
            PRIMARY KEY (scope, minute)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE nobody (attempts INTEGER NOT NULL) STRICT;
        INSERT INTO nobody (attempts) VALUES (0);

        CREATE TABLE audit (
            number INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL,
            seal BLOB NOT NULL
        ) STRICT;
        """

    /// One index for a card's payments and for what it spent, written once at the decision and not at the attempt too; and
    /// one by which old counts are found.
    private static let decisionIndices = """
        DROP INDEX payment_of_card;
        DROP INDEX payment_approved;
        CREATE INDEX payment_of_card ON payment (card, decided_at, amount, response_code) WHERE decided_at IS NOT NULL;
        CREATE INDEX code_failure_by_minute ON code_failure (minute);
        """

    /// Everything names the key versions it was made under; what is older than this step, the first.
    ///
    /// - `key_version`: a key without a row has version 1 alone. `change` counts all changes of this table.
    /// - `pan_key`, `index_key`, `digest_key`, `code_key`: what the value beside is sealed, indexed or hashed under.
    /// - `imk_…`: what a chip's keys come from; NULL before its personalization. `kmc_key`: its card manager keys.
    private static let keyVersions = """
        CREATE TABLE key_version (
            role TEXT NOT NULL,
            version INTEGER NOT NULL CHECK (version >= 1),
            made_at INTEGER NOT NULL,
            retired_at INTEGER,
            change INTEGER NOT NULL UNIQUE,
            PRIMARY KEY (role, version)
        ) STRICT, WITHOUT ROWID;

        ALTER TABLE card ADD COLUMN pan_key INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE card ADD COLUMN index_key INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE card ADD COLUMN cvk_key INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE card ADD COLUMN imk_ac INTEGER;
        ALTER TABLE card ADD COLUMN imk_smi INTEGER;
        ALTER TABLE card ADD COLUMN imk_smc INTEGER;
        UPDATE card SET imk_ac = 1, imk_smi = 1, imk_smc = 1
            WHERE id IN (SELECT subject FROM audit WHERE kind = 'card.personalizing');
        ALTER TABLE chip ADD COLUMN kmc_key INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE code ADD COLUMN code_key INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE payment ADD COLUMN digest_key INTEGER NOT NULL DEFAULT 1;
        """

    /// - `enrollment`: what a row of a customer file became. `reference` is the issuer's own number.
    /// - `mailer`: codes on their way to their holders, sealed by the HSM's delivery key, of version
    ///   `delivery_key`; a row ends with its delivery.
    private static let enrollmentsAndMailers = """
        CREATE TABLE enrollment (
            card TEXT PRIMARY KEY REFERENCES card (id),
            reference TEXT NOT NULL UNIQUE,
            digest BLOB NOT NULL,
            address TEXT
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE mailer (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            card TEXT NOT NULL,
            version INTEGER NOT NULL,
            sealed BLOB NOT NULL,
            place TEXT,
            sealed_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            delivery_key INTEGER NOT NULL,
            UNIQUE (card, version),
            FOREIGN KEY (card, version) REFERENCES code (card, version)
        ) STRICT;
        """

    /// - `receipt_mark`: one row: the audit record up to which receipts were handed over. What is older than this step was
    ///   told when it was paid.
    private static let receiptMark = """
        CREATE TABLE receipt_mark (record INTEGER NOT NULL) STRICT;
        INSERT INTO receipt_mark SELECT ifnull(max(number), 0) FROM audit;
        """

    /// - `announcement`: payments that banks announced; without terms (`digest` and what follows it NULL) where the reversal
    ///   came first. `code_salt` and `code_digest` are of its one-time code, and gone when it ends. `payment.announcement`
    ///   names the one that a payment is a try of, `sealed_digest` the ciphertext that it came with.
    /// - `card.profiles`: the ways in which it takes codes, a letter each.
    /// - `message`: to people, sealed by the HSM's delivery key, of version `delivery_key`; a row ends when it left.
    private static let announcements = """
        ALTER TABLE customer ADD COLUMN language TEXT NOT NULL DEFAULT 'en';
        ALTER TABLE customer ADD COLUMN phone_changed_at INTEGER;
        CREATE INDEX customer_by_phone ON customer (phone) WHERE phone IS NOT NULL;
        ALTER TABLE card ADD COLUMN profiles TEXT NOT NULL DEFAULT 'AB';

        CREATE TABLE announcement (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            approved TEXT REFERENCES payment (id),
            digest BLOB,
            digest_key INTEGER,
            amount INTEGER,
            currency TEXT,
            merchant TEXT,
            later INTEGER CHECK (later IN (0, 1)),
            expires_at INTEGER,
            card TEXT REFERENCES card (id),
            pan_masked TEXT,
            code_salt BLOB,
            code_digest BLOB,
            code_key INTEGER,
            code_failures INTEGER NOT NULL DEFAULT 0 CHECK (code_failures >= 0),
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX announcement_open ON announcement (expires_at) WHERE state = 'open';

        ALTER TABLE payment ADD COLUMN announcement TEXT REFERENCES announcement (id);
        ALTER TABLE payment ADD COLUMN try INTEGER;
        ALTER TABLE payment ADD COLUMN sealed_digest BLOB;
        CREATE INDEX payment_of_announcement ON payment (announcement, try) WHERE announcement IS NOT NULL;

        CREATE TABLE message (
            number INTEGER PRIMARY KEY,
            reference TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            recipient TEXT NOT NULL,
            language TEXT NOT NULL,
            sealed BLOB NOT NULL,
            delivery_key INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            begun_at INTEGER,
            due_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX message_due ON message (due_at);

        CREATE TABLE phone_challenge (
            customer TEXT PRIMARY KEY REFERENCES customer (id),
            phone TEXT NOT NULL,
            salt BLOB NOT NULL,
            digest BLOB NOT NULL,
            code_key INTEGER NOT NULL,
            failures INTEGER NOT NULL CHECK (failures >= 0),
            expires_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """
}
