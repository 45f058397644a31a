import PaymentPorts

extension Schema {
    /// `ECBK`.
    static let bank = Schema(
        applicationID: 0x4543_424B, steps: [bankVersion1, bankVersion2, uncollectedPayments], maker: "ecard bank init")

    /// Times are milliseconds since 1970 UTC, amounts signed minor units. `key_version`, `account`, `entry`, `posting` and
    /// `audit` are as in the issuer's ledger.
    ///
    /// - `account`: `merchant:mer_…:GHS` what is owed to a merchant, `issuer:GHS` what came from the issuer and went back to
    ///   it, `payout:GHS` what was paid out; those of test payments begin with `test:`.
    /// - `payment`: `sealed_code` from its arrival to the verdict alone. Its steps are its audit records, and nothing besides.
    /// - `activity`: what caps and patterns look at, by minute.
    /// - `message`, `webhook_event`: what is still to leave, and what was given up (`due_at` NULL with a `reason`). A message that
    ///   was begun has `due_at` NULL too.
    private static let bankVersion1 = """
        CREATE TABLE key_version (
            role TEXT NOT NULL,
            version INTEGER NOT NULL CHECK (version >= 1),
            made_at INTEGER NOT NULL,
            retired_at INTEGER,
            change INTEGER NOT NULL UNIQUE,
            PRIMARY KEY (role, version)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE merchant (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL UNIQUE,
            registration TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            verified_by TEXT,
            created_at INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE merchant_key (
            digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
            hint TEXT NOT NULL UNIQUE,
            merchant TEXT NOT NULL REFERENCES merchant (id),
            is_live INTEGER NOT NULL CHECK (is_live IN (0, 1)),
            created_at INTEGER NOT NULL,
            ended_at INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX key_of_merchant ON merchant_key (merchant);

        CREATE TABLE payment (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            merchant TEXT NOT NULL REFERENCES merchant (id),
            merchant_name TEXT NOT NULL,
            is_live INTEGER NOT NULL CHECK (is_live IN (0, 1)),
            amount INTEGER NOT NULL CHECK (amount > 0),
            currency TEXT NOT NULL,
            captures_later INTEGER NOT NULL CHECK (captures_later IN (0, 1)),
            reference TEXT,
            details TEXT,
            pan_masked TEXT NOT NULL,
            phone TEXT,
            card TEXT,
            email TEXT,
            language TEXT NOT NULL,
            profiles TEXT NOT NULL,
            phone_since INTEGER NOT NULL,
            state TEXT NOT NULL,
            reason TEXT NOT NULL,
            step INTEGER NOT NULL CHECK (step >= 1),
            prompt TEXT,
            prompt_channel TEXT,
            prompt_at INTEGER,
            attempts INTEGER NOT NULL CHECK (attempts >= 0),
            sealed_code BLOB,
            profile TEXT,
            captured INTEGER NOT NULL CHECK (captured BETWEEN 0 AND amount),
            refunded INTEGER NOT NULL CHECK (refunded BETWEEN 0 AND captured),
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            due_at INTEGER,
            updated_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX payment_of_merchant ON payment (merchant, is_live, number);
        CREATE INDEX payment_of_card ON payment (card, number) WHERE card IS NOT NULL;
        CREATE INDEX payment_pending ON payment (phone, number)
            WHERE phone IS NOT NULL AND state IN ('created', 'prompting', 'awaiting_holder');
        CREATE INDEX payment_receipt ON payment (phone, number) WHERE phone IS NOT NULL AND captured > 0;
        CREATE INDEX payment_due ON payment (due_at) WHERE due_at IS NOT NULL;
        CREATE INDEX payment_in_review ON payment (number) WHERE state = 'review';

        CREATE TABLE evidence (
            payment TEXT PRIMARY KEY REFERENCES payment (id),
            signed TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE remembered (
            merchant TEXT NOT NULL REFERENCES merchant (id),
            idempotency_key TEXT NOT NULL,
            digest BLOB NOT NULL,
            status INTEGER NOT NULL,
            body BLOB NOT NULL,
            at INTEGER NOT NULL,
            PRIMARY KEY (merchant, idempotency_key)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX remembered_by_age ON remembered (at);

        CREATE TABLE activity (
            scope TEXT NOT NULL,
            kind TEXT NOT NULL,
            minute INTEGER NOT NULL,
            count INTEGER NOT NULL CHECK (count >= 1),
            PRIMARY KEY (scope, kind, minute)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX activity_by_minute ON activity (minute);

        CREATE TABLE account (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            currency TEXT NOT NULL,
            balance INTEGER NOT NULL DEFAULT 0,
            created_at INTEGER NOT NULL
        ) STRICT;

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

        CREATE TABLE message (
            number INTEGER PRIMARY KEY,
            reference TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL,
            recipient TEXT NOT NULL,
            body TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            due_at INTEGER,
            reason TEXT NOT NULL DEFAULT ''
        ) STRICT;
        CREATE INDEX message_due ON message (due_at, number) WHERE due_at IS NOT NULL;

        CREATE TABLE webhook_endpoint (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            merchant TEXT NOT NULL REFERENCES merchant (id),
            is_live INTEGER NOT NULL CHECK (is_live IN (0, 1)),
            url TEXT NOT NULL,
            sealed_secret BLOB NOT NULL,
            created_at INTEGER NOT NULL,
            ended_at INTEGER
        ) STRICT;
        CREATE INDEX endpoint_of_merchant ON webhook_endpoint (merchant, is_live) WHERE ended_at IS NULL;

        CREATE TABLE webhook_event (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            endpoint TEXT NOT NULL REFERENCES webhook_endpoint (id),
            type TEXT NOT NULL,
            payment TEXT NOT NULL REFERENCES payment (id),
            state TEXT NOT NULL,
            step INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            at INTEGER NOT NULL,
            due_at INTEGER,
            reason TEXT NOT NULL DEFAULT ''
        ) STRICT;
        CREATE INDEX event_due ON webhook_event (due_at, number) WHERE due_at IS NOT NULL;
        CREATE INDEX event_of_endpoint ON webhook_event (endpoint);

        CREATE TABLE ussd_session (
            gateway TEXT NOT NULL,
            id TEXT NOT NULL,
            phone TEXT NOT NULL,
            position BLOB NOT NULL,
            turn INTEGER NOT NULL,
            last_input BLOB NOT NULL,
            last_answer BLOB NOT NULL,
            updated_at INTEGER NOT NULL,
            PRIMARY KEY (gateway, id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX session_by_age ON ussd_session (updated_at);

        CREATE TABLE audit (
            number INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL,
            seal BLOB NOT NULL
        ) STRICT;
        CREATE INDEX audit_of_subject ON audit (subject, number);
        """

    /// - `merchant.country`: ISO 3166-1 alpha-2.
    /// - `signing_key`: public keys of merchants, by their thumbprint; `point` is 04, x, y.
    /// - `merchant_request`: what merchants signed, by the digest of what was signed; `payment.request` is the one that made the
    ///   payment. `signed` is the bank's own record of one that the payment's record does not hold.
    private static let bankVersion2 = """
        ALTER TABLE merchant ADD COLUMN requires_signatures INTEGER NOT NULL DEFAULT 0
            CHECK (requires_signatures IN (0, 1));
        ALTER TABLE merchant ADD COLUMN country TEXT CHECK (country GLOB '[A-Z][A-Z]');
        ALTER TABLE payment ADD COLUMN request TEXT;

        CREATE TABLE signing_key (
            id TEXT PRIMARY KEY,
            merchant TEXT NOT NULL REFERENCES merchant (id),
            is_live INTEGER NOT NULL CHECK (is_live IN (0, 1)),
            point BLOB NOT NULL CHECK (length(point) = 65),
            created_at INTEGER NOT NULL,
            ended_at INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX signing_key_of_merchant ON signing_key (merchant);

        CREATE TABLE merchant_request (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            payment TEXT NOT NULL REFERENCES payment (id),
            request TEXT NOT NULL,
            signed TEXT,
            at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX request_of_payment ON merchant_request (payment, number);
        """

    /// What a holder may still cancel is found by the telephone.
    private static let uncollectedPayments = """
        CREATE INDEX payment_uncollected ON payment (phone, number)
            WHERE phone IS NOT NULL AND state IN ('checking', 'review', 'authorized');
        """
}
