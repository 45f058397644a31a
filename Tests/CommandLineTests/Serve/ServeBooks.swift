import ECardTesting
import Foundation

/// What `tools/bank-audit` and `tools/ledger-audit`, which share no code with the tool, find in the books of a bank and its issuer
/// together with what was told to others.
struct ServeBooks {
    struct Report: Decodable {
        let findings: [String]
        /// Payments whose timer runs.
        let open: [String]
        let payments: [ServedOrder.Row]
        /// By payment, how often the merchant is told of each type.
        let owed: [String: [String: Int]]
        /// Webhooks that wait.
        let unsent: Int
    }

    private let bank: LineChild
    let issuer: LedgerAuditor

    init() throws {
        bank = try LineChild("/usr/bin/env", ["python3", Shell.package + "/tools/bank-audit", "--lines"])
        issuer = try LedgerAuditor()
    }

    func report(_ bankBooks: String, _ ledger: String) throws -> Report {
        try bank.send(Data("\(bankBooks)\t\(ledger)".utf8))
        guard let line = bank.line() else { throw Shell.Failure("tools/bank-audit ended: see its message above") }
        return try JSONDecoder().decode(Report.self, from: Data(line.utf8))
    }

    /// Everything that is wrong with books that are settled.
    func findings(
        _ bankBooks: String, _ ledger: String, _ orders: [ServedOrder], _ webhooks: WebhookLog
    ) throws -> [String] {
        let report = try report(bankBooks, ledger)
        let ledgerReport = try issuer.report(on: ledger)
        var findings = report.findings + ledgerReport.findings
        let rows = Dictionary(grouping: report.payments) { $0.reference ?? "" }
        findings += orders.flatMap { $0.findings(in: rows) }
        findings += webhooks.findings(owed: report.owed)
        // A right code takes the failures of its card back; the card that is only guessed at keeps them all.
        for (card, mine) in Dictionary(grouping: orders.filter { $0.plan == .guess }, by: \.card.id) {
            let told = mine.reduce(0) { $0 + $1.wrongCodes }
            let counted = ledgerReport.codes.first { $0.card == card }?.failures ?? 0
            if told > counted { findings.append("card \(card): \(told) wrong codes were told, \(counted) are counted") }
        }
        return findings
    }
}

/// The webhooks that a merchant got, from what came over its connections.
struct WebhookLog: Sendable {
    struct Event: Hashable, Sendable {
        let id: String
        let type: String
        let payment: String
    }

    /// How often each came.
    var events: [Event: Int] = [:]

    init() {}

    init(_ connections: [[UInt8]]) {
        for bytes in connections {
            let text = String(decoding: bytes, as: UTF8.self)
            // One request a connection: the server of the test ends it with its answer. Broken off, it was not received.
            let parts = text.components(separatedBy: "\r\n\r\n")
            guard ScriptedServer.isWholeRequest(bytes), parts.count > 1,
                let id = parts[0].firstMatch(of: /(?i)webhook-id: *(\S+)/)?.output.1,
                let body = try? JSONDecoder().decode(Body.self, from: Data(parts[1].utf8))
            else { continue }
            events[Event(id: String(id), type: body.type, payment: body.data.id), default: 0] += 1
        }
    }

    private struct Body: Decodable {
        struct Payment: Decodable { let id: String }
        let type: String
        let data: Payment
    }

    /// Those that came more than once, each time more.
    var repeats: Int { events.values.reduce(0) { $0 + $1 - 1 } }

    /// Each is to come at least once, always under one identifier.
    func findings(owed: [String: [String: Int]]) -> [String] {
        var came: [String: [String: Int]] = [:]
        for event in events.keys { came[event.payment, default: [:]][event.type, default: 0] += 1 }
        return Set(owed.keys).union(came.keys).sorted().compactMap { payment in
            owed[payment] ?? [:] == came[payment] ?? [:]
                ? nil : "payment \(payment): webhooks \(came[payment] ?? [:]) came, \(owed[payment] ?? [:]) are owed"
        }
    }
}
