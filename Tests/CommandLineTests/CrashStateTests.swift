import ByteCoding
import ECardTesting
import Foundation
import Testing
import VirtualCard

/// Power goes at any moment, and only what was synced is sure to stay: every answer that left before is kept, with the
/// books whole. kill -9 cannot show that, since the kernel keeps what a dead process wrote.
///
/// Commands of the tool are traced, the states that their disk may be left in are made (`CrashDisk`), and each is opened
/// with the tool itself. `ECARD_CRASH_STATES=100000 swift test --filter CrashStateTests` goes on for longer.
@Suite(.ownThread, .serialized) struct CrashStateTests {
    static let states = ProcessInfo.processInfo.environment["ECARD_CRASH_STATES"].flatMap(Int.init) ?? 1_200

    // MARK: The ledger and the outbox

    /// Of the states of the ledger, one in so many has every request sent again: 24 runs of the tool, about a second.
    private static let resentShare = 10

    @Test func whatWasAnsweredIsOnTheDisk() async throws {
        var generator = SeededGenerator()
        print("crash states of the ledger: seed \(generator.seed)")
        let issuer = try await Issuer.withCard()
        let orders = try await CrashOrders(issuer)
        let scenario = try await CrashScenario.record(
            issuer, root: issuer.home, script: "trace bash \(try orders.script()) >answers")
        let told = Told(scenario.answers.map(\.bytes))
        #expect(told.receipts.count == 3 * 6 && told.views.count == 6 && told.codes.count == 1, "\(told)")
        let count = Self.states * 7 / 12
        let outcome = try await scenario.explore(count - count / Self.resentShare, on: scenario.disk, &generator) {
            folder, point, _ in try await Self.examine(folder, told: Told(scenario.answers(before: point)))
        }
        let resend = CrashResend(orders, whole: try LedgerAuditor().report(on: issuer.home + "/ledger.sqlite"))
        let resent = try await scenario.explore(count / Self.resentShare, on: scenario.disk, &generator) {
            folder, point, _ in
            let told = Told(scenario.answers(before: point))
            return try await Self.examine(folder, told: told) + resend.findings(in: folder, told: told)
        }
        let all = outcome + resent
        Self.report(all, "a crash of the ledger and the outbox", "answers or receipts lost, books or chain not whole")
        resend.tally.report(states: resent.states)
        #expect(all.findings == [])

        let lying = try await scenario.explore(40, on: scenario.lyingDisk, luck: .nothing, &generator) {
            folder, point, _ in
            let report = try LedgerAuditor().report(on: folder + "/ledger.sqlite")
            return Told(scenario.answers(before: point)).missing(in: report, folder)
        }
        Self.reportControl(lying, "ledgers on a disk that ignores syncs")
        #expect(!lying.findings.isEmpty, "the harness cannot fail")
        let forgetful = CrashResend(orders, whole: resend.whole)
        let asked = try await scenario.explore(8, on: scenario.lyingDisk, luck: .nothing, &generator) {
            folder, point, _ in
            try await forgetful.findings(in: folder, told: Told(scenario.answers(before: point)))
        }
        Self.reportControl(asked, "requests sent again on a disk that ignores syncs")
        #expect(!asked.findings.isEmpty, "the harness cannot fail")
    }

    /// Everything that whoever asked can hold the issuer to, and the tool's own opinion of the state.
    private static func examine(_ folder: String, told: Told) async throws -> [String] {
        let report = try LedgerAuditor().report(on: folder + "/ledger.sqlite")
        var findings = report.findings + told.missing(in: report, folder)
        let verified = try await ToolRun.of(["ledger", "verify"], home: folder)
        if verified.status != 0 { findings.append("ledger verify: \(verified.status) \(verified.out)\(verified.err)") }
        for file in try FileManager.default.contentsOfDirectory(atPath: folder + "/outbox")
        where !file.hasPrefix(".") {
            let data = FileManager.default.contents(atPath: "\(folder)/outbox/\(file)") ?? Data()
            if (try? JSONSerialization.jsonObject(with: data)) == nil { findings.append("outbox/\(file) is not whole") }
        }
        // What the crash left unsent is sent by whoever looks at payments next; the verification changes nothing.
        let looked = try await ToolRun.of(["payment", "list", "--limit", "1"], home: folder)
        if looked.status != 0 { findings.append("payment list: \(looked.status) \(looked.out)\(looked.err)") }
        return try findings + report.receiptFindings(in: folder)
    }

    // MARK: The chip

    private static let chip = """
        trace ecard card insert $card --reader '00 00' 2>said & insert=$!
        until [ -s $ECARD_HOME/chips/$card.inserted ]; do kill -0 $insert; read -rt 0.05 <> <(:) || true; done
        ecard card personalize $card --reader '00 00' >&2
        ecard code issue $card --code-fd 3 3>code >&2
        for N in 1 2 3 4 5 6; do
            ecard authorize --card $card --amount $N --currency GHS --merchant Makola --code-fd 4 4<code >&2
        done
        ecard card eject $card >&2; wait $insert
        """

    @Test func aChipsCounterNeverTurnsBack() async throws {
        var generator = SeededGenerator()
        print("crash states of the chip: seed \(generator.seed)")
        let issuer = try await Issuer()
        let card = try await issuer.must("ecard card create --account $account")
        let scenario = try await PCSCService.exclusively { _ in
            try await CrashScenario.record(
                issuer, root: issuer.home + "/chips", script: "card=\(card)\n" + Self.chip)
        }
        #expect(Self.counterTold(scenario.answers.map(\.bytes)) == 6)
        let examine: @Sendable (String, Int, Int) async throws -> [String] = { folder, point, _ in
            let told = Self.counterTold(scenario.answers(before: point))
            let counter = try Self.counter(ofChip: "\(folder)/\(card).chip")
            return counter >= told ? [] : ["the chip's counter is \(counter), \(told) was told"]
        }
        let outcome = try await scenario.explore(Self.states / 3, on: scenario.disk, &generator, examine: examine)
        Self.report(outcome, "a crash of the chip's file", "chips that do not open or whose ATC turned back")
        #expect(outcome.findings == [])
        let lying = try await scenario.explore(
            20, on: scenario.lyingDisk, luck: .nothing, &generator, examine: examine)
        Self.reportControl(lying, "chips on a disk that ignores syncs")
        #expect(!lying.findings.isEmpty, "the harness cannot fail")
    }

    /// Tag 9F36 of the answers to GENERATE AC: the greatest that left.
    private static func counterTold(_ answers: [[UInt8]]) -> Int {
        answers.compactMap { bytes in
            bytes.firstRange(of: [0x9F, 0x36, 0x02] as [UInt8]).flatMap { range in
                bytes.count >= range.upperBound + 2
                    ? Int(bytes[range.upperBound]) << 8 | Int(bytes[range.upperBound + 1]) : nil
            }
        }.max() ?? 0
    }

    /// Powers the chip up and asks it; 0 when it is not personalized yet.
    private static func counter(ofChip path: String) throws -> Int {
        let chip = try VirtualChip(open: path)
        chip.reset()
        let aid = try #require([UInt8](hex: "F0454341524410"))
        _ = chip.answer([0x00, 0xA4, 0x04, 0x00, UInt8(aid.count)] + aid + [0x00])
        let answer = chip.answer([0x80, 0xCA, 0x9F, 0x36, 0x00])
        return counterTold([answer])
    }

    // MARK: init

    @Test func aBrokenInitIsFinishedByTheNext() async throws {
        var generator = SeededGenerator()
        print("crash states of init: seed \(generator.seed)")
        let issuer = try await Issuer()
        let root = issuer.folder + "/new"
        let scenario = try await CrashScenario.record(
            issuer, root: root, script: "ECARD_HOME=\(root) trace ecard init >said")
        let outcome = try await scenario.explore(Self.states / 12, on: scenario.disk, &generator) { folder, point, _ in
            let wasTold = scenario.answers(before: point).contains {
                String(decoding: $0, as: UTF8.self).contains("ready")
            }
            let steps = wasTold ? [["ledger", "verify"]] : [["init"], ["ledger", "verify"]]
            for words in steps {
                let run = try await ToolRun.of(words, home: folder)
                if run.status != 0 { return ["\(wasTold ? "told: " : "")\(words): \(run.status) \(run.out)\(run.err)"] }
            }
            return []
        }
        Self.report(
            outcome, "a crash of init", "issuers that the next init does not finish, or that were told and are lost")
        #expect(outcome.findings == [])
    }

    // MARK: What is printed

    private static func report(_ outcome: CrashScenario.Outcome, _ what: String, _ wrong: String) {
        outcome.findings.prefix(20).forEach { print("finding: \($0)") }
        print("claim: disk states after \(what) | \(outcome.states) | | info")
        print(
            "claim: of them \(wrong) | \(outcome.findings.count) | 0 | \(outcome.findings.isEmpty ? "holds" : "fails")")
    }

    private static func reportControl(_ outcome: CrashScenario.Outcome, _ what: String) {
        print(
            "claim: control: \(what), losses that the harness sees | \(outcome.findings.count) in \(outcome.states) | > 0 | \(outcome.findings.isEmpty ? "fails" : "holds")"
        )
    }
}
