/// One line of `docs/claims.md`: what is promised, what this run measured.
struct Claim {
    enum Outcome: String { case holds, fails, info }

    let statement: String
    let measured: String
    var target = ""
    let outcome: Outcome

    init(_ statement: String, measured: String, target: String, holds: Bool) {
        self.statement = statement
        self.measured = measured
        self.target = target
        outcome = holds ? .holds : .fails
    }

    /// A figure without a promise.
    init(_ statement: String, measured: String) {
        self.statement = statement
        self.measured = measured
        outcome = .info
    }

    var line: String { "claim: \(statement) | \(measured) | \(target) | \(outcome.rawValue)" }
}
