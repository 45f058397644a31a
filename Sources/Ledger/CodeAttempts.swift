import ByteCoding
import GRDB
import PaymentPorts

/// Counting attempts with a code: per code until it locks, and per hour for the caps.
///
/// A code with failure limit *n* lets exactly *n* wrong guesses be checked since the last right one:
/// - ``Change/countAttempt(on:_:)`` raises the failures before the code is checked, and never beyond *n*. It shows the
///   rules an active code only if this attempt is one of the *n*.
/// - While any of the *n* is on its way, one more is neither checked nor counted, and locks nothing: they may turn out
///   right.
/// - A wrong guess is known at the decision: the last of *n* locks the code there
///   (``Change/settleCode(of:after:wasRight:)``).
/// - Attempts lost in a crash stay counted. When *n* are counted and none is on its way any more, the next attempt finds
///   no guess left and locks the code before it is checked.
/// - A right code takes an active code's failures back to zero. It does not unlock a code that another attempt locked
///   in between.
///
/// What became of the code stands in the payment's own audit record, so a guess that locks costs no seal more than one
/// that does not.
extension Change {
    /// Counts one attempt on a card's newest code, if it `counts` and the code is active.
    /// - Returns: the code as it is now.
    func countAttempt(on code: CodeRecord?, _ counts: Bool) throws -> CodeRecord? {
        var counted = code
        if let code, counts, code.state == .active {
            if code.failures < code.failureLimit { counted?.failures += 1 } else { counted?.state = .locked }
        }
        try write(counted)
        return counted
    }

    /// After the decision: a right code is forgiven its failures, a wrong one locks at its limit.
    func settleCode(of standing: CardStanding, after row: PaymentRow, wasRight: Bool) throws -> CodeRecord? {
        if wasRight, let scopes = row.failureScopes { try takeBack(scopes, at: row.attemptedAt) }
        var settled = standing.code
        if let code = standing.code, code.version == row.codeVersion, code.state == .active {
            if wasRight {
                settled?.failures = 0
            } else if code.failures >= code.failureLimit, standing.undecidedAt == nil {
                settled?.state = .locked
            }
        }
        try write(settled)
        return settled
    }

    /// A right code is hashed anew in the commit of its decision: the only time at which it is there to be hashed.
    /// - Returns: what the record of the decision tells of it.
    func rehash(
        _ code: CodeRecord?, of row: PaymentRow, as rehashed: PaymentDecision.RehashedCode?
    ) throws -> Facts {
        guard let code, let rehashed, code.version == row.codeVersion, code.state == .active,
            rehashed.keyVersion > code.keyVersion, try KeyVersionTable.all(db).isLive(.code, rehashed.keyVersion)
        else { return [:] }
        try run(
            "UPDATE code SET digest = ?, code_key = ? WHERE card = ? AND version = ?",
            [rehashed.digest, rehashed.keyVersion, code.card.rawValue, code.version])
        return try seal(.code, [code.card.rawValue, code.version], as: "code_row")
            .and(["code_key": .number(Int64(rehashed.keyVersion))])
    }

    /// Writes what attempts change of a code; where there is none, the row `nobody` in its place.
    private func write(_ code: CodeRecord?) throws {
        guard let code else { return try run("UPDATE nobody SET attempts = attempts + 1") }
        try run(
            "UPDATE code SET state = ?, failures = ? WHERE card = ? AND version = ?",
            [code.state.rawValue, code.failures, code.card.rawValue, code.version])
    }

    /// Adds to the minute's counts of every scope.
    func add(_ attempts: Int, to scopes: FailureScopes, at time: Timestamp) throws {
        try run(
            """
            INSERT INTO code_failure (scope, minute, attempts) VALUES (?1, ?4, ?5), (?2, ?4, ?5), (?3, ?4, ?5), ('all', ?4, ?5)
            ON CONFLICT (scope, minute) DO UPDATE SET attempts = attempts + ?5
            """, [scopes.card, scopes.customer, scopes.merchant, FailureScopes.minute(time), attempts])
    }

    /// Takes an attempt back that turned out right. A card's and a customer's counts go when nothing is left of them: the
    /// table holds what failed, not everybody who paid.
    private func takeBack(_ scopes: FailureScopes, at time: Timestamp) throws {
        let minute = FailureScopes.minute(time)
        // One scope at a time: for a list of them SQLite makes a table at every call.
        for scope in [scopes.card, scopes.customer] {
            try run("DELETE FROM code_failure WHERE scope = ? AND minute = ? AND attempts <= 1", [scope, minute])
            if db.changesCount == 0 { try takeOne(from: scope, minute) }
        }
        try takeOne(from: scopes.merchant, minute)
        try takeOne(from: "all", minute)
    }

    private func takeOne(from scope: String, _ minute: Int64) throws {
        try run(
            "UPDATE code_failure SET attempts = attempts - 1 WHERE scope = ? AND minute = ? AND attempts > 0",
            [scope, minute])
    }

    /// Deletes some of the counts that no cap looks at any more.
    func forgetFailures(before time: Timestamp, limit: Int) throws {
        try run(
            """
            DELETE FROM code_failure WHERE (scope, minute) IN
                (SELECT scope, minute FROM code_failure WHERE minute < ? ORDER BY minute LIMIT ?)
            """, [FailureScopes.earliestMinute(at: time), limit])
    }
}

/// Under what the last hour's attempts are counted that did not turn out right, by the minute: a card, its customer, a
/// merchant, and everywhere (scope `all`).
struct FailureScopes {
    let card: String
    /// A PAN that is not ours stands for a customer of its own.
    let customer: String
    let merchant: String

    init(_ attempt: PaymentAttempt, _ card: CardID?, of customer: CustomerID?) {
        // A card's own identifier, which no rotation of the index key changes.
        self.card = "card:" + (card?.rawValue ?? attempt.panIndex.hex)
        self.customer = "customer:" + (customer?.rawValue ?? attempt.panIndex.hex)
        merchant = Self.scope(merchant: attempt.merchant)
    }

    init(card: String, customer: String, merchant: String) {
        self.card = card
        self.customer = customer
        self.merchant = Self.scope(merchant: merchant)
    }

    private static func scope(merchant: String) -> String { "merchant:" + merchant }

    static func minute(_ time: Timestamp) -> Int64 {
        let minute = time.milliseconds / 60_000
        return time.milliseconds % 60_000 < 0 ? minute - 1 : minute
    }

    /// 60 minutes count besides the one that runs: 60 to 61, from the start of the minute an hour ago.
    static func earliestMinute(at time: Timestamp) -> Int64 { minute(time) - 60 }

    private static let counting =
        "SELECT "
        + ["?1", "?2", "?3", "'all'"].map { scope in
            "(SELECT ifnull(sum(attempts), 0) FROM code_failure WHERE scope = \(scope) AND minute BETWEEN ?4 AND ?5)"
        }.joined(separator: ", ")

    func counts(until time: Timestamp, _ db: Database) throws -> FailureCounts {
        let (first, last) = (Self.earliestMinute(at: time), Self.minute(time))
        return try db.first(Self.counting, [card, customer, merchant, first, last]) { row in
            FailureCounts(
                card: try row.next(), customer: try row.next(), merchant: try row.next(), everywhere: try row.next())
        } ?? FailureCounts(card: 0, customer: 0, merchant: 0, everywhere: 0)
    }
}
