import ByteCoding
import EMV
import Yams

/// A mapping of a profile, with what is needed to say where a mistake is.
struct ProfileSection {
    private let file: String
    private let path: String
    private let mapping: Node.Mapping
    private let line: Int

    init(yaml text: String, file: String) throws {
        let node: Node?
        do {
            node = try Yams.compose(yaml: text)
        } catch let error as YamlError {
            let (line, problem) = error.place(in: text)
            throw IssuingError(.invalidProfile, "\(file):\(line): \(problem)", advice: "Mend the YAML")
        }
        guard let mapping = node?.mapping else {
            throw IssuingError(.invalidProfile, "\(file):1: a mapping of keys to values wanted")
        }
        self.init(file: file, path: "", mapping: mapping, line: 1)
    }

    private init(file: String, path: String, mapping: Node.Mapping, line: Int) {
        self.file = file
        self.path = path
        self.mapping = mapping
        self.line = line
    }

    var keys: [String] { mapping.keys.map { $0.scalar?.string ?? "" } }

    /// An error at `key`: `cards/x.yaml:12: application.aid: …`.
    func mistake(_ key: String, _ what: String) -> IssuingError {
        let place = mapping[key]?.mark?.line ?? line
        return IssuingError(.invalidProfile, "\(file):\(place): \(path)\(key): \(what)")
    }

    /// Refuses keys nobody reads: most are misspelt.
    func allow(_ known: Set<String>) throws {
        for key in keys where !known.contains(key) {
            throw mistake(key, "unknown key; known are \(known.sorted().joined(separator: ", "))")
        }
    }

    func optionalText(_ key: String, where isValid: (String) -> Bool = { !$0.isEmpty }) throws -> String? {
        guard let node = mapping[key] else { return nil }
        guard let text = node.scalar?.string else { throw mistake(key, "a single value wanted") }
        guard isValid(text) else { throw mistake(key, "'\(text.prefix(40))' does not fit") }
        return text
    }

    func text(_ key: String, where isValid: (String) -> Bool = { !$0.isEmpty }) throws -> String {
        guard let text = try optionalText(key, where: isValid) else { throw mistake(key, "is missing") }
        return text
    }

    /// A value another type reads; its error is put in place.
    func value<Value>(_ key: String, _ read: (String) throws -> Value) throws -> Value {
        let text = try self.text(key)
        do { return try read(text) } catch { throw mistake(key, "\(error)") }
    }

    func number(_ key: String, in range: ClosedRange<Int>) throws -> Int {
        guard let number = Int(try text(key)), range.contains(number) else {
            throw mistake(key, "a number from \(range.lowerBound) to \(range.upperBound) wanted")
        }
        return number
    }

    func bytes(_ key: String, lengths: ClosedRange<Int>) throws -> [UInt8] {
        guard let bytes = [UInt8](hex: try text(key, where: { _ in true })) else {
            throw mistake(key, "hexadecimal digits wanted, in quotes")
        }
        guard lengths.contains(bytes.count) else {
            let wanted =
                lengths.count == 1 ? "\(lengths.lowerBound)" : "\(lengths.lowerBound) to \(lengths.upperBound)"
            throw mistake(key, "\(bytes.count) bytes, \(wanted) wanted")
        }
        return bytes
    }

    func texts(_ key: String) throws -> [String] {
        guard let sequence = mapping[key]?.sequence else { throw mistake(key, "a list wanted") }
        return try sequence.map {
            guard let text = $0.scalar?.string else { throw mistake(key, "a list of single values wanted") }
            return text
        }
    }

    func choice<Value>(_ key: String, _ choices: [String: Value]) throws -> Value {
        let text = try self.text(key)
        guard let value = choices[text] else {
            throw mistake(key, "'\(text)' is not one of \(choices.keys.sorted().joined(separator: ", "))")
        }
        return value
    }

    /// A list of words, each standing for bits.
    func flags(_ key: String, _ vocabulary: [String: [UInt8]], length: Int) throws -> [UInt8] {
        try texts(key).reduce([UInt8](repeating: 0, count: length)) { bits, word in
            guard let more = vocabulary[word] else {
                throw mistake(key, "'\(word)' is not one of \(vocabulary.keys.sorted().joined(separator: ", "))")
            }
            return zip(bits, more).map { $0 | $1 }
        }
    }

    /// A tag written in hexadecimal, known to the dictionary and not one of `forbidden`.
    func tag(_ text: String, forbidden: Set<BERTag> = []) throws -> BERTag {
        guard let bytes = [UInt8](hex: text), let raw = UInt32(bigEndian: bytes), raw != 0 else {
            throw mistake(text, "'\(text)' is no tag; write it in hexadecimal, in quotes")
        }
        if forbidden.contains(BERTag(raw)) {
            throw mistake(text, "tag \(text) would carry a card verification value: this scheme has none")
        }
        guard DataElement[BERTag(raw)] != nil else {
            throw mistake(text, "tag \(text) is not known")
        }
        return BERTag(raw)
    }

    func optionalSection(_ key: String) throws -> ProfileSection? {
        guard let node = mapping[key] else { return nil }
        guard let inner = node.mapping else { throw mistake(key, "a mapping of keys to values wanted") }
        return ProfileSection(file: file, path: "\(path)\(key).", mapping: inner, line: node.mark?.line ?? line)
    }

    func section(_ key: String, allow known: Set<String>) throws -> ProfileSection {
        guard let section = try optionalSection(key) else { throw mistake(key, "is missing") }
        try section.allow(known)
        return section
    }

    func list(_ key: String) throws -> [ProfileSection] {
        guard let sequence = mapping[key]?.sequence, !sequence.isEmpty else { throw mistake(key, "a list wanted") }
        return try sequence.enumerated().map { index, node in
            guard let inner = node.mapping else { throw mistake(key, "entry \(index + 1) is no mapping") }
            return ProfileSection(
                file: file, path: "\(path)\(key)[\(index + 1)].", mapping: inner, line: node.mark?.line ?? line)
        }
    }
}

extension YamlError {
    /// The line (counted from 1) and what is wrong there, without the text that the library quotes.
    fileprivate func place(in text: String) -> (line: Int, problem: String) {
        switch self {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return (mark.line, problem)
        case .reader(let problem, let offset, _, _):
            return (text.utf8.prefix(offset ?? 0).count { $0 == UInt8(ascii: "\n") } + 1, problem)
        case .duplicatedKeysInMapping(let duplicates, let context):
            return (context.mark.line, "given twice: \(duplicates.sorted().joined(separator: ", "))")
        default:
            return (1, "\(self)")
        }
    }
}
