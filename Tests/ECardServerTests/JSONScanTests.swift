@testable import ECardServer
import ECardTesting
import Foundation
import Testing

@Suite(.ownThread) struct JSONScanTests {
    /// Texts near JSON: values at random, and with bytes of them changed, left out, doubled or put in.
    private struct Texts {
        var generator: SeededGenerator

        mutating func next() -> [UInt8] {
            var bytes = Array(value(depth: 4).utf8)
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                let place = Int.random(in: 0...bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0 where place < bytes.count: bytes[place] = strange()
                case 1 where place < bytes.count: bytes.remove(at: place)
                case 2 where place < bytes.count: bytes.insert(bytes[place], at: place)
                default: bytes.insert(strange(), at: place)
                }
            }
            // What is no UTF-8 is refused before it is read.
            return Array(String(decoding: bytes, as: UTF8.self).utf8)
        }

        private mutating func strange() -> UInt8 {
            Array("{}[]\",:\\/-+.0159eEutfn \n\u{1}\u{7F}".utf8).randomElement(using: &generator) ?? 0
        }

        private mutating func value(depth: Int) -> String {
            switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &generator) {
            case 0: return text()
            case 1: return "\(Int.random(in: -1_000_000...1_000_000, using: &generator))"
            case 2: return ["0", "-0", "1.5", "-0.25e-3", "1E+9", "10e2", "3"].randomElement(using: &generator) ?? "0"
            case 3: return ["true", "false", "null"].randomElement(using: &generator) ?? "null"
            case 4, 5: return text()
            case 6:
                let members = (0..<Int.random(in: 0...4, using: &generator)).map { _ in
                    text() + space() + ":" + space() + value(depth: depth - 1)
                }
                return "{" + space() + members.joined(separator: "," + space()) + space() + "}"
            default:
                let elements = (0..<Int.random(in: 0...4, using: &generator)).map { _ in value(depth: depth - 1) }
                return "[" + space() + elements.joined(separator: space() + ",") + "]"
            }
        }

        private mutating func space() -> String {
            ["", "", "", " ", "\n", "\t\r\n"].randomElement(using: &generator) ?? ""
        }

        private mutating func text() -> String {
            let parts = [
                "a", "b", "Ama", "é", "ɛ", "😀", "\\n", "\\\"", "\\\\", "\\/", "\\u0061", "\\u00e9", "\\ud83d\\ude00",
                "\\ud83d", "\\udc00",
                "\\u12", "\\x", "\\u0000", "{", ",",
            ]
            let count = Int.random(in: 0...3, using: &generator)
            return "\"" + (0..<count).map { _ in parts.randomElement(using: &generator) ?? "" }.joined() + "\""
        }
    }

    @Test(
        "It takes what Python's reader takes, each member once and every text well formed",
        .enabled(if: PythonOracle.isConfigured, "\(PythonOracle.howToEnable)"),
        arguments: [UInt64.random(in: 0...999_999)])
    func differential(seed: UInt64) throws {
        let python = try #require(PythonOracle.interpreter)
        let child = try LineChild(python, ["-u", "-c", Self.reader])
        var texts = Texts(generator: SeededGenerator(seed: seed))
        var taken = 0
        for _ in 0..<4000 {
            let bytes = texts.next()
            let ours: Bool
            do {
                try JSONScan.check(bytes)
                ours = true
            } catch {
                ours = false
            }
            try child.send(Data(Data(bytes).base64EncodedString().utf8))
            let theirs = try #require(child.line())
            #expect((theirs == "yes") == ours, "seed \(seed): \(String(decoding: bytes, as: UTF8.self))")
            if ours { taken += 1 }
        }
        // Both kinds came.
        #expect((400...3600).contains(taken))
    }

    private static let reader = """
        import base64, json, sys
        def once(members):
            if len({name for name, _ in members}) < len(members): raise ValueError("twice")
            return dict(members)
        def refuse(name): raise ValueError(name)
        for line in sys.stdin:
            try:
                text = base64.b64decode(line).decode()
                if text.lstrip(" \\t\\r\\n") != text.lstrip() or text.rstrip(" \\t\\r\\n") != text.rstrip(): raise ValueError("space")
                json.dumps(json.loads(text, object_pairs_hook=once, parse_constant=refuse), ensure_ascii=False).encode()
                print("yes", flush=True)
            except (ValueError, RecursionError):
                print("no", flush=True)
        """

    @Test("Nothing makes it fail or read for ever", arguments: [UInt64.random(in: 0...999_999)])
    func anything(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...24, using: &generator)).map { _ in
                UInt8.random(in: .min ... .max, using: &generator)
            }
            try? JSONScan.check(bytes)
        }
        // 16 KiB, the most that a body has, of what is dearest.
        for piece in ["[", "{\"a\":", "\"\\u0061", "\\", "{\"cvv\":1,", "9"] {
            try? JSONScan.check(Array(String(repeating: piece, count: 16_384 / piece.utf8.count).utf8))
        }
    }
}
