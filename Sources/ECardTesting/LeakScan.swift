import ByteCoding
import Foundation

/// Looks for secrets in what a story leaves behind: files, log lines, error texts, messages.
///
/// A secret is looked for in every form in which a program lets one slip: raw, as ASCII, packed into nibbles, in
/// hexadecimal with or without separators, in base64 at each of its phases. A key is looked for by each of its eight-byte
/// blocks, at any offset, whatever its parity bits: so half of a key, a key made of halves, and a DES key with its parity
/// set, turned or stripped are found. A scan that finds nothing says something only if the same scan finds what was
/// planted; see ``selfTest()``.
public struct LeakScan: Sendable {
    /// A secret that was found. Names the secret and never shows it.
    public struct Finding: Hashable, Sendable, CustomStringConvertible {
        public let secret: String
        public let form: String
        public let place: String
        public let offset: Int

        public var description: String { "\(secret), \(form), in \(place) at byte \(offset)" }
    }

    private struct Pattern: Sendable {
        let secret: String
        let form: String
        let bytes: Data
    }

    private var patterns: [Pattern] = []
    private var names: [String] = []
    private var keys = KeyBlocks()

    public init() {}

    /// In how many forms each key is looked for: parity × encoding.
    public static var keyForms: Int { KeyBlocks.Form.allCases.count * KeyBlocks.encodings.count }

    /// The secrets that are looked for.
    public var secrets: [String] { names }

    /// A secret made of decimal digits: PAN, code, PIN. As a letter spells it too, with blanks between the digits.
    ///
    /// Packed into nibbles only from ten digits on: fewer are found in any random data.
    public mutating func add(digits: String, as name: String) {
        names.append(name)
        addEncodings(of: Array(digits.utf8), name, "ASCII")
        addEncodings(of: digits.utf8.flatMap { [$0, UInt8(ascii: " ")] }.dropLast(), name, "ASCII with blanks")
        guard digits.utf8.count >= 10 else { return }
        // Beginning at a high nibble, then at a low one.
        for (skipped, form) in [(0, "packed"), (1, "packed, shifted by a nibble")] {
            let rest = digits.dropFirst(skipped)
            guard let packed = [UInt8](hex: rest.prefix(rest.utf8.count / 2 * 2)) else { continue }
            add(packed, name, form)
        }
    }

    /// A secret made of bytes: a key. Eight bytes or more.
    public mutating func add(key: [UInt8], as name: String) {
        names.append(name)
        keys.add(key, as: name)
    }

    /// Where the secrets stand in `bytes`; the first place of each form. Offsets into text are those where the run of
    /// hexadecimal or base64 begins that a key stands in.
    public func findings(in bytes: some Collection<UInt8>, place: String) -> [Finding] {
        let data = Data(bytes)
        let digits = patterns.compactMap { pattern in
            data.range(of: pattern.bytes).map {
                Finding(secret: pattern.secret, form: pattern.form, place: place, offset: $0.lowerBound)
            }
        }
        return digits + keys.findings(in: Array(data), place: place)
    }

    /// The same in a text.
    public func findings(in text: String, place: String) -> [Finding] {
        findings(in: Array(text.utf8), place: place)
    }

    /// The same in buffers that came one behind the other, also across their borders.
    public func findings(inBuffers buffers: [(place: String, bytes: [UInt8])]) -> [Finding] {
        var starts: [Int] = []
        var joined: [UInt8] = []
        for buffer in buffers {
            starts.append(joined.count)
            joined += buffer.bytes
        }
        return findings(in: joined, place: "").map { finding in
            let index = (starts.partitioningIndex { $0 > finding.offset }) - 1
            return Finding(
                secret: finding.secret, form: finding.form, place: buffers[index].place,
                offset: finding.offset - starts[index])
        }
    }

    /// The same in every file under a folder, and in the names of the files.
    /// - Parameter except: names of files that hold secrets by their nature, such as a chip's own state.
    public func findings(under folder: String, except: (String) -> Bool = { _ in false }) throws -> [Finding] {
        guard let walk = FileManager.default.enumerator(atPath: folder) else {
            throw CocoaError(.fileReadNoSuchFile, userInfo: [NSFilePathErrorKey: folder])
        }
        var findings: [Finding] = []
        while let name = walk.nextObject() as? String {
            findings += self.findings(in: name, place: "the name of \(folder)")
            var isFolder: ObjCBool = false
            let path = folder + "/" + name
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue,
                !except(name)
            else { continue }
            findings += self.findings(in: try Data(contentsOf: URL(fileURLWithPath: path)), place: name)
        }
        return findings
    }

    /// Plants every pattern in noise and looks for it.
    /// - Returns: the forms that were not found; empty when the scan works.
    public func selfTest() -> [String] {
        let noise = [UInt8](repeating: 0xA5, count: 64)
        let missed = patterns.filter { pattern in
            !findings(in: noise + Array(pattern.bytes) + noise, place: "noise").contains {
                $0.secret == pattern.secret && $0.form == pattern.form && $0.offset == noise.count
            }
        }.map { "\($0.secret), \($0.form)" }
        return missed + keys.selfTest()
    }

    private mutating func addEncodings(of bytes: [UInt8], _ name: String, _ form: String) {
        add(bytes, name, form)
        add(Array(bytes.hex.utf8), name, "\(form), hexadecimal")
        add(Array(bytes.hex.lowercased().utf8), name, "\(form), hexadecimal in lower case")
        for phase in 0..<3 {
            // What stands before and after the secret flows into the first and the last character: those are left out.
            let text = Data([UInt8](repeating: 0, count: phase) + bytes).base64EncodedString()
            let first = phase == 0 ? 0 : phase + 1
            let whole = (phase + bytes.count) * 8 / 6
            add(Array(text.utf8.prefix(whole).dropFirst(first)), name, "\(form), base64 phase \(phase)")
        }
    }

    private mutating func add(_ bytes: [UInt8], _ name: String, _ form: String) {
        guard !bytes.isEmpty else { return }
        patterns.append(Pattern(secret: name, form: form, bytes: Data(bytes)))
    }
}

extension [Int] {
    /// The first index of a sorted array whose element fulfils what all behind it fulfil too.
    fileprivate func partitioningIndex(where isBehind: (Int) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
