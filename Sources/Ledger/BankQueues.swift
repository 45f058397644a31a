import GRDB
public import PaymentPorts

extension BankDatabase: MessageQueueStore {
    public func messagesDue(
        at time: Timestamp, limit: Int, by channel: MessageChannel?
    ) async throws -> [QueuedMessage] {
        try await lookUp { db in
            try db.all(
                """
                SELECT kind, recipient, body, reference, attempts FROM message WHERE due_at <= ?
                AND \(channel.condition) ORDER BY due_at, number LIMIT ?
                """, [time.milliseconds, max(0, limit)]
            ) { row in
                QueuedMessage(
                    message: OutgoingMessage(
                        kind: try row.state(), recipient: try row.next(), body: try row.next(),
                        reference: try row.next()),
                    attempts: try row.next())
            }
        }
    }

    public func messagesWaiting() async throws -> [MessageChannel: Int] {
        try await read { try $0.messagesByChannel("due_at IS NOT NULL") }
    }

    public func messageBegun(_ reference: String, at time: Timestamp) async throws {
        try await write { change in
            try change.run(
                "UPDATE message SET due_at = NULL, reason = 'begun' WHERE reference = ? AND due_at IS NOT NULL",
                [reference])
            guard change.db.changesCount > 0 else {
                throw StoreError(
                    .conflict, "message '\(reference)'", advice: "It is gone, given up or begun already; leave it")
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
            try requireText(reason)
            try change.run(
                """
                UPDATE message SET attempts = attempts + 1, reason = ?2, due_at = ?3, body = iif(?3 IS NULL, '', body)
                WHERE reference = ?1
                """, [reference, reason, retryAt?.milliseconds])
        }
    }
}

extension MessageChannel? {
    /// What holds of the rows of `message` that go this way.
    var condition: String {
        switch self {
        case .sms: "instr(recipient, '@') = 0 AND kind <> 'prompt'"
        case .mail: "instr(recipient, '@') > 0"
        case .ussd: "kind = 'prompt'"
        case nil: "TRUE"
        }
    }
}

extension Database {
    /// How many rows of `message` that `condition` holds for go which way.
    func messagesByChannel(_ condition: String) throws -> [MessageChannel: Int] {
        let counts: [(MessageChannel, Int)] = try all(
            """
            SELECT iif(kind = 'prompt', 'ussd', iif(instr(recipient, '@') > 0, 'mail', 'sms')), count(*)
            FROM message WHERE \(condition) GROUP BY 1
            """, []
        ) { row in (try row.state(), try row.next()) }
        return Dictionary(uniqueKeysWithValues: counts)
    }
}

extension Change {
    /// Puts a message into the queue, or does as much for nothing where it leads to nobody.
    func queue(_ message: OutgoingMessage, leaves: Bool, at time: Timestamp) throws {
        try requireText(message.recipient, message.body, message.reference)
        try run(
            "INSERT INTO message (reference, kind, recipient, body, due_at) SELECT ?1, ?2, ?3, ?4, ?5 WHERE ?6",
            [
                message.reference, message.kind.rawValue, message.recipient, message.body, time.milliseconds,
                leaves && !message.recipient.isEmpty,
            ])
    }
}

extension BankDatabase {
    public func hasten(_ reference: String, to time: Timestamp) async throws {
        try await write {
            try $0.run(
                "UPDATE message SET due_at = ?2 WHERE reference = ?1 AND due_at > ?2", [reference, time.milliseconds])
        }
        bell.ring()
    }
}

extension Change {
    /// Destroys a message that nobody has begun to hand over.
    func withdraw(_ reference: String) throws {
        try run("DELETE FROM message WHERE reference = ? AND due_at IS NOT NULL", [reference])
    }
}

extension BankDatabase: WebhookStore {
    public func add(_ endpoint: WebhookEndpoint) async throws {
        try await write { change in
            try requireText(endpoint.id.rawValue, endpoint.url)
            _ = try MerchantTable.get(endpoint.merchant, change.db)
            try change.run(
                "INSERT INTO webhook_endpoint (\(WebhookTable.columns)) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    endpoint.id.rawValue, endpoint.merchant.rawValue, endpoint.isLive, endpoint.url,
                    endpoint.sealedSecret, endpoint.createdAt.milliseconds,
                ])
            try change.audit(
                .webhookAdded, endpoint.id.rawValue,
                change.seal(.webhookEndpoint, [endpoint.id.rawValue])
                    .and(["merchant": .text(endpoint.merchant.rawValue)]),
                at: endpoint.createdAt)
        }
    }

    public func endpoints(of merchant: MerchantID) async throws -> [WebhookEndpoint] {
        try await read { db in
            try db.all(
                """
                SELECT \(WebhookTable.columns) FROM webhook_endpoint WHERE merchant = ? AND ended_at IS NULL
                ORDER BY number
                """, [merchant.rawValue], as: WebhookTable.endpoint)
        }
    }

    public func remove(_ endpoint: WebhookEndpointID, of merchant: MerchantID, at time: Timestamp) async throws {
        try await write { change in
            try change.run(
                "UPDATE webhook_endpoint SET ended_at = ? WHERE id = ? AND merchant = ? AND ended_at IS NULL",
                [time.milliseconds, endpoint.rawValue, merchant.rawValue])
            guard change.db.changesCount > 0 else {
                throw StoreError(
                    .notFound, "webhook endpoint \(endpoint) of \(merchant)", advice: "See 'ecard webhook list'")
            }
            try change.run("DELETE FROM webhook_event WHERE endpoint = ?", [endpoint.rawValue])
            try change.audit(
                .webhookRemoved, endpoint.rawValue, ["merchant": .text(merchant.rawValue)], at: time)
        }
    }

    public func eventsDue(at time: Timestamp, limit: Int) async throws -> [WebhookEvent] {
        try await lookUp { db in
            try db.all(
                """
                SELECT \(WebhookTable.eventColumns) FROM \(WebhookTable.eventsWithEndpoints)
                WHERE event.due_at <= ? ORDER BY event.due_at, event.number LIMIT ?
                """, [time.milliseconds, max(0, limit)], as: WebhookTable.event)
        }
    }

    public func eventsDelivered(_ events: [WebhookEventID], at time: Timestamp) async throws {
        try await write { change in
            for event in events { try change.run("DELETE FROM webhook_event WHERE id = ?", [event.rawValue]) }
        }
    }

    public func eventFailed(
        _ event: WebhookEventID, reason: String, retryAt: Timestamp?, at time: Timestamp
    ) async throws {
        try await write { change in
            try requireText(reason)
            try change.run(
                "UPDATE webhook_event SET attempts = attempts + 1, reason = ?, due_at = ? WHERE id = ?",
                [reason, retryAt?.milliseconds, event.rawValue])
        }
    }

    public func undelivered(of merchant: MerchantID, limit: Int) async throws -> [UndeliveredEvent] {
        try await read { db in
            try db.all(
                """
                SELECT \(WebhookTable.eventColumns), event.due_at, event.reason FROM \(WebhookTable.eventsWithEndpoints)
                WHERE endpoint.merchant = ? ORDER BY event.number LIMIT ?
                """, [merchant.rawValue, max(0, limit)]
            ) { row in
                UndeliveredEvent(
                    event: try WebhookTable.event(&row), dueAt: try row.optionalTime(), reason: try row.next())
            }
        }
    }

    public func resend(
        _ events: [WebhookEventID]?, of merchant: MerchantID, at time: Timestamp
    ) async throws -> [WebhookEventID] {
        try await write { change in
            let waiting = try change.db.all(
                """
                SELECT event.id, event.due_at IS NULL FROM \(WebhookTable.eventsWithEndpoints)
                WHERE endpoint.merchant = ? ORDER BY event.number
                """, [merchant.rawValue]
            ) { (id: try $0.identifier() as WebhookEventID, isGivenUp: try $0.next(Bool.self)) }
            let all = Set(waiting.map(\.id))
            for event in events ?? [] where !all.contains(event) {
                throw StoreError(
                    .notFound, "webhook event \(event) of \(merchant)",
                    advice: "It has arrived, or never was: see 'ecard webhook events \(merchant)'")
            }
            let chosen = events.map(Set.init) ?? Set(waiting.filter(\.isGivenUp).map(\.id))
            for event in chosen {
                try change.run(
                    "UPDATE webhook_event SET attempts = 0, due_at = ? WHERE id = ?",
                    [time.milliseconds, event.rawValue])
            }
            return waiting.map(\.id).filter(chosen.contains)
        }
    }
}

enum WebhookTable {
    static let columns = "id, merchant, is_live, url, sealed_secret, created_at"

    static func endpoint(_ row: inout RowReader) throws -> WebhookEndpoint {
        WebhookEndpoint(
            id: try row.identifier(), merchant: try row.identifier(), isLive: try row.next(), url: try row.next(),
            sealedSecret: try row.bytes(), createdAt: try row.time())
    }

    static let eventsWithEndpoints =
        "webhook_event AS event JOIN webhook_endpoint AS endpoint ON endpoint.id = event.endpoint"
    static let eventColumns =
        "event.id, \(qualified(columns, by: "endpoint")), event.type, event.payment, event.state, event.step, "
        + "event.attempts, event.at"

    static func event(_ row: inout RowReader) throws -> WebhookEvent {
        WebhookEvent(
            id: try row.identifier(), endpoint: try endpoint(&row), type: try row.next(),
            payment: try row.identifier(), state: try row.state(), step: try row.next(), attempts: try row.next(),
            at: try row.time())
    }
}

extension Change {
    /// An event for each endpoint of the payment's merchant and mode.
    func tell(_ what: OnlinePayment.State, of payment: OnlinePayment, at time: Timestamp) throws {
        let endpoints = try db.all(
            "SELECT id FROM webhook_endpoint WHERE merchant = ? AND is_live = ? AND ended_at IS NULL",
            [payment.merchant.rawValue, payment.isLive]
        ) { try $0.next(String.self) }
        for endpoint in endpoints {
            try run(
                """
                INSERT INTO webhook_event (id, endpoint, type, payment, state, step, at, due_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
                """,
                [
                    WebhookEventID.inOrder(at: time).rawValue, endpoint, "payment.\(what.rawValue)",
                    payment.id.rawValue, payment.state.rawValue, payment.step, time.milliseconds,
                ])
        }
    }
}

extension BankDatabase: GivenUpStore {
    public func messagesGivenUp(since time: Timestamp) async throws -> Int {
        try await read { db in
            // A message has no time of its own; its reference begins with its payment. One that was begun may be on its way.
            try db.first(
                """
                SELECT count(*) FROM message
                JOIN payment ON payment.id = substr(message.reference, 1, instr(message.reference, '.') - 1)
                WHERE message.due_at IS NULL AND message.reason NOT IN ('', 'begun') AND payment.updated_at >= ?
                """, [time.milliseconds]
            ) { try $0.next(Int.self) } ?? 0
        }
    }

    public func eventsGivenUp(since time: Timestamp) async throws -> Int {
        try await read { db in
            try db.first(
                "SELECT count(*) FROM webhook_event WHERE due_at IS NULL AND reason <> '' AND at >= ?",
                [time.milliseconds]
            ) { try $0.next(Int.self) } ?? 0
        }
    }
}

extension BankDatabase: USSDSessionStore {
    public func session(gateway: String, id: String) async throws -> USSDSession? {
        try await lookUp { db in
            try db.first(
                """
                SELECT phone, position, turn, last_input, last_answer, updated_at FROM ussd_session
                WHERE gateway = ? AND id = ?
                """, [gateway, id]
            ) { row in
                USSDSession(
                    gateway: gateway, id: id, phone: try row.next(), position: try row.bytes(), turn: try row.next(),
                    lastInput: try row.bytes(), lastAnswer: try row.bytes(), updatedAt: try row.time())
            }
        }
    }

    public func save(_ session: USSDSession, afterTurn turn: Int) async throws {
        try await write { try $0.save(USSDTurn(session, after: turn)) }
    }

    public func endSessions(before time: Timestamp) async throws {
        try await write {
            try $0.run("DELETE FROM ussd_session WHERE updated_at < ?", [time.milliseconds])
        }
    }
}

extension Change {
    /// Writes a dialogue's turn.
    /// - Throws: ``StoreError`` `.conflict` when somebody else took it.
    func save(_ turn: USSDTurn) throws {
        let session = turn.session
        try requireText(session.gateway, session.id, session.phone)
        try run(
            """
            INSERT INTO ussd_session (gateway, id, phone, position, turn, last_input, last_answer, updated_at)
            SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
            WHERE ?9 = 0 OR EXISTS (SELECT 1 FROM ussd_session WHERE gateway = ?1 AND id = ?2)
            ON CONFLICT (gateway, id) DO UPDATE SET position = ?4, turn = ?5, last_input = ?6, last_answer = ?7,
                updated_at = ?8 WHERE turn = ?9 AND phone = ?3
            """,
            [
                session.gateway, session.id, session.phone, session.position, session.turn, session.lastInput,
                session.lastAnswer, session.updatedAt.milliseconds, turn.after,
            ])
        guard db.changesCount > 0 else {
            throw StoreError(
                .conflict, "turn \(turn.after) of the dialogue \(session.gateway) \(session.id)",
                advice: "Another input took it; read the dialogue again")
        }
    }
}
