import ByteCoding
import Foundation

/// Keys as a scan looks for them: block by block of eight bytes, the lowest bit of each byte ignored.
///
/// That bit is the parity of a DES key. To ignore it in other keys too costs nothing: seven bits of eight bytes are found
/// by chance once in 2^56 places.
struct KeyBlocks: Sendable {
    private struct Block: Sendable {
        let secret: String
        /// Of its first byte in the key.
        let offset: Int
        let value: UInt64
    }

    private static let withoutParity: UInt64 = 0xFEFE_FEFE_FEFE_FEFE
    private var blocks: [UInt64: [Block]] = [:]
    private var keys: [(name: String, value: [UInt8])] = []
    /// A bit for each value of ``hash(_:)``: all but a few places are dismissed by it.
    private var candidates = [Bool](repeating: false, count: 1 << 16)

    mutating func add(_ key: [UInt8], as name: String) {
        precondition(key.count >= 8, "\(name) is too short to look for")
        keys.append((name, key))
        // The last block of a key that is no whole number of blocks overlaps the one before.
        for start in Set(stride(from: 0, through: key.count - 8, by: 8) + [key.count - 8]) {
            let value = key[start..<(start + 8)].reduce(0) { $0 << 8 | UInt64($1) }
            let masked = value & Self.withoutParity
            blocks[masked, default: []].append(Block(secret: name, offset: start, value: value))
            candidates[Self.hash(masked)] = true
        }
    }

    /// Searches the bytes as they are, then what they say in hexadecimal and in base64.
    func findings(in bytes: [UInt8], place: String) -> [LeakScan.Finding] {
        guard !keys.isEmpty else { return [] }
        var found = search(bytes, place, "") { $0 }
        for run in TextRuns.hexadecimal(bytes) + TextRuns.base64(bytes) {
            found += search(run.decoded, place, ", \(run.encoding)") { _ in run.offset }
        }
        var seen: Set<[String]> = []
        return found.filter { seen.insert([$0.secret, $0.form]).inserted }
    }

    private func search(
        _ bytes: [UInt8], _ place: String, _ encoding: String, _ offset: (Int) -> Int
    ) -> [LeakScan.Finding] {
        guard bytes.count >= 8 else { return [] }
        var found: [LeakScan.Finding] = []
        bytes.withUnsafeBufferPointer { bytes in
            candidates.withUnsafeBufferPointer { candidates in
                var window: UInt64 = 0
                for index in 0..<bytes.count {
                    window = window &<< 8 | UInt64(bytes[index])
                    let masked = window & Self.withoutParity
                    guard candidates[Self.hash(masked)], index >= 7, let matches = blocks[masked] else { continue }
                    for block in matches {
                        found.append(
                            LeakScan.Finding(
                                secret: block.secret,
                                form:
                                    "bytes \(block.offset)–\(block.offset + 7) \(Self.form(window, block.value))\(encoding)",
                                place: place, offset: offset(index - 7)))
                    }
                }
            }
        }
        return found
    }

    private static func hash(_ masked: UInt64) -> Int {
        Int(truncatingIfNeeded: (masked &* 0x9E37_79B9_7F4A_7C15) &>> 48)
    }

    // MARK: Parity

    enum Form: String, CaseIterable {
        case raw, oddParity = "with odd parity", evenParity = "with even parity", stripped = "with parity stripped"

        func apply(to byte: UInt8) -> UInt8 {
            let top = byte & 0xFE
            let isOdd = top.nonzeroBitCount % 2 == 1
            return switch self {
            case .raw: byte
            case .oddParity: top | (isOdd ? 0 : 1)
            case .evenParity: top | (isOdd ? 1 : 0)
            case .stripped: top
            }
        }
    }

    private static func form(_ found: UInt64, _ value: UInt64) -> String {
        let bytes = value.bytes
        let form = Form.allCases.first { form in bytes.map(form.apply) == found.bytes }
        return form?.rawValue ?? "but for parity"
    }

    // MARK: Control

    /// How a key is planted: as bytes, and in each encoding.
    static let encodings: [(name: String, encode: @Sendable ([UInt8]) -> [UInt8])] = [
        ("bytes", { $0 }),
        ("hexadecimal", { Array($0.hex.utf8) }),
        ("lower case", { Array($0.hex.lowercased().utf8) }),
        ("hexadecimal with blanks", { Array($0.map { [$0].hex }.joined(separator: " ").utf8) }),
        ("hexadecimal with commas", { Array($0.map { "0x" + [$0].hex }.joined(separator: ", ").utf8) }),
        ("base64", { Array(Data($0).base64EncodedString().utf8) }),
        ("base64 behind one byte", { Array(Data([0x5A] + $0).base64EncodedString().utf8) }),
        ("base64 behind two bytes", { Array(Data([0x5A, 0x5A] + $0).base64EncodedString().utf8) }),
    ]

    /// Each key in each form and encoding, in noise: what was not found.
    func selfTest() -> [String] {
        let noise = [UInt8](repeating: 0xA5, count: 16)
        return keys.flatMap { name, value in
            Form.allCases.flatMap { form in
                Self.encodings.filter { encoding in
                    let planted = noise + encoding.encode(value.map(form.apply)) + noise
                    let found = Set(findings(in: planted, place: "noise").filter { $0.secret == name }.map(\.form))
                    return found.count < value.count / 8
                }.map { "\(name) \(form.rawValue), \($0.name)" }
            }
        }
    }
}

extension UInt64 {
    fileprivate var bytes: [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: self &>> (56 - 8 * $0)) } }
}

/// Runs of text that may be encoded bytes, decoded from every position where they can begin.
enum TextRuns {
    struct Run {
        let encoding: String
        /// Of the run's first character.
        let offset: Int
        let decoded: [UInt8]
    }

    /// Runs of sixteen hexadecimal digits or more; blanks, line ends, `:`, `-`, `,` and `0x` may stand between them.
    static func hexadecimal(_ bytes: [UInt8]) -> [Run] {
        runs(bytes, value: nibble, isSeparator: { Self.hexSeparators[Int($0)] }, skipsPrefix: true, atLeast: 16)
            .flatMap { offset, digits in
                // A key may begin at either of two neighbouring digits.
                (0..<2).map { phase in
                    let decoded = stride(from: phase, to: digits.count - 1, by: 2)
                        .map { digits[$0] &<< 4 | digits[$0 + 1] }
                    return Run(encoding: "hexadecimal", offset: offset, decoded: decoded)
                }
            }
    }

    /// Runs of eleven characters or more of base64 or base64url; line ends may stand between them.
    static func base64(_ bytes: [UInt8]) -> [Run] {
        runs(bytes, value: sextet, isSeparator: { $0 == 0x0A || $0 == 0x0D }, skipsPrefix: false, atLeast: 11)
            .flatMap { offset, digits in
                (0..<4).map { phase in
                    var decoded: [UInt8] = []
                    for start in stride(from: phase, to: digits.count, by: 4) {
                        let group = digits[start..<min(start + 4, digits.count)]
                        let bits = group.reduce(UInt32(0)) { $0 &<< 6 | UInt32($1) } &<< UInt32(6 * (4 - group.count))
                        let whole = [bits &>> 16, bits &>> 8, bits].prefix(group.count - 1)
                        decoded += whole.map { UInt8(truncatingIfNeeded: $0) }
                    }
                    return Run(encoding: "base64", offset: offset, decoded: decoded)
                }
            }
    }

    private static func runs(
        _ bytes: [UInt8], value: [UInt8], isSeparator: (UInt8) -> Bool, skipsPrefix: Bool, atLeast: Int
    ) -> [(offset: Int, digits: [UInt8])] {
        var runs: [(Int, [UInt8])] = []
        var digits: [UInt8] = []
        var start = 0
        func end() {
            if digits.count >= atLeast { runs.append((start, digits)) }
            digits.removeAll(keepingCapacity: true)
        }
        for (index, byte) in bytes.enumerated() {
            let digit = value[Int(byte)]
            if digit != none {
                if digits.isEmpty { start = index }
                digits.append(digit)
            } else if skipsPrefix, byte == UInt8(ascii: "x"), digits.last == 0 {
                digits.removeLast()
            } else if !isSeparator(byte) {
                end()
            }
        }
        end()
        return runs
    }

    private static let none: UInt8 = 0xFF

    private static let hexSeparators = table(" \n\r\t:-,").map { $0 != none }
    private static let nibble = zip(table("0123456789abcdef"), table("0123456789ABCDEF")).map(min)
    private static let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    private static let sextet = zip(table(alphabet + "+/"), table(alphabet + "-_")).map(min)

    /// The position of each character in `characters`, by its code.
    private static func table(_ characters: String) -> [UInt8] {
        var table = [UInt8](repeating: none, count: 256)
        for (index, character) in characters.utf8.enumerated() { table[Int(character)] = UInt8(index) }
        return table
    }
}
