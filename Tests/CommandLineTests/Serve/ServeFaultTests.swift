import ECardTesting
import Foundation
import Testing

/// What `ecard serve` stands on fails in mid-traffic: payments wait or fail clearly, none is approved meanwhile, none is lost, and the
/// service comes back by itself.
@Suite(.ownThread, .serialized) struct ServeFaultTests {
    @Test("The HSMs are gone, and come back")
    func hsmGone() async throws {
        let bank = try await ServedBank.make()
        let module = try FaultyModule(copiedTo: bank.issuer.folder)
        try await bank.issuer.must("sed -i 's|module: .*|module: \(module.path)|' $ECARD_HOME/ecard.yaml")
        let plan = bank.issuer.folder + "/plan"
        var serve = ServeCommands.together
        serve.environment["ECARD_FAULTY_PLAN_FILE"] = plan
        try await examine("HSMs gone (CKR_DEVICE_REMOVED)", serve, bank) { campaign, line, tally in
            let server = try await campaign.start(line)
            try await line.wait(sent: 100)
            try Data("* =0x32".utf8).write(to: URL(fileURLWithPath: plan), options: .atomic)
            let parts = try await Self.unready(line)
            if !parts.contains("\"issuer-hsm\":\"failed\"") || !parts.contains("\"bank-hsm\":\"failed\"") {
                tally.findings.append("/readyz: \(parts)")
            }
            if await line.ask(.look, "/healthz")?.status != 200 { tally.findings.append("/healthz failed") }
            try await Self.nothingMoves(campaign, line, &tally)
            try Data().write(to: URL(fileURLWithPath: plan), options: .atomic)
            try await Self.ready(line)
            try await line.wait(sent: 200)
            return server
        }
    }

    @Test("Another process keeps a database locked, and lets it go", arguments: ["bank.sqlite", "ledger.sqlite"])
    func locked(database: String) async throws {
        try await examine("\(database) locked", .together, ServedBank.make()) { campaign, line, tally in
            let server = try await campaign.start(line)
            try await line.wait(sent: 100)
            let other = try LineChild("/usr/bin/env", ["python3", "-c", Self.lock])
            try other.send(Data("\(campaign.bank.home)/\(database)".utf8))
            guard other.line() == "locked" else { throw Shell.Failure("\(database) could not be locked") }
            // What was waiting for the lock is told after ten seconds.
            try await line.wait(refused: ServeCampaign.counters)
            if await line.ask(.look, "/v1/payments?limit=1")?.status != 200 {
                tally.findings.append("what only reads does not answer")
            }
            let part = database == "bank.sqlite" ? "bank-ledger" : "issuer-ledger"
            let parts = try await Self.unready(line)
            if !parts.contains("\"\(part)\":\"failed\"") { tally.findings.append("/readyz: \(parts)") }
            try other.send(Data("free".utf8))
            guard other.line() == "free" else { throw Shell.Failure("\(database) could not be unlocked") }
            try await Self.ready(line)
            try await line.wait(sent: 200)
            return server
        }
    }

    @Test("No file can grow, as on a disk that is full, and then there is room again")
    func full() async throws {
        try await examine("no room on the disk", .together, ServedBank.make()) { campaign, line, tally in
            let server = try await campaign.start(line)
            try await line.wait(sent: 100)
            let logs = ["bank.sqlite-wal", "ledger.sqlite-wal"].compactMap {
                try? FileManager.default.attributesOfItem(atPath: "\(campaign.bank.home)/\($0)")[.size] as? NSNumber
            }
            guard let size = logs.map(\.intValue).min(), logs.count == 2, size > 0 else {
                throw Shell.Failure("no write-ahead logs")
            }
            func limit(_ size: String) async throws {
                let ids = server.ids.map { "prlimit --pid \($0) --fsize=\(size):" }.joined(separator: "; ")
                try await campaign.bank.issuer.must(ids)
            }
            try await limit("\(size)")
            try await Self.nothingMoves(campaign, line, &tally)
            if await line.ask(.look, "/v1/payments?limit=1")?.status != 200 {
                tally.findings.append("what only reads does not answer")
            }
            let parts = try await Self.unready(line)
            if !parts.contains("\"bank-ledger\":\"failed\"") { tally.findings.append("/readyz: \(parts)") }
            try await limit("unlimited")
            try await Self.ready(line)
            try await line.wait(sent: 200)
            return server
        }
    }

    @Test("A server at which nobody pays tells that its disk is full, and that there is room again")
    func idle() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            #"""
            set -euo pipefail
            ecard bank init >&2
            ecard serve --port 0 --json >listening 2>/dev/null & server=$!
            until grep -q '^}' listening; do kill -0 $server; read -t 0.05 <> <(:) || true; done
            url=$(grep -o 'http[^"]*' listening)
            look() { curl -sS $url/readyz; echo; }
            look
            look
            prlimit --pid $server --fsize=0:
            until look | grep -m 1 '"bank-ledger":"failed".*"issuer-ledger":"failed"'; do read -t 1 <> <(:) || true; done
            prlimit --pid $server --fsize=unlimited:
            look
            kill -TERM $server; wait $server
            """#, limit: 240)
        expect(outcome, exits: 0)
        let states = outcome.out.matches(of: #/"status":"(\w+)"/#).map { String($0.output.1) }
        #expect(states == ["ok", "ok", "failed", "ok"], "\(outcome)")
    }

    // MARK: What all of them have in common

    private func examine(
        _ what: String, _ serve: ServeCommands, _ bank: ServedBank, _ trouble: ServeCampaign.Trouble
    ) async throws {
        var generator = SeededGenerator()
        print("\(what): seed \(generator.seed)")
        var campaign = try await ServeCampaign(serve, bank)
        try await campaign.run(trouble, &generator)
        let tally = campaign.tally
        tally.findings.prefix(20).forEach { print("finding: \($0)") }
        print(
            "claim: \(what): requests told to come again, of all | \(tally.refused) of \(tally.requests) | > 0 | \(tally.refused > 0 ? "holds" : "fails")"
        )
        print(
            "claim: \(what): approved meanwhile, lost, doubled, not answered the same afterwards, or not recovered | \(tally.findings.count) over \(tally.orders) payments | 0 | \(tally.findings.isEmpty ? "holds" : "fails")"
        )
        #expect(tally.refused > 0 && tally.findings == [])
    }

    /// Waits for refusals, and then sees that through more of them neither books change.
    private static func nothingMoves(
        _ campaign: ServeCampaign, _ line: ServedLine, _ tally: inout ServeTally
    ) async throws {
        try await line.wait(refused: 20)
        let before = try money(campaign)
        try await line.wait(refused: 40)
        let after = try money(campaign)
        if before != after { tally.findings.append("approved or moved meanwhile: \(before), then \(after)") }
    }

    /// Payments approved, captured and refunded in the bank's books, and tries approved at the issuer.
    private static func money(_ campaign: ServeCampaign) throws -> [String] {
        let books = try ServeBooks()
        let bank = try books.report(campaign.bank.bankBooks, campaign.bank.ledger)
        let issuer = try books.issuer.report(on: campaign.bank.ledger)
        return bank.payments.filter { ["authorized", "captured", "refunded"].contains($0.state) }.map { "\($0)" }
            + issuer.payments.filter { $0.response == "00" }.map { "\($0)" }
    }

    private static func unready(_ line: ServedLine) async throws -> String { try await readiness(line, 503) }
    private static func ready(_ line: ServedLine) async throws { _ = try await readiness(line, 200) }

    private static func readiness(_ line: ServedLine, _ status: Int) async throws -> String {
        let deadline = ContinuousClock.now + .seconds(120)
        while ContinuousClock.now < deadline {
            if let answer = await line.ask(.look, "/readyz"), answer.status == status { return answer.body }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw Shell.Failure("/readyz did not answer \(status) within two minutes")
    }

    /// Locks a database for writing, until it is told to let it go.
    private static let lock = """
        import sqlite3, sys
        db = sqlite3.connect(sys.stdin.readline().strip(), isolation_level=None, timeout=60)
        db.execute("BEGIN IMMEDIATE")
        print("locked", flush=True)
        sys.stdin.readline()
        db.execute("ROLLBACK")
        print("free", flush=True)
        """
}
