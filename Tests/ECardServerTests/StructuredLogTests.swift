import ECardServer
import Foundation
import Logging
import Synchronization
import Testing

@Suite struct StructuredLogTests {
    /// What one event becomes.
    private static func line(
        _ form: StructuredLog.Form, _ message: Logger.Message, _ facts: Logger.Metadata
    ) -> String {
        let kept = Kept()
        var logger = Logger(label: "test") { _ in StructuredLog(form, level: .info) { kept.add($0) } }
        logger[metadataKey: "service"] = "bank"
        logger.info(message, metadata: facts)
        logger.debug("not wanted", metadata: facts)
        return kept.all.joined()
    }

    private final class Kept: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0.append(line) } }
    }

    static let hostile = [
        "plain", "", "two words", "a=b", "quo\"te", "back\\slash", "line\nend level=error", "\u{1B}[2J", "\u{2028}",
        "Akosua ɛ",
    ]

    @Test("Whatever a fact holds, its line is one line, and reads back", arguments: hostile)
    func json(_ text: String) throws {
        let line = Self.line(.json, "said", ["fact": "\(text)", "time": "not the line's"])
        #expect(line.hasSuffix("}\n") && line.filter(\.isNewline).count == 1)
        let object = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
        #expect(object["fact"] == text)
        #expect(object["message"] == "said" && object["level"] == "info" && object["service"] == "bank")
        #expect(object["time_"] == "not the line's")
        #expect(
            try object["time"].map { try Date($0, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true)) }
                != nil)
        #expect(Set(object.keys) == ["fact", "message", "level", "service", "time", "time_"])
    }

    @Test("In logfmt what is plain stands as it is, and the rest in quotes", arguments: hostile)
    func text(_ text: String) {
        let line = Self.line(.text, "a request", ["fact": "\(text)", "route": "/v1/payments"])
        #expect(line.filter(\.isNewline).count == 1 && line.hasSuffix("\n"))
        #expect(line.hasPrefix("time=") && line.contains(#" level=info message="a request" "#))
        #expect(line.contains(" route=/v1/payments "))
        #expect(line.contains(" service=bank"))
        let isPlain = ["plain"].contains(text)
        #expect(line.contains(isPlain ? " fact=plain " : " fact=\""))
        // No value opens another key.
        #expect(!line.contains(" level=error ") || line.contains("level=error\""))
    }
}
