import Foundation

/// What `ecard authorize --json` told, as far as it matters to whoever asked.
struct Receipt: Decodable, Equatable, Sendable {
    let approved: Bool
    let payment: String?
    let responseCode: String
    let message: String
    let amount: String
    let state: String?

    /// `nil` where the answer did not come out whole.
    init?(_ run: ToolRun) {
        guard let receipt = try? JSONDecoder().decode(Receipt.self, from: Data(run.out.utf8)) else { return nil }
        self = receipt
    }

    /// The same answer; a payment's state goes on.
    func isSameAnswer(as other: Receipt) -> Bool {
        (approved, payment, responseCode, message, amount)
            == (other.approved, other.payment, other.responseCode, other.message, other.amount)
    }
}

/// A card of the kill campaign, its number, code and expiry in files of the issuer's folder.
struct KillCard: Sendable {
    let id: String
    let expiry: String
    let folder: String

    var pan: String { "\(folder)/\(id).pan" }
    var code: String { "\(folder)/\(id).code" }
}

/// One thing asked of the issuer, and what the one who asked was told. What is told here was received; a process that
/// was killed may have decided more.
struct Order: Sendable {
    enum Kind: Sendable {
        case payment(wrongCode: Bool, later: Bool)
        case capture(of: String)
        case refund(of: String)
    }

    /// The idempotency key; of a capture a name for the journal alone.
    let key: String
    let kind: Kind
    let card: KillCard
    /// Minor units.
    let amount: Int64
    var merchant = "Kejetia Market"
    var told: Receipt?
    /// Whether the tool ended by itself and said that it was done.
    var isDone = false

    static func decimal(_ minorUnits: Int64) -> String {
        "\(minorUnits / 100).\(minorUnits % 100 < 10 ? "0" : "")\(minorUnits % 100)"
    }

    var words: [String] {
        switch kind {
        case .payment(_, let later):
            [
                "authorize", "--json", "--card-not-present", "--pan-fd", "3", "--code-fd", "4", "--expiry", card.expiry,
                "--amount", Self.decimal(amount), "--currency", "GHS", "--merchant", merchant,
                "--idempotency-key", key, "--capture", later ? "later" : "now",
            ]
        case .capture(let payment): ["payment", "capture", payment, "--amount", Self.decimal(amount), "--json"]
        case .refund(let payment):
            ["payment", "refund", payment, "--amount", Self.decimal(amount), "--json", "--idempotency-key", key]
        }
    }

    var input: [Int32: String] {
        switch kind {
        case .payment(let wrongCode, _): [3: card.pan, 4: wrongCode ? card.folder + "/wrong" : card.code]
        case .capture, .refund: [:]
        }
    }

    /// How far a killed process had come, as the ledger shows it.
    func moment(in ledger: LedgerAuditor.Report) -> KillTally.Moment {
        switch kind {
        case .payment:
            guard let row = ledger.payments.first(where: { $0.key == key }) else { return .beforeFirstCommit }
            return row.state == "attempted" ? .betweenCommits : .afterLastCommit
        case .capture(let payment):
            let row = ledger.payments.first { $0.id == payment }
            return row?.captured == amount ? .afterLastCommit : .beforeFirstCommit
        case .refund(let payment):
            let row = ledger.payments.first { $0.id == payment }
            return row?.refunded == amount ? .afterLastCommit : .beforeFirstCommit
        }
    }

    /// What the ledger should say and does not.
    func findings(in rows: [String: LedgerAuditor.Report.Payment], byID: [String: LedgerAuditor.Report.Payment])
        -> [String]
    {
        switch kind {
        case .payment: paymentFindings(rows[key])
        case .capture(let payment):
            byID[payment]?.captured == amount || !isDone
                ? [] : ["capture \(key) of \(payment) was told and is not there"]
        case .refund(let payment):
            byID[payment]?.refunded == amount || !isDone
                ? [] : ["refund \(key) of \(payment) was told and is not there"]
        }
    }

    private func paymentFindings(_ row: LedgerAuditor.Report.Payment?) -> [String] {
        guard let told else { return [] }
        guard let row else { return ["\(key): \(told.responseCode) was told, the ledger has no such payment"] }
        var findings: [String] = []
        if row.response != told.responseCode {
            findings.append("\(key): \(told.responseCode) was told, the ledger has \(row.response ?? "no decision")")
        }
        if row.id != told.payment || row.amount != amount { findings.append("\(key): another payment \(row.id)") }
        let isMoney = ["authorized", "captured", "refunded"].contains(row.state)
        if told.approved != isMoney { findings.append("\(key): approved \(told.approved), state \(row.state)") }
        return findings
    }
}

/// What was killed, and when.
struct KillTally: Sendable {
    enum Victim: String, Sendable, CaseIterable {
        case authorize, guess = "authorize, wrong code", chipPayment = "authorize with a chip"
        case capture = "payment capture", refund = "payment refund", rotate = "code rotate", chip = "card insert", pcscd
    }
    enum Moment: String, Sendable, CaseIterable {
        case beforeFirstCommit = "before the first commit", betweenCommits = "between the commits"
        case afterLastCommit = "after the last commit"
    }

    private var kills: [Victim: [Moment: Int]] = [:]
    var requests = 0
    var approvalsReceived = 0
    var resent = 0
    var mismatches = 0
    var findings: [String] = []

    mutating func count(_ victim: Victim, _ moment: Moment) { kills[victim, default: [:]][moment, default: 0] += 1 }

    mutating func add(_ other: KillTally) {
        for (victim, moments) in other.kills {
            for (moment, count) in moments { kills[victim, default: [:]][moment, default: 0] += count }
        }
        requests += other.requests
        approvalsReceived += other.approvalsReceived
        resent += other.resent
        mismatches += other.mismatches
        findings += other.findings
    }

    var total: Int { kills.values.reduce(0) { $0 + $1.values.reduce(0, +) } }

    func kills(at moment: Moment) -> Int { kills.values.reduce(0) { $0 + ($1[moment] ?? 0) } }

    var lines: [String] {
        Victim.allCases.compactMap { victim in
            kills[victim].map { moments in
                "\(victim.rawValue): "
                    + Moment.allCases.map { "\(moments[$0] ?? 0) \($0.rawValue)" }.joined(separator: ", ")
            }
        }
    }
}
