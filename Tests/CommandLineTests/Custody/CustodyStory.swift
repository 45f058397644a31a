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
        var isExposed = false
        /// From a file of many, its code by letter; it pays without its chip.
        var isBatch = false
        /// The versions of the issuer keys that were current when it was personalized, by the keys' names.
        let versions: [String: Int]
        /// The chip's state file.
        let chip: String
        var exchanges: [(command: [UInt8], answer: [UInt8])] = []
        /// PKCS #1, as the blank chip had it before its keys came.
        var manufacturingKey: [UInt8]?
    }

    /// Who listens writes each of these into files of its own.
    enum Watch: String {
        /// All that an issuer does day by day.
        case work
        /// Key ceremonies, where a key comes to the token in clear.
        case ceremonies
        /// `hsm speed`, with thousands of keys for cards that do not exist.
        case measuring
    }

    let folder: String
    let account: String
    private let transcript = Mutex<[(place: String, bytes: [UInt8])]>([])
    private let decided = Mutex<(approved: Int, declined: Int)>((0, 0))

    var home: String { folder + "/home" }
    func recordingPath(_ watch: Watch = .work) -> String { "\(folder)/\(watch).recording" }
    func spyLogPath(_ watch: Watch = .work) -> String { "\(folder)/\(watch).spy.log" }
    /// How many payments of the story were approved and declined, by their exit codes.
    var payments: (approved: Int, declined: Int) { decided.withLock { $0 } }
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
            """, home: folder + "/home", folder: folder, environment: Self.environment(folder, .work))
        guard made.status == 0 else { throw Shell.Failure("\(made)") }
        account = made.line
        note(made)
    }

    private static func environment(_ folder: String, _ watch: Watch) -> [String: String] {
        [
            "ECARD_FAULTY_MODULE": spyPath,
            "PKCS11SPY": PKCS11Module.softHSMPath, "PKCS11SPY_OUTPUT": "\(folder)/\(watch).spy.log",
            "ECARD_RECORD_FILE": "\(folder)/\(watch).recording",
        ]
    }

    /// Runs the tool, recorded.
    /// - Parameter plan: what the module is to do, such as to leak.
    @discardableResult
    func run(
        _ script: String, plan: String = "", exits status: Int32 = 0, watch: Watch = .work
    ) async throws -> String {
        var environment = Self.environment(folder, watch)
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

    /// What the story knows of a card of the tool's that is personalized now.
    func known(_ id: String) async throws -> StoryCard {
        try await run(
            "ecard card show \(id) --pan-fd 3 3>\(id).pan; ecard card show \(id) --field expiry >\(id).expiry")
        let keys = Data(try await run("ecard hsm keys --json").utf8)
        let current = try #require(try JSONSerialization.jsonObject(with: keys) as? [[String: Any]])
            .filter { $0["state"] as? String == "current" }
        let versions = current.compactMap { row -> (String, Int)? in
            guard let label = row["label"] as? String, let version = row["version"] as? Int else { return nil }
            return (String(label.dropFirst("ecard.".count).prefix { $0 != "." }), version)
        }
        return StoryCard(
            id: id, pan: text("\(id).pan"), versions: Dictionary(uniqueKeysWithValues: versions),
            chip: "\(home)/chips/\(id).chip")
    }

    /// A card from its making to its payments, all by the tool through pcscd.
    /// - Parameter plan: as for ``run(_:plan:exits:watch:)``, while it is personalized.
    func issue(exposed: Bool, plan: String = "") async throws -> StoryCard {
        var card = try await known(try await run("ecard card create --account $account \(exposed ? "--exposed" : "")"))
        card.isExposed = exposed
        var pair: [UInt8]?
        card.exchanges = try await withChip(of: card) {
            if !exposed {
                // The chip keeps the key pair that it makes now until its keys come: a repeat answers the same one.
                try await run("ecard reader apdu --reader \"$reader\" 00A4040000 0047000000")
                pair = try Self.state(of: card.chip).manufacturingKey?.exposedCopy()
            }
            try await run("ecard card personalize \(card.id) --reader \"$reader\" --verbose", plan: plan)
            try await run("ecard code issue \(card.id) --digits 8 --code-fd 3 3>\(card.id).code")
            try await payWithChip(card)
            try await run("ecard card read --reader \"$reader\"")
        }
        card.manufacturingKey = pair
        try await payWithoutChip(card)
        return card
    }

    /// Puts the card's chip into the reader while `body` runs.
    /// - Returns: every command and answer.
    func withChip(
        of card: StoryCard, _ body: () async throws -> Void
    ) async throws -> [(command: [UInt8], answer: [UInt8])] {
        let chip = RecordingChip(try VirtualChip(open: card.chip))
        let link = try VirtualReaderLink(port: VirtualReaderLink.ports[0], chip: chip)
        link.start()
        try await body()
        link.stop()
        try await Self.readerIsEmpty()
        return chip.exchanges
    }

    /// Two payments with the right code, one with a wrong one.
    func payWithChip(_ card: StoryCard) async throws {
        let pay = "ecard authorize --card \(card.id) --reader \"$reader\" --currency GHS --merchant 'Makola Books'"
        try await decide("\(pay) --amount 25.00 --code-fd 3 3<\(card.id).code", approved: true)
        try await decide("\(pay) --amount 12.50 --json --code-fd 3 3<\(card.id).code", approved: true)
        try await decide("\(pay) --amount 1.00 --code-fd 3 3<<<000", approved: false)
    }

    /// One payment with the right code, one with a wrong one.
    func payWithoutChip(_ card: StoryCard) async throws {
        let pay = """
            ecard authorize --card-not-present --currency GHS --merchant Kaneshie --expiry $(cat \(card.id).expiry) \
                --amount 3.00 --pan-fd 3 --code-fd 4 3<\(card.id).pan
            """
        try await decide("\(pay) 4<\(card.id).code", approved: true)
        try await decide("\(pay) 4<<<000", approved: false)
    }

    private func decide(_ script: String, approved: Bool) async throws {
        try await run(script, exits: approved ? 0 : 1)
        decided.withLock { if approved { $0.approved += 1 } else { $0.declined += 1 } }
    }

    /// What else the tool does with keys.
    func lookAround() async throws {
        try await run("ecard hsm speed --seconds 0.01", watch: .measuring)
        try await run(
            """
            set -e
            ecard hsm preflight; ecard hsm info; ecard hsm keys; ecard hsm rotate --status
            for transcript in $ECARD_HOME/ceremonies/*; do ecard hsm transcript verify $transcript; done
            ecard card list --json; ecard payment list --json; ecard ledger verify; ecard ledger list --limit 100
            """)
    }

    private static func readerIsEmpty() async throws {
        let deadline = ContinuousClock.now + .seconds(120)
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
