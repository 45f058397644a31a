import ByteCoding
import ECardTesting
import Foundation
import PCSC
import PKCS11
import Synchronization
import Testing

@testable import VirtualCard

/// An issuer of known keys, whose every contact with token and chip is written down.
///
/// Token and keys are made by `ecard init` as anybody's are: inside the token, never extractable. What the test knows of
/// them it has from the files of SoftHSM, which it opens with the PIN; no attribute is other than in real life. The tool's
/// module is ours that records, behind it OpenSC's `pkcs11-spy.so`, behind it SoftHSM.
final class CustodyStory: Sendable {
    static let spyPath = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"
    static let reader = "Virtual PCD 00 00"

    /// A card and everything that only its chip should know.
    struct StoryCard: Sendable {
        let id: String
        let pan: String
        let isExposed: Bool
        /// The chip's state file.
        let chip: String
        var exchanges: [(command: [UInt8], answer: [UInt8])] = []
        /// PKCS #1, as the blank chip had it before its keys came.
        var manufacturingKey: [UInt8]?
    }

    let folder: String
    let account: String
    private let transcript = Mutex<[(place: String, bytes: [UInt8])]>([])

    var home: String { folder + "/home" }
    var recordingPath: String { folder + "/recording" }
    var spyLogPath: String { folder + "/spy.log" }
    /// What every command said on standard output and standard error.
    var outputs: [(place: String, bytes: [UInt8])] { transcript.withLock { $0 } }

    init() async throws {
        guard FileManager.default.fileExists(atPath: Self.spyPath) else {
            throw Shell.Failure("\(Self.spyPath) is missing: install Debian's opensc-pkcs11 (tools/test does)")
        }
        folder = try Issuer.temporaryFolder()
        let made = try await Shell.run(
            """
            set -e
            ecard init --module '\(try FaultyModule.path())' >&2
            customer=$(ecard customer add --name "Kofi Boateng" --phone +233201234567)
            account=$(ecard account open --customer $customer --currency GHS)
            ecard account deposit $account --amount 500.00 >&2
            echo $account
            """, home: folder + "/home", folder: folder, environment: Self.environment(folder))
        guard made.status == 0 else { throw Shell.Failure("\(made)") }
        account = made.line
        note(made)
    }

    private static func environment(_ folder: String) -> [String: String] {
        [
            "ECARD_FAULTY_MODULE": spyPath,
            "PKCS11SPY": PKCS11Module.softHSMPath, "PKCS11SPY_OUTPUT": folder + "/spy.log",
            "ECARD_RECORD_FILE": folder + "/recording",
        ]
    }

    /// Runs the tool, recorded.
    /// - Parameter plan: what the module is to do, such as to leak.
    @discardableResult
    func run(_ script: String, plan: String = "", exits status: Int32 = 0) async throws -> String {
        var environment = Self.environment(folder)
        environment["account"] = account
        environment["reader"] = Self.reader
        environment["ECARD_FAULTY_PLAN"] = plan
        let outcome = try await Shell.run(script, home: home, folder: folder, environment: environment)
        note(outcome)
        guard outcome.status == status else { throw Shell.Failure("\(outcome)") }
        return outcome.line
    }

    private func note(_ outcome: Outcome) {
        transcript.withLock {
            $0.append(("standard output of: \(outcome.script)", Array(outcome.out.utf8)))
            $0.append(("standard error of: \(outcome.script)", Array(outcome.err.utf8)))
        }
    }

    // MARK: Cards

    /// A new card of the tool's, without a chip in the reader yet.
    func card(exposed: Bool) async throws -> StoryCard {
        let id = try await run("ecard card create --account $account \(exposed ? "--exposed" : "")")
        try await run(
            "ecard card show \(id) --pan-fd 3 3>\(id).pan; ecard card show \(id) --field expiry >\(id).expiry")
        return StoryCard(
            id: id, pan: text("\(id).pan"), isExposed: exposed, chip: "\(home)/chips/\(id).chip")
    }

    /// A card from its making to its payments, all by the tool through pcscd.
    /// - Parameter plan: as for ``run(_:plan:exits:)``, while it is personalized.
    func issue(exposed: Bool, plan: String = "") async throws -> StoryCard {
        var card = try await card(exposed: exposed)
        let chip = RecordingChip(try VirtualChip(open: card.chip))
        let link = try VirtualReaderLink(port: VirtualReaderLink.ports[0], chip: chip)
        link.start()
        if !exposed {
            // The chip keeps the key pair that it makes now until its keys come: a repeat answers the same one.
            try await run("ecard reader apdu --reader \"$reader\" 00A4040000 0047000000")
            card.manufacturingKey = try Self.state(of: card.chip).manufacturingKey?.exposedCopy()
        }
        let pay = "ecard authorize --card \(card.id) --reader \"$reader\" --currency GHS --merchant 'Makola Books'"
        try await run("ecard card personalize \(card.id) --reader \"$reader\" --verbose", plan: plan)
        try await run("ecard code issue \(card.id) --code-fd 3 3>\(card.id).code")
        try await run("\(pay) --amount 25.00 --code-fd 3 3<\(card.id).code")
        try await run("\(pay) --amount 12.50 --json --code-fd 3 3<\(card.id).code")
        try await run("\(pay) --amount 1.00 --code-fd 3 3<<<000", exits: 1)
        try await run("ecard card read --reader \"$reader\"")
        link.stop()
        try await Self.readerIsEmpty()
        let online =
            "ecard authorize --card-not-present --currency GHS --merchant Kaneshie --expiry $(cat \(card.id).expiry)"
        try await run("\(online) --amount 3.00 --pan-fd 3 --code-fd 4 3<\(card.id).pan 4<\(card.id).code")
        try await run("\(online) --amount 3.00 --pan-fd 3 --code-fd 4 3<\(card.id).pan 4<<<000", exits: 1)
        card.exchanges = chip.exchanges
        return card
    }

    /// What else the tool does with keys.
    func lookAround() async throws {
        try await run(
            """
            set -e
            ecard hsm preflight; ecard hsm info; ecard hsm keys
            ecard card list --json; ecard payment list --json; ecard ledger verify; ecard ledger list --limit 100
            """)
    }

    private static func readerIsEmpty() async throws {
        let deadline = ContinuousClock.now + .seconds(10)
        while try await PCSC.readerStates().contains(where: { $0.name == reader && $0.isCardPresent }) {
            guard ContinuousClock.now < deadline else { throw Shell.Failure("\(reader) keeps its card") }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// What a chip's file says the chip knows.
    static func state(of chip: String) throws -> CardState {
        let journal = try Journal.read(Array(try Data(contentsOf: URL(fileURLWithPath: chip))))
        var fault = ""
        return try #require(CardState(entries: journal.entries, fault: &fault), "\(chip): \(fault)")
    }

    func text(_ file: String) -> String {
        String(decoding: FileManager.default.contents(atPath: "\(folder)/\(file)") ?? Data(), as: UTF8.self)
            .trimmingCharacters(in: .newlines)
    }

    /// The issuer's keys by their labels, out of SoftHSM's files.
    func issuerKeys(_ oracle: PythonOracle) throws -> [String: [UInt8]] {
        let label = try #require(text("home/ecard.yaml").split(separator: "token=").last?.prefix { $0 != "\n" })
        return try oracle.softHSMKeys(
            in: home + "/softhsm/tokens", of: label.trimmingCharacters(in: ["'", "\"", " "]),
            pin: text("home/token.pin"))
    }
}

extension PythonOracle {
    /// The secret keys of a SoftHSM token, by their labels.
    func softHSMKeys(in folder: String, of label: String, pin: String) throws -> [String: [UInt8]] {
        let pairs = try call("softhsm_keys", [[folder, label, pin]])[0].split(separator: " ")
            .map { $0.split(separator: ":") }
        return Dictionary(
            uniqueKeysWithValues: try pairs.map { (String($0[0]), try #require([UInt8](hex: String($0[1])))) })
    }
}
