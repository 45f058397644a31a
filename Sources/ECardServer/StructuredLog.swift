import Foundation
public import Logging

/// A log of one line an event on standard error: logfmt (`key=value`, in quotes where it must be), or a JSON object.
///
/// First what every line has, `time` (ISO 8601, UTC), `level` and `message`, then the event's facts by name. Whatever a fact
/// holds, it stays on its line and cannot look like another fact.
public struct StructuredLog: LogHandler {
    public enum Form: String, CaseIterable, Sendable {
        case text, json
    }

    private let form: Form
    private let write: @Sendable (String) -> Void
    public var logLevel: Logger.Level
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?

    /// - Parameter write: takes a line with its end; `nil`: standard error.
    public init(_ form: Form, level: Logger.Level, write: (@Sendable (String) -> Void)? = nil) {
        self.form = form
        self.write = write ?? { FileHandle.standardError.write(Data($0.utf8)) }
        logLevel = level
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var facts = (metadataProvider?.get() ?? [:]).merging(metadata) { $1 }.merging(event.metadata ?? [:]) { $1 }
        if let error = event.error, facts["error"] == nil { facts["error"] = "\(error)" }
        let head = [
            ("time", Date.now.formatted(Self.timeStyle)), ("level", event.level.rawValue),
            ("message", "\(event.message)"),
        ]
        let reserved = Set(head.map(\.0))
        let rest = facts.sorted { $0.key < $1.key }.map { key, value in
            (reserved.contains(key) ? key + "_" : key, "\(value)")
        }
        write(Self.line(head + rest, form))
    }

    private static let timeStyle = Date.ISO8601FormatStyle(includingFractionalSeconds: true)

    private static func line(_ facts: [(String, String)], _ form: Form) -> String {
        switch form {
        case .text: facts.map { "\(key($0))=\(isPlain($1) ? $1 : quoted($1))" }.joined(separator: " ") + "\n"
        case .json: "{" + facts.map { "\(quoted($0)):\(quoted($1))" }.joined(separator: ",") + "}\n"
        }
    }

    /// A name without what ends one in logfmt.
    private static func key(_ name: String) -> String {
        isPlain(name) ? name : String(name.map { isPlain("\($0)") ? $0 : "_" })
    }

    private static func isPlain(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && ![0x22, 0x3D, 0x5C].contains($0) }
    }

    /// As a JSON string (RFC 8259, 7). Control characters and line separators are written as escapes, those too that JSON
    /// allows: a terminal obeys them.
    private static func quoted(_ text: String) -> String {
        var line = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": line += "\\\""
            case "\\": line += "\\\\"
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                line += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: line.unicodeScalars.append(scalar)
            }
        }
        return line + "\""
    }
}
