import ArgumentParser
import Foundation

/// Where results go beside the terminal.
struct PageOptions: ParsableArguments {
    @Flag(help: "Write the tables into docs/performance.md and the plots into docs/performance/.") var record = false
}

/// `docs/performance.md`: prose by people, tables between markers by the benchmarks.
enum PerformancePage {
    private static let page = Checkout.path("docs/performance.md")

    /// Puts `text` between `<!-- begin NAME -->` and `<!-- end NAME -->`.
    static func write(_ name: String, _ text: String) throws {
        let (begin, end) = ("<!-- begin \(name) -->\n", "<!-- end \(name) -->")
        let old = try String(contentsOfFile: page, encoding: .utf8)
        guard let first = old.range(of: begin), let last = old.range(of: end), first.upperBound <= last.lowerBound
        else { throw Floor.Failure(description: "docs/performance.md has no markers for '\(name)'") }
        let machine = "Measured \(try day()) on \(processor()), \(ProcessInfo.processInfo.processorCount) processors."
        let new = old[..<first.upperBound] + machine + "\n\n" + text + "\n" + old[last.lowerBound...]
        try new.write(toFile: page, atomically: true, encoding: .utf8)
    }

    static func write(_ plot: Plot, _ file: String) throws {
        let folder = Checkout.path("docs/performance")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try plot.svg.write(toFile: "\(folder)/\(file)", atomically: true, encoding: .utf8)
    }

    /// Columns of text as Markdown.
    static func table(_ header: [String], _ rows: [[String]]) -> String {
        ([header, header.map { _ in "---" }] + rows).map { "| " + $0.joined(separator: " | ") + " |" }
            .joined(separator: "\n") + "\n"
    }

    private static func day() throws -> String {
        String(ISO8601DateFormatter().string(from: Date()).prefix(10))
    }

    private static func processor() -> String {
        let information = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let line = information.split(separator: "\n").first { $0.hasPrefix("model name") }
        return line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) }
            ?? "an unnamed processor"
    }
}

/// A number as people read it: 13,500.
func grouped(_ number: Double) -> String {
    var digits = String(Int(number.rounded()))
    var place = digits.count - 3
    while place > 0 {
        digits.insert(",", at: digits.index(digits.startIndex, offsetBy: place))
        place -= 3
    }
    return digits
}
