import ByteCoding
import Glibc

/// A dialogue with a card, byte for byte: what ``Recorder`` writes down and ``Replay`` answers from.
///
/// **It is as secret as the card**: PAN, track and cryptograms stand in it in clear, keys as they travelled. It never
/// prints; ``text`` is a named act, and a file of it is made with mode 0600.
///
/// The text form (`.apdu`) is UTF-8, one item a line, in this order:
///
///     # ecard dialogue 1                  first line: format and version
///     atr 3B6500002063CB6800              the answer to reset; may be missing or empty
///     > 00A4040007A0000000041010          a command, hexadecimal
///     < 6F1A…9000                         its answer, hexadecimal; empty if the card gave no byte
///     > 00B2010C00
///     ! the card was removed              or why there is no answer: a `CardError.Kind` as it describes itself
///
/// Empty lines and further lines that start with `#` are comments. White space inside hexadecimal is skipped.
public struct Recording: Equatable, Sendable {
    /// One command and what came of it.
    public struct Exchange: Equatable, Sendable {
        public let command: [UInt8]
        public let outcome: Result<[UInt8], CardError>

        public init(command: [UInt8], outcome: Result<[UInt8], CardError>) {
            self.command = command
            self.outcome = outcome
        }
    }

    public var answerToReset: ATR
    public var exchanges: [Exchange]

    public init(answerToReset: ATR = ATR([]), exchanges: [Exchange] = []) {
        self.answerToReset = answerToReset
        self.exchanges = exchanges
    }

    static let firstLine = "# ecard dialogue 1"
    /// Longer than the longest command or answer, 65,544 bytes, in hexadecimal with blanks.
    static let maximumLineLength = 262_144

    /// The text form. It shows every byte.
    public var text: String {
        var lines = [Self.firstLine, "atr \(answerToReset.bytes.hex)"]
        for exchange in exchanges {
            lines.append("> \(exchange.command.hex)")
            switch exchange.outcome {
            case .success(let answer): lines.append("< \(answer.hex)")
            case .failure(let error): lines.append("! \(error.kind)")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Reads the text form.
    /// - Throws: ``RecordingError`` with the number of the line that is wrong.
    public init(text: String) throws(RecordingError) {
        self.init()
        var command: [UInt8]?
        var number = 0
        var sawATR = false
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            number += 1
            let item = try Item(line, number: number)
            switch (item, command) {
            case (.comment, _): continue
            case (.answerToReset(let bytes), nil) where !sawATR && exchanges.isEmpty:
                answerToReset = ATR(bytes)
                sawATR = true
            case (.command(let bytes), nil):
                command = bytes
            case (.outcome(let outcome), let asked?):
                exchanges.append(Exchange(command: asked, outcome: outcome))
                command = nil
            case (.answerToReset, _):
                throw RecordingError("an answer to reset after the beginning", line: number)
            case (.command, _):
                throw RecordingError("a command where the answer to the one before is due", line: number)
            case (.outcome, nil):
                throw RecordingError("an answer without a command", line: number)
            }
        }
        guard command == nil else { throw RecordingError("the last command has no answer", line: number) }
    }

    private enum Item {
        case comment
        case answerToReset([UInt8])
        case command([UInt8])
        case outcome(Result<[UInt8], CardError>)

        init(_ line: Substring, number: Int) throws(RecordingError) {
            guard line.utf8.count <= Recording.maximumLineLength else {
                throw RecordingError("longer than \(Recording.maximumLineLength) characters", line: number)
            }
            let line = line.last?.isWhitespace == true ? line.dropLast(while: \.isWhitespace) : line
            guard number > 1 else {
                guard line == Recording.firstLine else {
                    throw RecordingError("not a recorded dialogue: it begins with \"\(Recording.firstLine)\"", line: 1)
                }
                self = .comment
                return
            }
            if line.isEmpty || line.hasPrefix("#") {
                self = .comment
            } else if line == "atr" || line.hasPrefix("atr ") {
                self = .answerToReset(try Self.bytes(line.dropFirst(3), number))
            } else if line.hasPrefix(">") {
                self = .command(try Self.bytes(line.dropFirst(), number))
            } else if line.hasPrefix("<") {
                self = .outcome(.success(try Self.bytes(line.dropFirst(), number)))
            } else if line.hasPrefix("! ") {
                guard let kind = CardError.Kind.all.first(where: { $0.description == line.dropFirst(2) }) else {
                    throw RecordingError("no failure is called that", line: number)
                }
                self = .outcome(.failure(CardError(kind, "recorded")))
            } else {
                throw RecordingError("begins with none of: atr, >, <, !, #", line: number)
            }
        }

        private static func bytes(_ text: Substring, _ number: Int) throws(RecordingError) -> [UInt8] {
            guard let bytes = [UInt8](hex: text) else {
                throw RecordingError("no whole bytes in hexadecimal", line: number)
            }
            return bytes
        }
    }
}

extension Recording: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "<recording of \(exchanges.count) exchanges>" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["exchanges": exchanges.count]) }
}

extension Recording.Exchange: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        switch outcome {
        case .success(let answer): "\(MaskedLog.masked(command: command)) → \(MaskedLog.masked(answer: answer))"
        case .failure(let error): "\(MaskedLog.masked(command: command)) → \(error)"
        }
    }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension BidirectionalCollection where SubSequence == Self {
    func dropLast(while predicate: (Element) -> Bool) -> Self {
        var rest = self
        while let last = rest.last, predicate(last) { rest = rest.dropLast() }
        return rest
    }
}

/// Why a text or a file is no recording, or could not be written.
public struct RecordingError: Error, Equatable, Sendable, CustomStringConvertible {
    public let reason: String
    /// The line that is wrong, counted from 1; `nil` where the file itself is the trouble.
    public let line: Int?

    public init(_ reason: String, line: Int? = nil) {
        self.reason = reason
        self.line = line
    }

    public var description: String { (line.map { "line \($0): " } ?? "") + reason }
}
