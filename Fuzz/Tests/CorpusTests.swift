import EMV
import Foundation
import SmartCard
import Testing

/// Runs the committed inputs through what must hold of them: the corpus, which the fuzzer begins from, and the inputs that
/// once broke something.
@Suite struct CorpusTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()

    static func inputs(_ kind: String, of target: FuzzTarget) -> [URL] {
        let all = try? FileManager.default.contentsOfDirectory(
            at: folder.appendingPathComponent("\(kind)/\(target.name)"), includingPropertiesForKeys: nil)
        return (all ?? []).sorted { $0.path < $1.path }
    }

    @Test("The corpus keeps every property", arguments: FuzzTarget.all.map(\.name))
    func corpus(name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let inputs = Self.inputs("Corpus", of: target)
        try #require(!inputs.isEmpty, "Fuzz/Corpus/\(name) is empty or gone")
        for input in inputs { Self.check(target, input) }
    }

    @Test("What the fuzzer found stays mended", arguments: FuzzTarget.all.map(\.name))
    func finds(name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        for input in Self.inputs("Finds", of: target) { Self.check(target, input) }
    }

    private static func check(_ target: FuzzTarget, _ input: URL) {
        do {
            let bytes = Array(try Data(contentsOf: input))
            #expect(bytes.count <= target.limit, "\(input.path) is longer than the target's inputs")
            try target.check(bytes)
        } catch {
            Issue.record("\(input.lastPathComponent) of \(target.name): \(error)")
        }
    }

    @Test("A property that does not hold is told by its name")
    func violation() throws {
        let target = FuzzTarget("never") { bytes in try require(bytes.isEmpty, "\(bytes.count) bytes") }
        try target.check([])
        let error = #expect(throws: Violation.self) { try target.check([1, 2]) }
        #expect(error?.description == "2 bytes")
    }

    @Test("The targets begin from what works: a card that is approved, a chip that gives a cryptogram")
    func honest() throws {
        let response = IssuerResponse(responseCode: "00", issuerAuthenticationData: hex("1122334400800000"))
        let card = HostileCard(ByteReader([]), isCycle: false)
        let outcome = try inline { try await FuzzTarget.pay(with: card, response) }
        #expect(outcome.decision == .approved)

        let dialogue = try ChipDialogue(template: 1)
        try dialogue.send(CommandAPDU(0x00, 0xA4, 0x04, 0x00, SampleCard.paymentAID.bytes, le: 256))
        try dialogue.send(CommandAPDU(0x80, 0xA8, 0x00, 0x00, hex("8300"), le: 256))
        let list = SampleCard.terminalData(amount: [0, 0, 0, 0, 0x25, 0])
        let answer = try dialogue.send(CommandAPDU(0x80, 0xAE, 0x80, 0x00, list, le: 256))
        #expect(answer.status.isOK && answer.data.count > 8)
    }

    @Test("Folders of inputs have targets")
    func folders() throws {
        let names = Set(FuzzTarget.all.map(\.name))
        for kind in ["Corpus", "Finds", "Dictionaries"] {
            let folders = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path + "/" + kind)
            let known = kind == "Dictionaries" ? Set(names.map { $0 + ".dict" }) : names
            #expect(Set(folders).isSubset(of: known), "Fuzz/\(kind) has folders of no target")
        }
    }
}
