import ByteCoding
import GRDB
import PaymentPorts

/// Counting attempts with a code: per code until it locks, and per hour for the caps.
///
/// A code with failure limit *n* lets exactly *n* wrong guesses be checked since the last right one:
/// - ``Change/countAttempt(on:of:)`` raises the failures before the code is checked, and never beyond *n*. It shows the
///   rules an active code only if this attempt is one of the *n*.
/// - A wrong guess is known at the decision: the *n*th locks the code there (``Change/settleCode(of:wasRight:at:)``).
/// - Attempts lost in a crash stay counted. When *n* are counted and none was decided, the next attempt finds no guess
///   left and locks the code before it is checked.
/// - A right code takes an active code's failures back to zero. It does not unlock a code that another attempt locked
///   in between.
extension Change {
    /// Counts one attempt on the newest code.
    /// - Returns: the code as the rules shall see it: the state before this attempt and the failures with it.
    func countAttempt(on code: CodeRecord, at time: Timestamp) throws -> CodeRecord {
        guard code.state == .active else { return code }
        var counted = code
        guard code.failures < code.failureLimit else {
            try set(.locked, of: code, at: time)
            counted.state = .locked
            return counted
        }
        counted.failures += 1
        try run(
            "UPDATE code SET failures = ? WHERE card = ? AND version = ?",
            [counted.failures, code.card.rawValue, code.version])
        return counted
    }

    /// After the decision: a right code is forgiven its failures, a wrong one locks at its limit.
    func settleCode(of row: PaymentRow, wasRight: Bool, at time: Timestamp) throws {
        guard let scope = row.failureScope else { return }
        if wasRight {
            try run(
                """
                UPDATE code_failure SET attempts = attempts - 1
                WHERE scope IN (?, ?, 'all') AND minute = ? AND attempts > 0
                """, [scope, FailureWindow.merchant(row.payment.merchant), FailureWindow.minute(row.attemptedAt)])
        }
        guard let card = row.payment.card, let version = row.codeVersion else { return }
        if wasRight {
            try run(
                "UPDATE code SET failures = 0 WHERE card = ? AND version = ? AND state = 'active'",
                [card.rawValue, version])
        } else if let code = try CodeTable.find(of: card, version: version, db), code.state == .active,
            code.failures >= code.failureLimit
        {
            try set(.locked, of: code, at: time)
        }
    }

    /// Adds an attempt to the minute's counts of card, merchant and everywhere.
    func countFailure(_ card: String, _ merchant: String, at time: Timestamp) throws {
        try run(
            """
            INSERT INTO code_failure (scope, minute, attempts) VALUES (?1, ?3, 1), (?2, ?3, 1), ('all', ?3, 1)
            ON CONFLICT (scope, minute) DO UPDATE SET attempts = attempts + 1
            """, [card, FailureWindow.merchant(merchant), FailureWindow.minute(time)])
    }
}

/// The last hour's attempts with a code that did not turn out right, counted by the minute for a card, for a merchant
/// and everywhere (scope `all`).
enum FailureWindow {
    static func card(_ panIndex: [UInt8]) -> String { "card:" + panIndex.hex }

    static func merchant(_ name: String) -> String { "merchant:" + name }

    static func minute(_ time: Timestamp) -> Int64 {
        let minute = time.milliseconds / 60_000
        return time.milliseconds % 60_000 < 0 ? minute - 1 : minute
    }

    /// 60 to 61 minutes: from the start of the minute an hour ago.
    static func attempts(
        _ card: String, _ merchant: String, until time: Timestamp, _ db: Database
    ) throws -> (card: Int, merchant: Int, everywhere: Int) {
        let last = minute(time)
        func sum(_ scope: String) -> String {
            "(SELECT ifnull(sum(attempts), 0) FROM code_failure WHERE scope = \(scope) AND minute BETWEEN ?3 AND ?4)"
        }
        var row = try db.first(
            "SELECT \(sum("?1")), \(sum("?2")), \(sum("'all'"))", [card, self.merchant(merchant), last - 60, last])
        return (try row?.next() ?? 0, try row?.next() ?? 0, try row?.next() ?? 0)
    }
}
