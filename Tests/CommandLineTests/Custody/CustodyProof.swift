import ByteCoding
import ECardTesting
import Foundation
import PaymentPorts
import Testing

@testable import VirtualCard

/// A line of `docs/claims.md`; without `holds` a figure that nothing is promised of.
func claim(_ statement: String, _ measured: String, _ target: String = "", holds: Bool? = nil) {
    print("claim: \(statement) | \(measured) | \(target) | \(holds.map { $0 ? "holds" : "fails" } ?? "info")")
}

/// The story's evidence, and what is claimed of it.
struct CustodyProof {
    let story: CustodyStory
    let cards: [CustodyStory.StoryCard]
    let ceremonies: [CustodyStory.Ceremony]
    let recording: ModuleRecording
    let examination: CustodyExamination

    init(
        _ story: CustodyStory, _ cards: [CustodyStory.StoryCard], _ ceremonies: [CustodyStory.Ceremony],
        _ oracle: PythonOracle
    ) throws {
        self.story = story
        self.cards = cards
        self.ceremonies = ceremonies
        recording = try ModuleRecording(contentsOfFile: story.recordingPath())
        examination = try CustodyExamination(
            recording, cards: cards.enumerated().map { try CustodyExamination.Card($1, "card \($0 + 1)") },
            roots: try story.issuerKeys(oracle), components: ceremonies.flatMap(\.namedComponents), oracle: oracle)
    }

    // MARK: The keys are the real ones

    /// What was computed outside is what the token uses: its check values, and the keys in the chips, agree.
    func checkKeys() throws {
        checkRoots()
        #expect(examination.scan.selfTest() == [])
        for (card, name) in zip(cards, examination.cards.map(\.name)) {
            let state = try CustodyStory.state(of: card.chip)
            let keySet = try #require(state.keySets.first)
            let inChip =
                [keySet.encryption, keySet.mac, keySet.dataEncryption].map { $0.exposedCopy() }
                + (try #require(state.instances.first { $0.memory.keys.count == 3 })).memory.keys.map {
                    $0.exposedCopy()
                }
            for (suffix, key) in zip(["K-ENC", "K-MAC", "K-DEK", "AC", "SMI", "SMC"], inChip) {
                let computed = try #require(examination.secrets.first { $0.name == "\(name) \(suffix)" }).value
                #expect(
                    CustodyExamination.withoutParity(computed) == CustodyExamination.withoutParity(key),
                    "\(name) \(suffix)")
            }
        }
        // Both ways: what is computed by the book was derived in the token, and no more was derived there.
        #expect(examination.secrets.allSatisfy { !$0.name.contains("derived from") })
        let derived = Set(examination.graph.derived.map { CustodyExamination.withoutParity($0.value) })
        for secret in examination.secrets
        where secret.name.contains(" session key ") || secret.name == "CVK of ecard.cvk-seed.1" {
            #expect(derived.contains(CustodyExamination.withoutParity(secret.value)), "\(secret.name) was not used")
        }
        claim(
            "keys searched for, computed by other software: issuer, card, session and card manager keys",
            "\(examination.secrets.count) keys in \(LeakScan.keyForms) forms")
        claim(
            "derivations in the token, each computed again outside",
            "\(examination.graph.derivations) of \(examination.graph.derivations + examination.graph.unrooted)", "all",
            holds: examination.graph.unrooted == 0)
        #expect(examination.graph.unrooted == 0)
    }

    /// Every key was made, and then replaced; those that ceremonies brought are what their components say.
    private func checkRoots() {
        let roots = examination.roots
        let brought = ceremonies.map { "ecard.\($0.key)." }
        for key in IssuerKey.allCases {
            let versions = roots.keys.filter { $0.hasPrefix("ecard.\(key.rawValue).") }
            let imports = brought.count { $0 == "ecard.\(key.rawValue)." }
            #expect(versions.count == 2 + imports, "\(key): \(versions)")
        }
        #expect(roots.count == 2 * IssuerKey.allCases.count + ceremonies.count + 1, "a CVK is two objects")
        for ceremony in ceremonies {
            let values = roots.filter { $0.key.hasPrefix("ecard.\(ceremony.key).") }.map(\.value)
            let whole = CustodyExamination.withoutParity(ceremony.whole)
            #expect(values.contains { CustodyExamination.withoutParity($0).starts(with: whole) }, "\(ceremony.key)")
        }
        claim(
            "issuer keys under watch: made by init, brought by ceremonies, made by rotation",
            "\(IssuerKey.allCases.count), \(ceremonies.count), \(IssuerKey.allCases.count)")
    }

    // MARK: The search sees

    /// What should be in the evidence is: so what is not found is not there.
    func checkThatTheSearchSees() throws {
        #expect(recording.calls.allSatisfy { $0.number("unread") == nil }, "a mechanism's parameter was not followed")
        let functions = Set(recording.calls.map(\.function))
        #expect(
            functions.isSuperset(of: [
                "C_GenerateKey", "C_DeriveKey", "C_WrapKey", "C_CreateObject", "C_CopyObject", "C_GetAttributeValue",
                "C_Encrypt", "C_Decrypt", "C_Sign", "C_Verify", "C_GenerateRandom", "C_Login",
            ]))
        #expect(cards.allSatisfy { !$0.exchanges.isEmpty }, "a card whose commands nobody heard")
        var control = LeakScan()
        for (index, cryptogram) in examination.cryptograms.enumerated() {
            control.add(key: cryptogram, as: "ARQC \(index + 1)")
        }
        for (index, wrap) in examination.graph.wraps.enumerated() {
            control.add(key: wrap.blob, as: "wrapped \(index)")
        }
        for card in cards {
            let y = try #require([UInt8](hex: card.pan.dropFirst(2) + "01"))
            control.add(key: y + y.map { $0 ^ 0xFF }, as: "derivation data of \(card.id)")
        }
        #expect(examination.cryptograms.count == 3 * (cards.count { !$0.isBatch } + 1), "one pays once more")
        #expect(!examination.graph.wraps.isEmpty)
        func seen(_ buffers: CustodyExamination.Buffers) -> Set<String> {
            Set(control.findings(inBuffers: buffers).map(\.secret))
        }
        #expect(seen(recording.buffers) == Set(control.secrets), "what crosses PKCS#11, nested parameters included")
        let outside = Set(control.secrets.filter { !$0.hasPrefix("derivation") })
        #expect(seen(SpyLog.buffers(try spyLog())).isSuperset(of: outside), "the spy follows no nested parameters")
        // Card keys go into the chip wrapped, inside the secure channel: there, and only there, are they seen.
        #expect(seen(examination.exchanged + examination.opened).isSuperset(of: outside))
        let wrapped = outside.filter { $0.hasPrefix("wrapped") }
        #expect(seen(examination.opened).isSubset(of: wrapped) && !seen(examination.opened).isEmpty)
        let batch = cards.count(where: \.isBatch)
        claim(
            "cards personalized under watch, through pcscd, one of them exposed, \(batch) from a batch",
            "\(cards.count)")
        let payments = story.payments
        claim(
            "payments decided under watch, with the chip and without, before and after the rotation of every key",
            "\(payments.approved) approved, \(payments.declined) declined")
    }

    func spyLog(_ watch: CustodyStory.Watch = .work) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: story.spyLogPath(watch))), as: UTF8.self)
    }

    // MARK: The search

    func search() throws {
        let log = try spyLog()
        let functions = Set(recording.calls.map(\.function)).count
        try look(
            "PKCS#11 buffers, nested parameters included (\(recording.calls.count) calls of \(functions) functions)",
            recording.buffers)
        try look("buffers in the log of OpenSC's pkcs11-spy", SpyLog.buffers(log))
        try look("the text of that log", [("spy.log", Array(log.utf8))])
        try look("commands and answers of the chips", examination.exchanged)
        try look("the plain text inside the secure channels", examination.opened)
        try look("what the tool printed and logged", story.outputs)
        try look("files of the state folder, but for the chips, and of the token", try files())
    }

    private func look(_ source: String, _ buffers: CustodyExamination.Buffers) throws {
        look("keys", in: source, buffers, with: examination.scan)
    }

    func look(
        _ what: String, in source: String, _ buffers: CustodyExamination.Buffers, with scan: LeakScan
    ) {
        let found = scan.findings(inBuffers: buffers)
        #expect(found == [], "\(what) in \(source)")
        let bytes = buffers.reduce(0) { $0 + $1.bytes.count }
        #expect(bytes > 0, "\(source)")
        claim(
            "\(what) found in \(source): \(buffers.count) buffers, \(bytes) bytes", "\(found.count)", "0",
            holds: found.isEmpty)
    }

    /// The chips' own files are not among them: they are the chips. The token's are, which SoftHSM encrypts.
    func files() throws -> CustodyExamination.Buffers {
        var buffers: CustodyExamination.Buffers = []
        let names = FileManager.default.enumerator(atPath: story.home)?.allObjects as? [String] ?? []
        for name in names where !name.hasSuffix(".chip") {
            var isFolder: ObjCBool = false
            let path = "\(story.home)/\(name)"
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue else {
                continue
            }
            buffers.append((name, Array(try Data(contentsOf: URL(fileURLWithPath: path)))))
        }
        return buffers
    }

    // MARK: Wrapped keys

    /// Card manager keys are wrapped to the chips' own RSA keys, card keys under K-DEKs: nothing that anybody else opens,
    /// but for the card that began with public keys, of which that is said.
    func checkWrappedKeys() throws {
        let exposed = examination.cards.filter { $0.keyVersion == 2 }.map(\.name)
        let seen = examination.graph.wraps.map { ("C_WrapKey", $0.blob) } + examination.exchanged + examination.opened
        let opened = Set(try examination.openedWithPublicKeys(seen).map(\.secret))
        let others = opened.filter { name in !exposed.contains { name.hasPrefix($0) } }
        claim(
            "keys that somebody opens who saw everything and knows the public keys 40..4F, but for the exposed card's",
            "\(others.count)", "0", holds: others.isEmpty)
        #expect(others == [])
        let expected = exposed.flatMap { name in
            ["K-ENC", "K-MAC", "K-DEK", "AC", "SMI", "SMC"].map { "\(name) \($0)" }
        }
        claim(
            "keys of the exposed card that he opens (its card manager keys, and with them its card keys)",
            "\(opened.count - others.count)", "\(expected.count)", holds: opened == Set(expected))
        #expect(opened == Set(expected))
        let strangers = examination.strangers()
        // Exposed cards are made before the keys are replaced.
        let underPublic = exposed.map { _ in "a key from ecard.kmc.1 under the public keys 40..4F" }
        #expect(strangers == underPublic.flatMap { [$0, $0, $0] })
        claim(
            "wrapped keys under neither a chip's own RSA key nor a K-DEK, but for the exposed card's",
            "\(strangers.count - 3 * exposed.count) of \(examination.graph.wraps.count)", "0",
            holds: strangers.count == 3 * exposed.count)
    }

    /// A chip's file has its own card's keys, no other card's and none of the issuer's.
    func checkChips() throws {
        for (card, name) in zip(cards, examination.cards.map(\.name)) {
            let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: card.chip)))
            let found = Set(examination.findings(in: [("chip", bytes)]).map(\.secret))
            #expect(found == Set(["AC", "SMI", "SMC", "K-ENC", "K-MAC", "K-DEK"].map { "\(name) \($0)" }))
        }
    }
}
