import ByteCoding
import ECardTesting
import Foundation
import Testing

/// What else must not be seen: keys on their way in, keys that a measurement makes, and the holders' codes.
extension CustodyProof {
    /// A recording without a parameter that could not be followed.
    private func whole(_ watch: CustodyStory.Watch) throws -> ModuleRecording {
        let recording = try ModuleRecording(contentsOfFile: story.recordingPath(watch))
        #expect(recording.calls.allSatisfy { $0.number("unread") == nil }, "\(watch)")
        return recording
    }

    // MARK: Ceremonies

    /// A component leaves the token's generator by `C_GenerateRandom`; it and the key that it is of come in by
    /// `C_CreateObject`. They are seen there, while the ceremony lasts, and nowhere else. That none is anywhere in the evidence of all other work, ``search()`` has shown.
    func checkCeremonies() throws {
        let ceremony = try whole(.ceremonies)
        let spy = SpyLog.calls(try spyLog(.ceremonies))
        func isOnItsWay(_ place: String) -> Bool {
            place.hasPrefix("C_CreateObject <template.11,") || place.hasPrefix("C_GenerateRandom >out,")
        }
        func carries(_ call: (function: String, text: String)) -> Bool {
            ["C_CreateObject", "C_GenerateRandom"].contains(call.function)
        }
        let way = ceremony.buffers.filter { isOnItsWay($0.place) }
        let rest = ceremony.buffers.filter { !isOnItsWay($0.place) }
        let spyWay = spy.filter(carries).flatMap { SpyLog.buffers($0.text) }
        let spyRest = spy.filter { !carries($0) }.flatMap {
            SpyLog.buffers($0.text) + [($0.function, Array($0.text.utf8))]
        }
        let expected = Set(
            ceremonies.flatMap { $0.namedComponents.map(\.name) }
                + examination.roots.keys.filter { label in ceremonies.contains { $0.hasMade(label) } })
        for (name, way, rest) in [("PKCS#11 buffers", way, rest), ("the log of pkcs11-spy", spyWay, spyRest)] {
            let seen = Set(examination.findings(in: way).map(\.secret))
            #expect(seen == expected, "\(name)")
            claim(
                "components and keys of \(ceremonies.count) ceremonies on their way (C_GenerateRandom, C_CreateObject) in \(name)",
                "\(seen.count)", "\(expected.count)", holds: seen == expected)
            look(
                "components and keys", in: "\(name) of ceremonies, but for those two calls", rest,
                with: examination.scan
            )
        }
    }

    // MARK: Measuring

    /// `hsm speed` derives keys for cards that do not exist: they are as secret, since master keys made them.
    func checkMeasuring(_ oracle: PythonOracle) throws {
        let measuring = try whole(.measuring)
        let graph = try KeyGraph(measuring, roots: examination.roots, oracle: oracle)
        #expect(graph.unrooted == 0 && graph.derivations > 100)
        var scan = examination.scan
        for (index, key) in graph.derived.enumerated() { scan.add(key: key.value, as: "\(index) from \(key.root)") }
        let keys = "\(graph.derived.count) keys that it derived"
        look("keys", in: "PKCS#11 buffers of 'hsm speed', the \(keys) among them", measuring.buffers, with: scan)
        look("keys", in: "the log of pkcs11-spy of it", SpyLog.buffers(try spyLog(.measuring)), with: scan)
        checkAgreements(graph, measuring)
    }

    /// What the token agrees on with a sender is given out: each secret once, as the value of the object that it was made as.
    private func checkAgreements(_ graph: KeyGraph, _ measuring: ModuleRecording) {
        var scan = LeakScan()
        for (index, secret) in graph.agreed.enumerated() { scan.add(key: secret.value, as: "secret \(index + 1)") }
        func isOnItsWay(_ place: String) -> Bool { place.hasPrefix("C_GetAttributeValue >attribute.11,") }
        let way = measuring.buffers.filter { isOnItsWay($0.place) }
        let seen = Set(scan.findings(inBuffers: way).map(\.secret)).count
        #expect(seen == graph.agreed.count && seen > 0)
        claim(
            "secrets of agreements seen in C_GetAttributeValue, as designed", "\(seen)", "\(graph.agreed.count)",
            holds: seen == graph.agreed.count)
        look(
            "secrets of agreements", in: "all other PKCS#11 buffers of 'hsm speed'",
            measuring.buffers.filter { !isOnItsWay($0.place) }, with: scan)
    }

    // MARK: Codes

    /// A holder's code goes to the token to be hashed, and to be sealed and opened again for its letter; it stands in the
    /// letter, and nowhere else.
    func checkCodes() throws {
        var scan = LeakScan()
        // Whoever got two letters had two codes.
        let letters = try Letter.all(in: story.folder + "/letters")
        let others = cards.filter { !$0.isBatch }.map { story.text("\($0.id).code") }
        for code in letters.map(\.code) + others { scan.add(digits: code, as: "code \(scan.secrets.count + 1)") }
        #expect(scan.selfTest() == [])
        #expect(letters.count == cards.count(where: \.isBatch) + 1 && scan.secrets.count == cards.count + 1)
        var rest = recording.calls.enumerated().flatMap { index, call in
            call.buffers.map { Passed(key: examination.graph.uses[index], function: call.function, buffer: $0) }
        }
        for (key, function, buffer) in [
            ("code", "C_Sign", "<in"), ("code", "C_Verify", "<in"),
            ("delivery", "C_Encrypt", "<in"), ("delivery", "C_Decrypt", ">out"),
        ] {
            let way = rest.filter { $0.went(by: function, buffer, under: key) }
            rest.removeAll { $0.went(by: function, buffer, under: key) }
            let seen = Set(scan.findings(inBuffers: way.map(\.named)).map(\.secret)).count
            let expected = key == "code" ? scan.secrets.count : letters.count
            #expect(seen == expected, "\(function) under \(key)")
            claim(
                "codes seen in \(function) under the \(key) key, as designed", "\(seen)", "\(expected)",
                holds: seen == expected)
        }
        look("codes", in: "all other PKCS#11 buffers", rest.map(\.named), with: scan)
        look(
            "codes", in: "what went to the chips and came back", examination.exchanged + examination.opened, with: scan)
        look("codes", in: "what the tool printed and logged", story.outputs, with: scan)
        look("codes", in: "files of the state folder", try files(), with: scan)
        let wrong = letters.enumerated().count { index, letter in
            Set(scan.findings(in: letter.text, place: letter.name).map(\.secret)) != ["code \(index + 1)"]
        }
        claim(
            "letters that have another code than their own, or none", "\(wrong) of \(letters.count)", "0",
            holds: wrong == 0)
        #expect(wrong == 0)
    }
}

/// A buffer that crossed the PKCS #11 boundary.
private struct Passed {
    /// The label of the key that it was enciphered, deciphered, signed or verified with.
    let key: String?
    let function: String
    let buffer: (name: String, bytes: [UInt8])

    var named: (place: String, bytes: [UInt8]) { ("\(function) \(buffer.name) \(key ?? "")", buffer.bytes) }

    func went(by function: String, _ name: String, under key: String) -> Bool {
        self.function == function && buffer.name == name && self.key?.hasPrefix("ecard.\(key).") == true
    }
}

/// What was printed for a holder.
private struct Letter {
    let name: String
    let text: String
    let code: String

    static func all(in folder: String) throws -> [Letter] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map { name in
            let text = try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
            let match = try #require(text.firstMatch(of: /Your secret code:\s+((?:\d ){8})/), "\(name)")
            return Letter(name: name, text: text, code: match.output.1.filter { $0 != " " })
        }
    }
}

extension CustodyStory.Ceremony {
    var namedComponents: [(name: String, value: [UInt8])] {
        components.enumerated().map { ("component \($0 + 1) of \(key)", $1) }
    }

    /// Whether this ceremony made the object with that label: its key's next version, and of a CVK both halves.
    func hasMade(_ label: String) -> Bool {
        key == "cvk" ? ["ecard.cvk.1", "ecard.cvk-left.1"].contains(label) : label == "ecard.\(key).2"
    }
}
