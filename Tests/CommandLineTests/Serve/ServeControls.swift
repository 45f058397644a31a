import ECardTesting
import Foundation

/// Faults that are planted in copies of a campaign's books, or in what was told: the checks must find each.
struct ServeControls {
    private enum Fault: CaseIterable {
        case approvalForgotten, debitedTwice, bookedOnOneSide, holdOrphaned, guessGivenBack, paidTwice, otherPayment,
            webhookLost,
            webhookRenamed, refundForgotten, chainCut
    }

    static let count = Fault.allCases.count

    private let campaign: ServeCampaign

    init(_ campaign: ServeCampaign) { self.campaign = campaign }

    /// Those that were not found.
    func missed() async throws -> [String] {
        var missed: [String] = []
        for fault in Fault.allCases {
            if try await findings(with: fault).isEmpty { missed.append("\(fault)") }
        }
        return missed
    }

    private func findings(with fault: Fault) async throws -> [String] {
        let folder = try Issuer.temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for file in [campaign.bank.bankBooks, campaign.bank.ledger] {
            for end in ["", "-wal"] where FileManager.default.fileExists(atPath: file + end) {
                try FileManager.default.copyItem(
                    atPath: file + end, toPath: "\(folder)/\(URL(fileURLWithPath: file).lastPathComponent)\(end)")
            }
        }
        var orders = campaign.orders
        var webhooks = campaign.webhooks
        let captured: String = orders.first { $0.shown == .paid && $0.plan == .pay }?.id ?? ""
        let refunded: String = orders.first { ($0.told.last?.refunded ?? 0) > 0 }?.id ?? ""
        guard !captured.isEmpty, !refunded.isEmpty else { throw Shell.Failure("too few payments to plant faults in") }
        var bank = ""
        var issuer = ""
        switch fault {
        case .approvalForgotten:
            bank = "UPDATE payment SET state = 'expired' WHERE id = '\(captured)'"
        case .debitedTwice:
            issuer = """
                INSERT INTO entry (kind, payment, at) SELECT kind, payment, at FROM entry WHERE kind = 'capture' LIMIT 1;
                INSERT INTO posting SELECT (SELECT max(number) FROM entry), account, minor_units FROM posting WHERE entry =
                    (SELECT number FROM entry WHERE kind = 'capture' LIMIT 1);
                UPDATE account SET balance = (SELECT sum(minor_units) FROM posting WHERE account = id)
                    WHERE id IN (SELECT account FROM posting)
                """
        case .bookedOnOneSide:
            issuer = "UPDATE payment SET captured = 0, state = 'voided' WHERE announcement = '\(captured)'"
        case .holdOrphaned:
            issuer = """
                INSERT INTO hold SELECT payment.id, card.account, 100, 9000000000000 FROM payment JOIN card ON card.id = payment.card
                    WHERE announcement = '\(captured)' AND response_code = '00';
                UPDATE account SET held = (SELECT ifnull(sum(minor_units), 0) FROM hold WHERE account = id)
                """
        case .guessGivenBack: issuer = "UPDATE code SET failures = 0"
        case .paidTwice:
            // Of one order two payments, of which the shop knows the first.
            let key = orders.first { $0.id == captured }?.key ?? ""
            bank = "UPDATE payment SET reference = '\(key)' WHERE id IN ('\(captured)', '\(refunded)')"
        case .otherPayment:
            if let index = orders.firstIndex(where: { $0.id == captured }) { orders[index].id = refunded }
        case .webhookLost:
            webhooks.events.removeValue(forKey: webhooks.events.keys.first ?? .init(id: "", type: "", payment: ""))
        case .webhookRenamed:
            if let event = webhooks.events.keys.first {
                webhooks.events[.init(id: "evt_other", type: event.type, payment: event.payment)] = 1
            }
        case .refundForgotten:
            if let index = orders.firstIndex(where: { $0.id == refunded }) {
                let told = orders[index].told.last
                orders[index].told.append(
                    .init(status: "captured", captured: told?.captured ?? 0, refunded: (told?.refunded ?? 0) + 1_000_00)
                )
            }
        case .chainCut: bank = "DELETE FROM audit WHERE number = (SELECT max(number) FROM audit) - 1"
        }
        for (file, sql) in [("bank.sqlite", bank), ("ledger.sqlite", issuer)] where !sql.isEmpty {
            let changed = try await Shell.run(
                "python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])' \(file) \"$SQL\"",
                home: "/nonexistent", folder: folder, environment: ["SQL": sql])
            guard changed.status == 0 else { throw Shell.Failure("\(changed)") }
        }
        return try ServeBooks().findings(folder + "/bank.sqlite", folder + "/ledger.sqlite", orders, webhooks)
    }
}
