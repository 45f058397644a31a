import GRDB
public import PaymentPorts

extension LedgerDatabase: CodeStore {
    public func code(of card: CardID) async throws -> CodeRecord? {
        try await read { try CodeTable.newest(of: card, $0) }
    }

    public func add(_ code: CodeRecord, mailer: Mailer?) async throws {
        try await write { change in
            guard try CardTable.find(code.card, change.db) != nil else {
                throw StoreError(.notFound, "card \(code.card)", advice: "See 'ecard card list'")
            }
            let previous = try CodeTable.newest(of: code.card, change.db)
            let wanted = try Int(sum(Int64(previous?.version ?? 0), 1, of: "the code's version"))
            guard code.version == wanted else {
                throw StoreError(
                    .conflict, "code version \(code.version) of card \(code.card)",
                    advice: "The next version is \(wanted); another code was issued in between")
            }
            try change.require(code.keyVersion, of: .code)
            if let previous { try change.update(.replaced, of: previous, at: code.issuedAt) }
            try change.insert(code)
            if let mailer { try change.insert(mailer, for: code) }
            try change.audit(
                .codeIssued, code.card.rawValue,
                CodeTable.facts(code).and(change.seal(.code, [code.card.rawValue, code.version]))
                    .and(mailer.map { ["mailer": .text($0.id.rawValue)] } ?? [:])
                    .and(["code_key": .number(Int64(code.keyVersion))]), at: code.issuedAt)
        }
    }

    public func setState(
        _ new: CodeRecord.State, of card: CardID, from states: Set<CodeRecord.State>, at time: Timestamp
    ) async throws {
        try await write { change in
            guard let code = try CodeTable.newest(of: card, change.db) else {
                throw StoreError(.notFound, "code of card \(card)", advice: "Issue one with 'ecard code issue'")
            }
            guard states.contains(code.state) else {
                throw StoreError(
                    .conflict, "the code of card \(card) is \(code.state.rawValue)",
                    advice: "It must be \(states.map(\.rawValue).sorted().joined(separator: " or "))")
            }
            try change.set(new, of: code, at: time)
        }
    }
}

extension Change {
    /// Moves a code to another state and says so in the chain.
    func set(_ state: CodeRecord.State, of code: CodeRecord, at time: Timestamp) throws {
        var changed = code
        changed.state = state
        if state == .active { changed.failures = 0 }
        try update(state, of: changed, at: time)
        try audit(CodeTable.kind(of: state), code.card.rawValue, CodeTable.facts(changed), at: time)
    }

    fileprivate func update(_ state: CodeRecord.State, of code: CodeRecord, at time: Timestamp) throws {
        try run(
            "UPDATE code SET state = ?, failures = ? WHERE card = ? AND version = ?",
            [state.rawValue, code.failures, code.card.rawValue, code.version])
        if state == .replaced || state == .revoked { try withdrawMailer(of: code, at: time) }
    }

    fileprivate func insert(_ code: CodeRecord) throws {
        try run(
            "INSERT INTO code (\(CodeTable.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                code.card.rawValue, code.version, code.salt, code.digest, code.digits, code.state.rawValue,
                code.failures, code.failureLimit, code.expiresAt?.milliseconds, code.issuedAt.milliseconds,
                code.keyVersion,
            ])
    }
}

enum CodeTable {
    static let columns = """
        card, version, salt, digest, digits, state, failures, failure_limit, expires_at, issued_at, code_key
        """
    static let width = 11

    static func code(_ row: inout RowReader) throws -> CodeRecord {
        CodeRecord(
            card: try row.identifier(), version: try row.next(), salt: try row.bytes(), digest: try row.bytes(),
            digits: try row.next(), state: try row.state(), failures: try row.next(), failureLimit: try row.next(),
            expiresAt: try row.optionalTime(), issuedAt: try row.time(), keyVersion: try row.next())
    }

    static func newest(of card: CardID, _ db: Database) throws -> CodeRecord? {
        try db.first(
            "SELECT \(columns) FROM code WHERE card = ? ORDER BY version DESC LIMIT 1", [card.rawValue], as: code)
    }

    static func facts(_ code: CodeRecord) -> Facts {
        [
            "failures": .number(Int64(code.failures)), "state": .text(code.state.rawValue),
            "version": .number(Int64(code.version)),
        ]
    }

    /// The same in a payment's record.
    static func told(_ code: CodeRecord?) -> Facts {
        guard let code else { return [:] }
        return [
            "code_failures": .number(Int64(code.failures)), "code_state": .text(code.state.rawValue),
            "code_version": .number(Int64(code.version)),
        ]
    }

    static func kind(of state: CodeRecord.State) -> AuditKind {
        switch state {
        case .active: .codeUnlocked
        case .locked: .codeLocked
        case .revoked: .codeRevoked
        case .replaced: .codeReplaced
        }
    }
}
