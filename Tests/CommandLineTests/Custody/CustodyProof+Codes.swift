import ByteCoding
import ECardTesting
import Foundation
import Testing

/// What else must not be seen: keys on their way in, keys that a measurement makes, and the holders' codes.
extension CustodyProof {
    // MARK: Ceremonies

    /// A component leaves the token's generator by `C_GenerateRandom`; it and the key that it is of come in by
    /// `C_CreateObject`. They are seen there, while the ceremony lasts, and nowhere else. That none is anywhere in the evidence of all other work, ``search()`` has shown.
    func checkCeremonies() throws {
        let ceremony = try ModuleRecording(contentsOfFile: story.recordingPath(.ceremonies))
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
        let measuring = try ModuleRecording(contentsOfFile: story.recordingPath(.measuring))
        let graph = try KeyGraph(measuring, roots: examination.roots, oracle: oracle)
        #expect(graph.unrooted == 0 && graph.derivations > 100)
        var scan = examination.scan
        for (index, key) in graph.derived.enumerated() { scan.add(key: key.value, as: "\(index) from \(key.root)") }
        let keys = "\(graph.derived.count) keys that it derived"
        look("keys", in: "PKCS#11 buffers of 'hsm speed', the \(keys) among them", measuring.buffers, with: scan)
        look("keys", in: "the log of pkcs11-spy of it", SpyLog.buffers(try spyLog(.measuring)), with: scan)
    }

    // MARK: Codes

    /// A holder's code goes to the token to be hashed, and to be sealed and opened again for its letter; it stands in the
    /// letter, and nowhere else.
    func checkCodes() throws {
        var scan = LeakScan()
        // Those of the batch had two: the letters have both.
        let letters = try Letters(in: story.folder + "/letters")
        let others = cards.filter { !$0.isBatch }.map { story.text("\($0.id).code") }
        for code in letters.codes + others {
            scan.add(digits: code, as: "code \(scan.secrets.count + 1)")
        }
        #expect(scan.selfTest() == [])
        #expect(letters.codes.count == cards.count(where: \.isBatch) + 1 && scan.secrets.count == cards.count + 1)
        let calls = recording.calls.enumerated().flatMap { index, call in
            call.buffers.map { (use: examination.graph.uses[index] ?? "", call: call, buffer: $0) }
        }
        func isOnItsWay(_ use: String, _ function: String, _ buffer: String) -> Bool {
            switch (use.prefix { $0 != "." } == "ecard" ? use.split(separator: ".")[1] : "", function, buffer) {
            case ("code", "C_Sign", "<in"), ("code", "C_Verify", "<in"): true
            case ("delivery", "C_Encrypt", "<in"), ("delivery", "C_Decrypt", ">out"): true
            default: false
            }
        }
        for (key, function) in [
            ("code", "C_Sign"), ("code", "C_Verify"), ("delivery", "C_Encrypt"), ("delivery", "C_Decrypt"),
        ] {
            let way = calls.filter {
                $0.call.function == function && isOnItsWay($0.use, function, $0.buffer.name)
                    && $0.use.hasPrefix("ecard.\(key).")
            }
            let seen = Set(scan.findings(inBuffers: way.map { ($0.use, $0.buffer.bytes) }).map(\.secret))
            let expected = key == "code" ? scan.secrets.count : letters.codes.count
            #expect(seen.count == expected, "\(function) under \(key)")
            claim(
                "codes seen in \(function) under the \(key) key, as designed", "\(seen.count)", "\(expected)",
                holds: seen.count == expected)
        }
        look(
            "codes", in: "all other PKCS#11 buffers",
            calls.filter { !isOnItsWay($0.use, $0.call.function, $0.buffer.name) }
                .map { ("\($0.call.function) \($0.buffer.name) \($0.use)", $0.buffer.bytes) }, with: scan)
        look(
            "codes", in: "what went to the chips and came back", examination.exchanged + examination.opened, with: scan)
        look("codes", in: "what the tool printed and logged", story.outputs, with: scan)
        look("codes", in: "files of the state folder", try files(), with: scan)
        let wrong = letters.count { letter in
            Set(scan.findings(in: letter.text, place: letter.name).map(\.secret)).count != 1
        }
        claim(
            "letters that have another code than their own, or none", "\(wrong) of \(letters.codes.count)", "0",
            holds: wrong == 0)
        #expect(wrong == 0)
    }
}

/// What was printed for the holders.
private struct Letters {
    let all: [(name: String, text: String, code: String)]
    var codes: [String] { all.map(\.code) }

    init(in folder: String) throws {
        all = try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map { name in
            let text = try String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)
            let match = try #require(text.firstMatch(of: /Your secret code:\s+((?:\d ){8})/), "\(name)")
            return (name, text, match.output.1.filter { $0 != " " })
        }
    }

    func count(where isSuch: ((name: String, text: String, code: String)) -> Bool) -> Int { all.count(where: isSuch) }
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
