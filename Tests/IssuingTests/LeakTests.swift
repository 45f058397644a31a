import ByteCoding
import CardData
import ECardTesting
import EMV
import Foundation
@testable import Issuing
import KeyCustody
import Logging
import Messaging
import PaymentPorts
import PKCS11
import SmartCard
import Synchronization
import Testing
@testable import VirtualCard

/// A whole story with known secrets, and then a look into everything that it left behind.
///
/// Excepted by name: the chip's own state file, which is the card, and SoftHSM's token folder, which is the HSM.
@Suite("Nothing leaks") struct LeakTests {
    @Test("no secret is in the ledger, the log, the errors or the outbox, but for the code that was delivered")
    func story() async throws {
        let story = try await Story()
        try await story.run()
        let scan = try story.scan()
        #expect(scan.secrets.count == 4 + IssuerKey.allCases.count + 6)
        #expect(scan.selfTest() == [])

        let log = story.log.lines.joined(separator: "\n")
        #expect(story.log.lines.count > 100)
        #expect(scan.findings(in: log, place: "log") == [])
        #expect(story.errors.count > 15)
        #expect(scan.findings(in: story.errors.joined(separator: "\n"), place: "errors") == [])

        let inOutbox = try scan.findings(under: story.outboxFolder)
        #expect(Set(inOutbox.map(\.secret)) == ["delivered code"])
        let elsewhere = try scan.findings(under: story.issuer.folder.path) {
            $0.hasPrefix("outbox/") || $0.hasSuffix(".chip")
        }
        #expect(elsewhere == [])
        // The files were really looked at: what is no secret is found in them.
        var control = LeakScan()
        control.add(key: Array(TestIssuer.merchant.utf8), as: "merchant")
        #expect(try control.findings(under: story.issuer.folder.path).contains { $0.place.hasPrefix("ledger.sqlite") })
    }

    @Test("control: the same scan finds each secret where it may be, the chip's own file")
    func chipFile() async throws {
        let story = try await Story()
        try await story.run()
        let found = try story.scan().findings(under: story.issuer.folder.path) { !$0.hasSuffix(".chip") }
        #expect(Set(found.map(\.secret)).isSuperset(of: ["PAN", "card key AC", "card key SMI", "card key SMC"]))
        #expect(Set(found.map(\.secret)).isSuperset(of: ["K-ENC", "K-MAC", "K-DEK"]))
        #expect(found.allSatisfy { !$0.secret.hasPrefix("ecard.") })
    }

    @Test(
        "control: what a careless program would write is found",
        arguments: [
            "raw", "hexadecimal", "lower case", "base64", "base64 in a sentence", "decimal array",
        ])
    func planted(_ form: String) {
        let key: [UInt8] = [
            0x8B, 0x1D, 0x44, 0xE0, 0x37, 0x92, 0xFA, 0x5C, 0x10, 0x6E, 0xC9, 0x2F, 0xB3, 0x04, 0x71, 0xDD,
        ]
        var scan = LeakScan()
        scan.add(key: key, as: "key")
        let bytes: [UInt8] =
            switch form {
            case "raw": [1, 2, 3] + key + [4, 5]
            case "hexadecimal": Array("key=\(key.hex);".utf8)
            case "lower case": Array("key=\(key.hex.lowercased());".utf8)
            case "base64": Array(Data(key).base64EncodedString().utf8)
            case "base64 in a sentence":
                Array(Data(Array("the key ".utf8) + key + Array(" is it".utf8)).base64EncodedString().utf8)
            default: Array(key.map { String($0) }.joined(separator: ", ").utf8)
            }
        // A printed array of numbers is the one form the scan does not know: said here, so that nobody trusts it there.
        #expect(scan.findings(in: bytes, place: "text").isEmpty == (form == "decimal array"))
    }

    @Test("control: a PAN is found as text, packed, and packed from the middle of a byte")
    func plantedPAN() {
        var scan = LeakScan()
        scan.add(digits: "9936001234567896", as: "PAN")
        for text in ["\"pan\":\"9936001234567896\"", "3939333630303132333435363738393"] {
            #expect(scan.findings(in: text, place: "text").isEmpty == !text.contains("pan"))
        }
        for hex in ["0099360012345678960F", "0F99360012345678960D", "0099360012345678"] {
            let bytes = [UInt8](hex: hex) ?? []
            #expect(scan.findings(in: bytes, place: "bytes").isEmpty == (hex.utf8.count == 16))
            let shifted = [UInt8](hex: "0" + hex + "0") ?? []
            #expect(scan.findings(in: shifted, place: "bytes").isEmpty == (hex.utf8.count == 16))
        }
    }
}

/// An issuer with keys of known value, a chip card, payments that pass and payments that do not, and everything that
/// went wrong on purpose.
final class Story: Sendable {
    let token: TemporaryToken
    let issuer: TestIssuer
    let log = CapturedLog()
    let issuerKeys: [(IssuerKey, [UInt8])]
    private let notes = Mutex<(errors: [String], pan: String, codes: [String], chip: String)>(([], "", [], ""))

    var errors: [String] { notes.withLock { $0.errors } }
    var outboxFolder: String { issuer.folder.path + "/outbox" }

    init() async throws {
        token = try TemporaryToken()
        let keys = try token.open()
        var generator = SeededGenerator()
        let values = IssuerKey.allCases.map { ($0, generator.bytes($0.template(1).type.length)) }
        try keys.withSessionBlocking { session in
            for (key, value) in values { _ = try session.importSecret(key.template(1), value: SecretBytes(value)) }
        }
        issuerKeys = values
        issuer = try await TestIssuer(keys: keys)
    }

    /// Everything that must not be anywhere: PAN, two codes, the token's PIN, the issuer's keys, the chip's keys.
    func scan() throws -> LeakScan {
        let (pan, codes, chip) = notes.withLock { ($0.pan, $0.codes, $0.chip) }
        var scan = LeakScan()
        scan.add(digits: pan, as: "PAN")
        for (code, name) in zip(codes, ["first code", "delivered code"]) { scan.add(digits: code, as: name) }
        scan.add(digits: String(decoding: token.pin.exposedCopy(), as: UTF8.self), as: "token PIN")
        for (key, value) in issuerKeys { scan.add(key: value, as: key.label(1)) }
        let journal = try Journal.read(Array(try Data(contentsOf: URL(fileURLWithPath: chip))))
        var fault = ""
        let state = try #require(CardState(entries: journal.entries, fault: &fault), "\(fault)")
        let keySet = try #require(state.keySets.first)
        scan.add(key: keySet.encryption.exposedCopy(), as: "K-ENC")
        scan.add(key: keySet.mac.exposedCopy(), as: "K-MAC")
        scan.add(key: keySet.dataEncryption.exposedCopy(), as: "K-DEK")
        let cardKeys = try #require(state.instances.first { $0.memory.keys.count == 3 }).memory.keys
        for (key, name) in zip(cardKeys, ["AC", "SMI", "SMC"]) {
            scan.add(key: key.exposedCopy(), as: "card key \(name)")
        }
        return scan
    }

    func run() async throws {
        let chip = try issuer.chip(exposed: false)
        let record = try await issuer.card()
        let pan = try await issuer.cards.pan(of: record)
        try await issuer.personalizer.personalize(record, as: issuer.profile, over: masked(chip))
        // Eight digits: six would now and then stand in a time or an amount by chance.
        let first = try await issuer.codes.issue(record.id, .init(digits: 8, failureLimit: 5))
        let second = try await issuer.codes.rotate(record.id, .init(digits: 8, failureLimit: 5))
        let texts = [first.code, second.code].map { String(decoding: $0.exposedCopy(), as: UTF8.self) }
        notes.withLock { $0 = ([], pan.digits, texts, chip.path) }
        try await Outbox(folder: outboxFolder, clock: issuer.clock).deliver(
            OutgoingMessage(
                kind: .code, recipient: "+233201234567", body: "Your code: \(texts[1])", reference: "\(record.id)-2"))
        let card = TestCard(record: try await issuer.reload(record), pan: pan, code: second.code, chip: chip)
        try await pay(card, chip)
        try await goWrong(card, old: first.code, chip)
        _ = try await EMV.CardReader(WholeAnswers(masked(chip)), exposure: .masked).read()
        note("\(card.record) \(String(reflecting: card.record)) \(try issuer.request(card, code: card.code))")
    }

    private func masked(_ chip: VirtualChip) -> any CardChannel {
        MaskedLog(chip.channel, logger: log.logger)
    }

    private func pay(_ card: TestCard, _ chip: VirtualChip) async throws {
        var terminal = try issuer.terminal(masked(chip))
        guard case .online(let request) = try await terminal.begin(issuer.money(5_00)) else {
            throw TestFailure("the chip did not ask to go online")
        }
        note("\(request) \(String(reflecting: request))")
        let answer = try await issuer.authorizer().authorize(
            issuer.request(ChipEvidence(request), 5_00, code: card.code))
        #expect(answer.isApproved)
        let outcome = try await terminal.complete(IssuerResponse(answer))
        #expect(
            try await issuer.authorizer().confirm(answer, chipApproved: outcome.isApproved, capturesLater: false).state
                == .captured)
        try await issuer.approve(card, 5_00)
        note("\(answer) \(outcome)")
    }

    /// Everything that can be refused, with the real secrets in it.
    private func goWrong(_ card: TestCard, old: SecretBytes, _ chip: VirtualChip) async throws {
        let authorizer = issuer.authorizer()
        let wrong = try await authorizer.authorize(try issuer.request(card, code: old))
        #expect(!wrong.isApproved)
        note("\(wrong)")
        try await noteErrors(ofRequests: card, authorizer)
        let active = card.record
        await expectError {
            try await self.issuer.personalizer.personalize(active, as: self.issuer.profile, over: self.masked(chip))
        }
        await expectError { try await self.issuer.codes.issue(active.id, .init()) }
        await expectError { try await self.issuer.codes.unlock(active.id) }
        await expectError { try await self.issuer.ledger.add(active) }
        let sealed = active.panSealed
        await expectError {
            try await self.issuer.keys.withSession { try PANVault.open(sealed, for: .random(), keyVersion: 1, in: $0) }
        }
        await expectError {
            try await self.issuer.keys.withSession {
                try PANVault.open(sealed.dropLast(), for: active.id, keyVersion: 1, in: $0)
            }
        }
        let fresh = try await issuer.card()
        for number in [0, 1, 2, 3, 8, 12, 16, 20] {
            let channel = BreakingChannel(masked(try issuer.chip()), at: number, .before)
            let again = try await issuer.reload(fresh)
            await expectError {
                try await self.issuer.personalizer.personalize(again, as: self.issuer.profile, over: channel)
            }
        }
        // A token that this process is not logged in to: where it is, PKCS #11 takes any PIN for the right one.
        let other = try TemporaryToken()
        let pin = SecretBytes(token.pin.exposedCopy() + [0x30])
        await expectError { try PKCS11KeyStore(module: other.module, token: .label(other.label), pin: .given(pin)) }
        note("\(token.pin) \(String(reflecting: token)) \(issuer.keys.name)")
    }

    private func noteErrors(ofRequests card: TestCard, _ authorizer: Authorizer) async throws {
        var nothing = try issuer.request(card, code: card.code)
        nothing.amount = issuer.money(0)
        var nobody = try issuer.request(card, code: card.code)
        nobody.merchant = ""
        let key = UUID().uuidString
        _ = try await authorizer.authorize(try issuer.request(card, 1_00, code: card.code, key: key))
        let reused = try issuer.request(card, 2_00, code: card.code, key: key)
        for request in [nothing, nobody, reused] { await expectError { try await authorizer.authorize(request) } }
        let mistyped = String(card.pan.digits.dropLast()) + (card.pan.digits.last == "0" ? "1" : "0")
        await expectError { try PAN(mistyped) }
        await expectError { try PAN(card.pan.digits + "0000") }
        await expectError { try Track2([UInt8](hex: card.pan.digits) ?? []) }
    }

    private func expectError(
        location: SourceLocation = #_sourceLocation, _ body: () async throws -> some Any
    ) async {
        do {
            _ = try await body()
            Issue.record("an error was expected", sourceLocation: location)
        } catch {
            var dumped = ""
            dump(error, to: &dumped)
            note("\(error) \(String(reflecting: error)) \(error.localizedDescription) \(dumped)")
        }
    }

    private func note(_ text: String) { notes.withLock { $0.errors.append(text) } }
}

/// Every line of a log, whatever its level.
final class CapturedLog: Sendable {
    private let captured = Mutex<[String]>([])

    var lines: [String] { captured.withLock { $0 } }
    var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: CapturedLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            log.captured.withLock { $0.append("\(event.level) \(event.message) \(event.metadata ?? [:]) \(metadata)") }
        }
    }
}
