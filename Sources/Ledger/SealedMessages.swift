import GRDB
public import PaymentPorts

extension LedgerDatabase: SealedMessageStore {
    public func sealedMessagesDue(
        at time: Timestamp, limit: Int, by channel: MessageChannel?
    ) async throws -> [(message: SealedMessage, attempts: Int)] {
        let expired = try await lookUp { db in
            try db.first("SELECT 1 FROM message WHERE expires_at <= ?", [time.milliseconds], as: { _ in true })
        }
        if expired != nil {
            try await write { try $0.run("DELETE FROM message WHERE expires_at <= ?", [time.milliseconds]) }
        }
        return try await lookUp { db in
            try db.all(
                """
                SELECT reference, kind, recipient, language, sealed, delivery_key, expires_at, attempts FROM message
                WHERE due_at <= ? AND begun_at IS NULL AND \(channel.condition) ORDER BY due_at, number LIMIT ?
                """, [time.milliseconds, max(0, limit)]
            ) { row in
                (
                    SealedMessage(
                        reference: try row.next(), kind: try row.state(), recipient: try row.next(),
                        language: try row.next(),
                        text: SealedText(sealed: try row.bytes(), keyVersion: try row.next()),
                        expiresAt: try row.time()), try row.next()
                )
            }
        }
    }

    public func messagesWaiting() async throws -> [MessageChannel: Int] {
        try await read { try $0.messagesByChannel("begun_at IS NULL") }
    }

    public func messageBegun(_ reference: String, at time: Timestamp) async throws {
        try await write { change in
            try change.run(
                "UPDATE message SET begun_at = ? WHERE reference = ? AND begun_at IS NULL",
                [time.milliseconds, reference])
            guard change.db.changesCount > 0 else {
                throw StoreError(
                    .conflict, "message \(reference)", advice: "It was handed over before, or its time is over")
            }
        }
    }

    public func messagesSent(_ references: [String], at time: Timestamp) async throws {
        try await write { change in
            for reference in references { try change.run("DELETE FROM message WHERE reference = ?", [reference]) }
        }
    }

    public func messageFailed(
        _ reference: String, reason: String, retryAt: Timestamp?, at time: Timestamp
    ) async throws {
        try await write { change in
            guard let retryAt else { return try change.run("DELETE FROM message WHERE reference = ?", [reference]) }
            try change.run(
                "UPDATE message SET attempts = attempts + 1, begun_at = NULL, due_at = ? WHERE reference = ?",
                [retryAt.milliseconds, reference])
        }
    }
}

extension Change {
    /// In the commit of what the message tells. Its key is one that the caller found to be in use.
    func insert(_ message: SealedMessage, at time: Timestamp) throws {
        try requireText(message.reference, message.recipient, message.language)
        try run(
            """
            INSERT INTO message (reference, kind, recipient, language, sealed, delivery_key, expires_at, due_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                message.reference, message.kind.rawValue, message.recipient, message.language, message.text.sealed,
                message.text.keyVersion, message.expiresAt.milliseconds, time.milliseconds,
            ])
    }
}
