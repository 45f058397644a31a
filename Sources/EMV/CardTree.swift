/// Everything a chip card says without being authenticated to: a tree of data objects with names and meanings, ready to
/// print or to encode. What is masked was masked when it was read; the tree does not hold it.
public struct CardTree: Hashable, Sendable, Codable {
    /// One data object, or bytes that are none.
    public struct Node: Hashable, Sendable, Codable {
        /// `9F36`; `nil` for bytes that are no data objects.
        public var tag: String?
        public var name: String?
        /// Upper-case hexadecimal, or what stands for it where it is masked. `nil` for a template.
        public var value: String?
        /// In words or digits, where that says more than the bytes.
        public var meaning: String?
        public var children: [Node]
    }

    /// What one command brought.
    public struct Section: Hashable, Sendable, Codable {
        /// `SELECT`, `READ RECORD 1 of file 2`, `GET DATA 9F36`.
        public var command: String
        /// The status word and its meaning.
        public var status: String
        /// What is wrong with the answer.
        public var problem: String?
        public var nodes: [Node]
    }

    public struct Application: Hashable, Sendable, Codable {
        public var aid: String
        public var label: String?
        /// `Visa`, by the registered provider in the AID.
        public var scheme: String?
        public var sections: [Section]
    }

    /// Hexadecimal.
    public var answerToReset: String
    /// Payment system environment `1PAY.SYS.DDF01`.
    public var environment: [Section]
    public var applications: [Application]

    /// The tree as lines of text, two spaces a level.
    public var text: String {
        var lines = ["ATR \(answerToReset)"]
        if !environment.isEmpty {
            lines.append("Payment system environment")
            environment.forEach { $0.print(into: &lines) }
        }
        if applications.isEmpty { lines.append("No payment application found") }
        for application in applications {
            let names = [application.label, application.scheme].compactMap { $0 }
            lines.append(
                "Application \(application.aid)" + (names.isEmpty ? "" : " (\(names.joined(separator: ", ")))"))
            application.sections.forEach { $0.print(into: &lines) }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension CardTree.Section {
    fileprivate func print(into lines: inout [String]) {
        lines.append("  \(command): \(status)")
        if let problem { lines.append("    ! \(problem)") }
        nodes.forEach { $0.print(into: &lines, depth: 2) }
    }
}

extension CardTree.Node {
    fileprivate func print(into lines: inout [String], depth: Int) {
        var line = String(repeating: "  ", count: depth)
        line += [tag, name].compactMap { $0 }.joined(separator: " ")
        if let value { line += ": " + value }
        if let meaning { line += " = " + meaning }
        lines.append(line)
        children.forEach { $0.print(into: &lines, depth: depth + 1) }
    }
}
