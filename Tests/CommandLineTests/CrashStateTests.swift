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
@Suite(.serialized) struct CrashStateTests {
    static let states = ProcessInfo.processInfo.environment["ECARD_CRASH_STATES"].flatMap(Int.init) ?? 1_200

    // MARK: The ledger and the outbox

    private static let payments = """
        pay() {
            ecard authorize --json --card-not-present --pan-fd 3 --code-fd ${4:-4} 3<pan 4<code 5<<<000 \\
                --expiry $(cat expiry) --currency GHS --merchant "$1" --amount $2 --capture $3 || [ $? = 1 ]
        }
        export -f pay
        work() {
            for N in 1 2 3; do pay "Stall $1" $N.0$1 now; done
            payment=$(pay "Stall $1" 9 later | tee /dev/stderr | grep -o 'pay_[A-Z0-9]*')
            ecard payment capture $payment --amount 5 --json
            ecard payment refund $payment --amount 2 --json
            pay "Stall $1" 1 now 5
            pay "Stall $1" 1000 now
        }
        export -f work
        trace bash -c 'work 1 & work 2 & work 3; wait; ecard code rotate $card --deliver --json' >answers
        """

    @Test func whatWasAnsweredIsOnTheDisk() async throws {
        var generator = SeededGenerator()
        print("crash states of the ledger: seed \(generator.seed)")
        let issuer = try await Issuer.withCard()
        let scenario = try await CrashScenario.record(issuer, root: issuer.home, script: Self.payments)
        let told = Told(scenario.answers.map(\.bytes))
        #expect(told.receipts.count == 3 * 6 && told.views.count == 6 && told.codes.count == 1, "\(told)")
        let outcome = try await scenario.explore(Self.states * 7 / 12, on: scenario.disk, &generator) {
            try await Self.examine($0, told: Told(scenario.answers(before: $1)), worker: $2)
        }
        Self.report(outcome, "a crash of the ledger and the outbox", "answers lost, books or chain not whole")
        #expect(outcome.findings == [])

        let lying = try await scenario.explore(40, on: scenario.lyingDisk, luck: .nothing, &generator) {
            folder, point, _ in
            let report = try LedgerAuditor().report(on: folder + "/ledger.sqlite")
            return Told(scenario.answers(before: point)).missing(in: report, folder)
        }
        Self.reportControl(lying, "ledgers on a disk that ignores syncs")
        #expect(!lying.findings.isEmpty, "the harness cannot fail")
    }

    /// Everything that whoever asked can hold the issuer to, and the tool's own opinion of the state.
    private static func examine(_ folder: String, told: Told, worker: Int) async throws -> [String] {
        let report = try LedgerAuditor().report(on: folder + "/ledger.sqlite")
        var findings = report.findings + told.missing(in: report, folder)
        let verified = try await ToolRun.of(["ledger", "verify"], home: folder)
        if verified.status != 0 { findings.append("ledger verify: \(verified.status) \(verified.out)\(verified.err)") }
        for file in try FileManager.default.contentsOfDirectory(atPath: folder + "/outbox")
        where !file.hasPrefix(".") {
            let data = FileManager.default.contents(atPath: "\(folder)/outbox/\(file)") ?? Data()
            if (try? JSONSerialization.jsonObject(with: data)) == nil { findings.append("outbox/\(file) is not whole") }
        }
        return findings
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

/// What commands said before power went, as JSON on their standard output.
private struct Told: CustomStringConvertible {
    struct View: Decodable {
        let id: String
        let captured: String
        let refunded: String
    }
    struct Code: Decodable {
        let card: String
        let version: Int
        let deliveredTo: String?
    }

    var receipts: [Receipt] = []
    var views: [View] = []
    var codes: [Code] = []

    init(_ answers: [[UInt8]]) {
        for bytes in answers {
            if let receipt = try? JSONDecoder().decode(Receipt.self, from: Data(bytes)) {
                // The one that is shown twice is one.
                if !receipts.contains(where: { $0.payment == receipt.payment }) { receipts.append(receipt) }
            } else if let view = try? JSONDecoder().decode(View.self, from: Data(bytes)) {
                views.append(view)
            } else if let code = try? JSONDecoder().decode(Code.self, from: Data(bytes)) {
                codes.append(code)
            }
        }
    }

    var description: String { "\(receipts.count) receipts, \(views.count) payments shown, \(codes.count) codes" }

    /// What was told and is not in the ledger or the outbox.
    func missing(in report: LedgerAuditor.Report, _ folder: String) -> [String] {
        let rows = Dictionary(report.payments.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        var findings: [String] = []
        for receipt in receipts {
            let row = rows[receipt.payment ?? ""]
            let isMoney = ["authorized", "captured", "refunded"].contains(row?.state ?? "")
            if row?.response != receipt.responseCode || receipt.approved != isMoney
                || row.map({ Order.decimal($0.amount) }) != receipt.amount
            {
                findings.append("payment \(receipt.payment ?? "-"): \(receipt.responseCode) was told, lost")
            }
        }
        for view in views {
            let row = rows[view.id]
            if Order.decimal(row?.captured ?? 0) != view.captured
                || row.map({ $0.refunded < Self.minorUnits(view) }) != false
            {
                findings.append(
                    "payment \(view.id): captured \(view.captured), refunded \(view.refunded) was told, lost")
            }
        }
        for code in codes {
            if !report.codes.contains(where: { $0.card == code.card && $0.version == code.version }) {
                findings.append("code version \(code.version) was told, lost")
            }
            let message = "\(folder)/outbox/code-\(code.card)-\(code.version).json"
            if code.deliveredTo != nil, !FileManager.default.fileExists(atPath: message) {
                findings.append("code version \(code.version) was delivered, its message is lost")
            }
        }
        return findings
    }

    private static func minorUnits(_ view: View) -> Int64 { Int64(view.refunded.filter { $0 != "." }) ?? 0 }
}
