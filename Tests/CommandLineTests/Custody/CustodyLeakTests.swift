import ByteCoding
import CardData
import ECardTesting
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import PKCS11
import SmartCard
import Synchronization
import Testing

@testable import VirtualCard

/// The custody proof can fail: whoever leaks one key on purpose is caught, and nobody else is.
extension CustodyProofTests {
    @Test func everyLeakIsCaught() async throws {
        let story = try await CustodyStory()
        let oracle = try PythonOracle()
        let roots = try story.issuerKeys(oracle)
        var caught = 0
        for leak in CustodyLeak.allCases {
            let traces = try await LeakingIssue(story, leak, roots, oracle).run()
            let findings = try traces.findings(roots, oracle)
            for finding in findings.prefix(3) { print("  \(leak.rawValue): \(finding)") }
            #expect(findings.isEmpty == (leak == .none), "\(leak.rawValue): \(findings)")
            // A finding names the key and the place, and shows nothing of it.
            let shown = findings.joined(separator: " ")
            #expect(!traces.values.cardKeys.contains { shown.localizedCaseInsensitiveContains($0.hex.prefix(8)) })
            if leak != .none, findings.contains(where: leak.isDescribed) { caught += 1 }
        }
        let wanted = CustodyLeak.allCases.count - 1
        #expect(caught == wanted)
        print(
            "claim: leaks made on purpose, one at a time, that the same search catches where they are | \(caught) of \(wanted) | \(wanted) of \(wanted) | \(caught == wanted ? "holds" : "fails")"
        )
    }
}

extension CustodyLeak {
    /// Whether a finding is about this leak: the key and the place.
    fileprivate func isDescribed(_ finding: String) -> Bool {
        func says(_ words: String...) -> Bool { words.allSatisfy(finding.contains) }
        return switch self {
        case .none: false
        case .readable: says("the card AC", "C_GetAttributeValue >attribute.11")
        case .imported: says("the card AC", "C_CreateObject <template.11")
        case .encrypted: says("the card AC", "C_Encrypt >out")
        case .plainInChannel: says("the card AC", "inside the secure channel")
        case .plainCommand: says("the card SMC", "bytes 8–15", "command")
        case .log: says("the card AC", "with parity stripped, hexadecimal", "leaking.log")
        case .error: says("the card AC", "base64", "leaking.log")
        case .publicWrap: says("the card AC", "what opens under the public keys")
        case .strangersKey: says("ecard.kmc.1", "RSA key of no chip")
        }
    }
}

/// The product's own personalization of a blank chip, with one leak in it.
private struct LeakingIssue {
    struct Traces {
        let values: CustodyLeak.Values
        let recording: String
        let card: CustodyExamination.Card
        let log: [UInt8]

        /// All that the proof looks at, in words.
        func findings(_ roots: [String: [UInt8]], _ oracle: PythonOracle) throws -> [String] {
            let recording = try ModuleRecording(contentsOfFile: recording)
            let examination = try CustodyExamination(recording, cards: [card], roots: roots, oracle: oracle)
            let wrapped = examination.graph.wraps.map { (place: "C_WrapKey", bytes: $0.blob) }
            let found =
                examination.findings(in: recording.buffers) + examination.findings(in: examination.exchanged)
                + examination.findings(in: examination.opened) + examination.findings(in: [("leaking.log", log)])
                + (try examination.openedWithPublicKeys(wrapped + examination.exchanged + examination.opened))
            return found.map(\.description) + examination.strangers()
        }
    }

    let story: CustodyStory
    let leak: CustodyLeak
    let roots: [String: [UInt8]]
    let oracle: PythonOracle

    init(_ story: CustodyStory, _ leak: CustodyLeak, _ roots: [String: [UInt8]], _ oracle: PythonOracle) {
        self.story = story
        self.leak = leak
        self.roots = roots
        self.oracle = oracle
    }

    func run() async throws -> Traces {
        let made = try await story.card(exposed: false)
        let values = CustodyLeak.Values(
            masterKey: try #require(roots["ecard.imk-ac.1"]),
            cardKeys: try ["ac", "smi", "smc"].map { name in
                let master = try #require(roots["ecard.imk-\(name).1"]).hex
                return try #require([UInt8](hex: try oracle.call("option_a", [[master, made.pan, "01"]])[0]))
            })
        let recording = "\(story.folder)/\(made.id).recording"
        let log = Mutex<[UInt8]>([])
        try FaultyModule.plan(leak == .readable ? "C_DeriveKey leak mechanism 0x1102" : "")
        try FaultyModule.record(to: recording)
        let chip = try VirtualChip(open: made.chip)
        let recorder = Recorder(chip.channel)
        try await personalize(made.id, values, over: recorder) { line in log.withLock { $0 += Array((line + "\n").utf8) } }
        try FaultyModule.record(to: nil)
        try FaultyModule.plan("")
        let exchanges = recorder.recording.exchanges.compactMap { exchange in
            (try? exchange.outcome.get()).map { (command: exchange.command, answer: $0) }
        }
        return Traces(
            values: values, recording: recording,
            card: CustodyExamination.Card(
                name: "the card", pan: made.pan, diversificationData: chip.keyDiversificationData, keyVersion: 1,
                manufacturingKey: nil, exchanges: exchanges),
            log: log.withLock { $0 })
    }

    private func personalize(
        _ id: String, _ values: CustodyLeak.Values, over channel: any CardChannel,
        log: @escaping @Sendable (String) -> Void
    ) async throws {
        let store = try PKCS11KeyStore(
            module: PKCS11Module.load(FaultyModule.path()), token: .label(story.token.label),
            pin: .given(story.token.pin))
        let ledger = try LedgerDatabase(
            path: story.home + "/ledger.sqlite", sealer: AuditKeySealer(store), create: false)
        let card = try #require(try await ledger.card(CardID(rawValue: id)))
        let file = story.home + "/profiles/classic.yaml"
        let profile = try CardProfile(yaml: String(contentsOfFile: file, encoding: .utf8), file: file)
        let leaking = LeakingKeyStore(store, leak, values, log: log)
        let way: any CardChannel =
            leak == .plainCommand ? LeakingChannel(channel, piece: Array(values.cardKeys[2].suffix(8))) : channel
        do {
            try await Personalizer(keys: leaking, cards: ledger, time: StoppedClock()).personalize(card, as: profile, over: way)
        } catch where leak != .none {
            // A chip that gets other bytes than it was promised refuses them: the key has leaked all the same.
        }
        try ledger.close()
    }
}

private struct StoppedClock: TimeSource {
    func now() -> Timestamp { Timestamp(milliseconds: 1_767_323_045_000) }
}
