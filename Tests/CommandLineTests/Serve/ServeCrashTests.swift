import ECardTesting
import Foundation
import Testing

/// Power goes while `ecard serve` takes payments, and only what was synced is sure to stay: what a shop, a telephone or a webhook was
/// told before is in the books of bank and issuer, and both are the same money.
///
/// `ECARD_SERVE_CRASH_STATES=10000 swift test --filter ServeCrashTests` goes on for longer.
@Suite(.ownThread, .serialized) struct ServeCrashTests {
    static let states = ProcessInfo.processInfo.environment["ECARD_SERVE_CRASH_STATES"].flatMap(Int.init) ?? 120
    /// Payments of each counter while everything is recorded.
    private static let orders = 8

    @Test func whatWasToldIsOnTheDisk() async throws {
        var generator = SeededGenerator()
        print("crash states of the payment server: seed \(generator.seed)")
        let bank = try await ServedBank.make()
        let scenario = try await Self.record(bank, &generator)
        let told = Self.told(scenario, before: .max)
        #expect(told.count > 40, "\(told.count) answers were recorded")

        let outcome = try await scenario.explore(Self.states, on: scenario.disk, &generator) { folder, point, _ in
            var findings = try Self.missing(Self.told(scenario, before: point), in: folder)
            for books in ["ledger", "bank"] {
                let verified = try await ToolRun.of([books, "verify"], home: folder)
                if verified.status != 0 {
                    findings.append("\(books) verify: \(verified.status) \(verified.out)\(verified.err)")
                }
            }
            return findings
        }
        outcome.findings.prefix(20).forEach { print("finding: \($0)") }
        print("claim: disk states after a crash of the payment server | \(outcome.states) | | info")
        print(
            "claim: of them with something lost that was told, books or chains not whole, or other money at the bank than at the issuer | \(outcome.findings.count) | 0 | \(outcome.findings.isEmpty ? "holds" : "fails")"
        )
        #expect(outcome.findings == [])

        let lying = try await scenario.explore(20, on: scenario.lyingDisk, luck: .nothing, &generator) {
            folder, point, _ in try Self.missing(Self.told(scenario, before: point), in: folder)
        }
        print(
            "claim: control: a disk that ignores syncs, losses that the harness sees | \(lying.findings.count) in \(lying.states) | > 0 | \(lying.findings.isEmpty ? "fails" : "holds")"
        )
        #expect(!lying.findings.isEmpty, "the harness cannot fail")
    }

    // MARK: The record

    private static func record(_ bank: ServedBank, _ generator: inout SeededGenerator) async throws -> CrashScenario {
        let hooks = try await ScriptedServer(react: ScriptedServer.http(200, ""))
        try await bank.addWebhook(port: hooks.port)
        let seeds = (0..<3).map { _ in generator.next() }
        async let recorded = CrashScenario.record(
            bank.issuer, root: bank.home,
            script: """
                trace ecard \(ServeCommands.together.commands[0].joined(separator: " ")) >listening 2>log & tracer=$!
                until [ -e stop ]; do kill -0 $tracer; read -rt 0.05 <> <(:) || true; done
                # Below the shell of the function is strace, and below that the server.
                strace=$(cat /proc/$tracer/task/$tracer/children)
                kill -TERM $(cat /proc/${strace%% *}/task/${strace%% *}/children)
                wait $tracer
                """)
        do {
            try await visit(bank, seeds)
        } catch {
            stop(bank)
            throw error
        }
        stop(bank)
        let scenario = try await recorded
        try await hooks.close()
        return scenario
    }

    private static func stop(_ bank: ServedBank) {
        FileManager.default.createFile(atPath: bank.issuer.folder + "/stop", contents: nil)
    }

    private struct Listening: Decodable { let url: String }

    /// Three counters take payments at once.
    private static func visit(_ bank: ServedBank, _ seeds: [UInt64]) async throws {
        let deadline = ContinuousClock.now + .seconds(120)
        var listening: Listening?
        while listening == nil, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(20))
            listening = try? JSONDecoder().decode(Listening.self, from: Data(bank.issuer.text("listening").utf8))
        }
        let line = ServedLine(key: bank.key)
        line.goesTo(listening?.url)
        if listening == nil { line.end() }
        await withTaskGroup(of: Void.self) { group in
            for (counter, seed) in seeds.enumerated() {
                let shop = ServedShop(
                    line, cards: Array(bank.cards[(3 + 3 * counter)..<(6 + 3 * counter)]), guessed: bank.cards[counter],
                    name: "counter-\(counter)", seed: seed)
                group.addTask {
                    var shop = shop
                    await shop.serve(orders)
                }
            }
        }
        try await line.close()
    }

    // MARK: What was told

    private struct Statement {
        let payment: String
        let told: ServedOrder.Told
    }

    private struct View: Decodable {
        let id: String
        let status: String
        let amountCaptured: Int64?
        let amountRefunded: Int64?

        enum CodingKeys: String, CodingKey {
            case id, status, amountCaptured = "amount_captured", amountRefunded = "amount_refunded"
        }
    }
    private struct Hook: Decodable { let data: View }

    /// What left for shops, telephones and webhooks before power went.
    private static func told(_ scenario: CrashScenario, before point: Int) -> [Statement] {
        scenario.answers(before: point).compactMap { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            if let screen = text.firstMatch(of: /END (Paid|Approved|You refused)[^"]*Ref ([0-9A-Z]{16})/) {
                let status = ["Paid": "captured", "Approved": "authorized", "You refused": "denied"]
                return Statement(
                    payment: "pay_\(screen.output.2)",
                    told: .init(status: status[String(screen.output.1)] ?? "", captured: 0, refunded: 0))
            }
            guard let start = text.firstIndex(of: "{"), let end = text.lastIndex(of: "}"), start < end else {
                return nil
            }
            let json = Data(text[start...end].utf8)
            guard
                let view = (try? JSONDecoder().decode(View.self, from: json))
                    ?? (try? JSONDecoder().decode(Hook.self, from: json).data), view.id.hasPrefix("pay_")
            else { return nil }
            return Statement(
                payment: view.id,
                told: .init(
                    status: view.status, captured: view.amountCaptured ?? 0, refunded: view.amountRefunded ?? 0))
        }
    }

    /// What was told and is not in the books, and what is wrong with them.
    private static func missing(_ told: [Statement], in folder: String) throws -> [String] {
        let books = try ServeBooks()
        let report = try books.report(folder + "/bank.sqlite", folder + "/ledger.sqlite")
        let issuer = try books.issuer.report(on: folder + "/ledger.sqlite")
        let rows = Dictionary(report.payments.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        return report.findings + issuer.findings
            + told.compactMap { statement in
                guard let row = rows[statement.payment], statement.told.isKept(by: row) else {
                    return "\(statement), the books have \(rows[statement.payment].map { "\($0)" } ?? "nothing")"
                }
                return nil
            }
    }
}
