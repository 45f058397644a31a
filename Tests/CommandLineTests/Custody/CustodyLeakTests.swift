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
        let oracle = try PythonOracle()
        try await checkEachLeak(oracle)
        try await checkTheTool(oracle)
        try await checkOtherWork(oracle)
    }

    /// The tool itself, with a token that hands out what it was not asked for: both who listen hear it.
    private func checkTheTool(_ oracle: PythonOracle) async throws {
        let story = try await CustodyStory()
        let card = try await story.issue(exposed: true, plan: "C_DeriveKey leak mechanism 0x1102")
        let recording = try ModuleRecording(contentsOfFile: story.recordingPath())
        let examination = try CustodyExamination(
            recording, cards: [try CustodyExamination.Card(card, "the card")], roots: try story.issuerKeys(oracle),
            oracle: oracle)
        let log = String(decoding: try Data(contentsOf: URL(fileURLWithPath: story.spyLogPath())), as: UTF8.self)
        let heard = [recording.buffers, SpyLog.buffers(log)].map { buffers in
            Set(examination.findings(in: buffers).map(\.secret))
        }
        let wanted: Set = ["the card AC", "the card SMI", "the card SMC"]
        #expect(heard.allSatisfy { $0 == wanted })
        let count = heard.count { $0 == wanted }
        claim(
            "recordings (our module's, pkcs11-spy's) that show card keys read out under the tool", "\(count)", "2",
            holds: count == 2)
    }

    /// The same where many cards are made, keys replaced and brought, and codes given: by a token that hands out what it
    /// was not asked for, and by people who type a secret in the wrong place.
    private func checkOtherWork(_ oracle: PythonOracle) async throws {
        let story = try await CustodyStory()
        let cards = try await story.issueBatch(rows: 1, plan: "C_DeriveKey leak mechanism 0x1102")
        let code = story.text("\(cards[0].id).code")
        // The tool looks at what it got, and refuses it. The key has leaked all the same.
        try await story.run("ecard hsm rotate imk-smi --yes", plan: "C_GenerateKey leak", exits: 2)
        let ceremony = try await story.importKey("imk-ac", custodian: "$(cat imk-ac.component1)", oracle)
        try await story.run("ecard account deposit $account --amount 1 --idempotency-key $(cat \(cards[0].id).code)")
        let proof = try CustodyProof(story, cards, [ceremony], oracle)
        var codes = LeakScan()
        codes.add(digits: code, as: "the code")
        let files = try proof.files()
        let findings = [proof.recording.buffers, files].flatMap {
            proof.examination.findings(in: $0) + codes.findings(inBuffers: $0)
        }
        .map(\.description)
        let leaks = [
            "card 1 AC, bytes 0–7 raw, in C_GetAttributeValue >attribute.11",
            "ecard.imk-smi.2, bytes 0–7 raw, in C_GetAttributeValue >attribute.11",
            "component 1 of imk-ac, bytes 0–7 raw, hexadecimal, in ceremonies/",
            "the code, ASCII, in ledger.sqlite",
        ]
        let caught = leaks.filter { leak in findings.contains { $0.hasPrefix(leak) } }
        #expect(caught == leaks, "\(findings)")
        #expect(!findings.contains { $0.contains("ecard.imk-ac") || $0.contains("component 2") }, "\(findings)")
        claim(
            "leaks made on purpose in a batch, a rotation, a ceremony and a booking that it catches",
            "\(caught.count) of \(leaks.count)", "\(leaks.count) of \(leaks.count)", holds: caught == leaks)
    }

    private func checkEachLeak(_ oracle: PythonOracle) async throws {
        let issuer = try await LeakingIssuer(oracle)
        var caught = 0
        for leak in CustodyLeak.allCases {
            let traces = try await issuer.personalize(leak)
            let findings = try traces.findings(issuer.roots, oracle)
            for finding in findings.prefix(3) { print("  \(leak.rawValue): \(finding)") }
            #expect(findings.isEmpty == (leak == .none), "\(leak.rawValue): \(findings)")
            // A finding names the key and the place, and shows nothing of it.
            let shown = findings.joined(separator: " ")
            #expect(!traces.values.cardKeys.contains { shown.localizedCaseInsensitiveContains($0.hex.prefix(8)) })
            if leak != .none, findings.contains(where: leak.isDescribed) { caught += 1 }
        }
        let wanted = CustodyLeak.allCases.count - 1
        #expect(caught == wanted)
        claim(
            "leaks made on purpose, one at a time, that the same search catches where they are",
            "\(caught) of \(wanted)", "\(wanted) of \(wanted)", holds: caught == wanted)
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

/// What a leaking program leaves behind.
private struct LeakTraces {
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

/// The product's own personalization of blank chips, with a leak in it: on a token of this process, with a module of its
/// own.
private struct LeakingIssuer {
    let roots: [String: [UInt8]]
    private let oracle: PythonOracle
    private let folder: String
    private let module: FaultyModule
    private let token: TemporaryToken
    private let account = AccountID.random()
    private let profile: CardProfile
    private let clock = StoppedClock()

    init(_ oracle: PythonOracle) async throws {
        self.oracle = oracle
        folder = try Issuer.temporaryFolder()
        module = try FaultyModule(copiedTo: folder)
        token = try TemporaryToken(modulePath: module.path)
        let file = Shell.package + "/cards/classic.yaml"
        profile = try CardProfile(yaml: String(contentsOfFile: file, encoding: .utf8), file: file)
        let keys = try token.open()
        try keys.withSessionBlocking { session in _ = try IssuerKey.createMissing(in: session) }
        roots = try oracle.softHSMKeys(
            in: TemporaryToken.sharedFolder() + "/tokens", of: token.label,
            pin: String(decoding: token.pin.exposedCopy(), as: UTF8.self))
        let ledger = try LedgerDatabase(path: folder + "/ledger.sqlite", sealer: AuditKeySealer(keys), create: true)
        let customer = CustomerID.random()
        try await ledger.add(
            Customer(
                id: customer, name: try CardholderName("Kofi Boateng"), phone: "+233201234567", email: nil,
                createdAt: clock.now()))
        try await ledger.open(account, for: customer, currency: try Currency("GHS"), at: clock.now())
        try ledger.close()
    }

    /// Makes a card and personalizes it, recorded.
    func personalize(_ leak: CustodyLeak) async throws -> LeakTraces {
        let recording = "\(folder)/\(leak).recording"
        let log = Mutex<[UInt8]>([])
        // Opened anew for each: what is recorded begins with the login.
        try module.plan(leak == .readable ? "C_DeriveKey leak mechanism 0x1102" : "")
        try module.record(to: recording)
        let keys = try token.open()
        let ledger = try LedgerDatabase(path: folder + "/ledger.sqlite", sealer: AuditKeySealer(keys), create: false)
        let office = CardOffice(keys: keys, cards: ledger, time: clock)
        let card = try await office.create(
            for: account, name: CardholderName("Kofi Boateng"), profile: profile, isExposed: false)
        let pan = try await office.pan(of: card).digits
        let values = try values(pan)
        let leaking = LeakingKeyStore(keys, leak, values) { line in log.withLock { $0 += Array((line + "\n").utf8) } }
        let chip = try VirtualChip.manufacture(at: "\(folder)/\(leak).chip", exposed: false)
        let recorder = Recorder(chip.channel)
        let way: any CardChannel =
            leak == .plainCommand ? LeakingChannel(recorder, piece: Array(values.cardKeys[2].suffix(8))) : recorder
        do {
            try await Personalizer(keys: leaking, cards: ledger, time: clock).personalize(card, as: profile, over: way)
        } catch  where leak != .none {
            // A chip that gets other bytes than it was promised refuses them: the key has leaked all the same.
        }
        try ledger.close()
        try module.record(to: nil)
        try module.plan("")
        let exchanges = recorder.recording.exchanges.compactMap { exchange in
            (try? exchange.outcome.get()).map { (command: exchange.command, answer: $0) }
        }
        return LeakTraces(
            values: values, recording: recording,
            card: CustodyExamination.Card(
                name: "the card", pan: pan, diversificationData: chip.keyDiversificationData, keyVersion: 1,
                manufacturingKey: nil, exchanges: exchanges),
            log: log.withLock { $0 })
    }

    private func values(_ pan: String) throws -> CustodyLeak.Values {
        CustodyLeak.Values(
            masterKey: try #require(roots["ecard.imk-ac.1"]),
            cardKeys: try ["ac", "smi", "smc"].map { name in
                let master = try #require(roots["ecard.imk-\(name).1"]).hex
                return try #require([UInt8](hex: try oracle.call("option_a", [[master, pan, "01"]])[0]))
            })
    }
}

private struct StoppedClock: TimeSource {
    func now() -> Timestamp { Timestamp(milliseconds: 1_767_323_045_000) }
}
