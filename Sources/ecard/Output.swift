import ArgumentParser
import Foundation

/// Options every command that prints facts has.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print JSON instead of text.")
    var json = false

    /// Prints `value` as JSON, or what `text` makes of it.
    func print(_ value: some Encodable, text: () -> String) throws {
        Swift.print(json ? try JSONText.of(value) : text())
    }
}

/// How much of a list is wanted.
struct LimitOptions: ParsableArguments {
    @Option(help: "At most this many, the newest.") var limit: Int?

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit must be positive") }
    }
}

/// A fact that may be unknown: `null` in JSON, where a plain optional would leave its key out.
@propertyWrapper
struct OrNull<Value: Encodable>: Encodable {
    var wrappedValue: Value?

    init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(wrappedValue)
    }
}

extension OrNull: Sendable where Value: Sendable {}

struct HomeOptions: ParsableArguments {
    @Option(
        name: .customLong("home"),
        help: ArgumentHelp(
            "The issuer's state folder.", discussion: "Default: ECARD_HOME, else ecard in the XDG data folder.",
            valueName: "folder"))
    var path: String?

    var home: StateFolder { StateFolder(option: path) }

    func validate() throws {
        // An unset variable of a script must not choose another issuer.
        if path == "" { throw ValidationError("--home is empty: name a folder, or leave it out") }
    }
}

enum JSONText {
    static func of(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}

/// Rows of text in columns as wide as they need to be.
struct Table {
    private var rows: [[String]] = []

    init(_ header: String...) { rows.append(header) }

    mutating func add(_ cells: String...) { rows.append(cells) }

    var text: String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            zip(row, widths).map { $0.padding(toLength: max($1, $0.count), withPad: " ", startingAt: 0) }
                .joined(separator: "  ").trimmingSuffix { $0 == " " }
        }.joined(separator: "\n")
    }
}

extension String {
    fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> String {
        var text = self[...]
        while let last = text.last, predicate(last) { text.removeLast() }
        return String(text)
    }
}

/// What a command did to the one thing it was given.
struct Done: Encodable {
    let id: String
    let state: String
}

/// To the person, not into the pipe.
func note(_ text: String) {
    // In the order in which things were said, where both go to one place.
    fflush(nil)
    FileHandle.standardError.write(Data((text + "\n").utf8))
}

/// A moment as people and programs read it.
enum TimeText {
    static func iso(_ milliseconds: Int64) -> String {
        Date(timeIntervalSince1970: Double(milliseconds) / 1000).formatted(.iso8601)
    }
}
