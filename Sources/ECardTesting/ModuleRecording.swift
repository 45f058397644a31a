import ByteCoding
import Foundation

/// What crossed the PKCS #11 boundary, as the recording module wrote it down (`CFaultyPKCS11.h` has the form).
public struct ModuleRecording: Sendable {
    public struct Call: Sendable {
        public let process: Int
        public let function: String
        /// Handles, mechanism, return value: by name, in order.
        public let numbers: [(name: String, value: UInt)]
        /// Everything that was given or taken, in order; the name begins with `<` or `>`.
        public let buffers: [(name: String, bytes: [UInt8])]

        public func number(_ name: String) -> UInt? { numbers.first { $0.name == name }?.value }
        public func buffer(_ name: String) -> [UInt8]? { buffers.first { $0.name == name }?.bytes }
        public var succeeded: Bool { number("answer") == 0 }
    }

    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    public let calls: [Call]

    /// - Throws: ``Failure`` with the line that has not the form: a recording is read whole or not at all.
    public init(contentsOfFile path: String) throws {
        let data = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        calls = try data.split(separator: 0x0A).enumerated().map { index, line in
            guard let call = Call(line) else { throw Failure(description: "\(path): line \(index + 1) is malformed") }
            return call
        }
    }

    /// Every buffer, with what it is: `C_DeriveKey <parameter.data, call 17`.
    public var buffers: [(place: String, bytes: [UInt8])] {
        calls.enumerated().flatMap { index, call in
            call.buffers.map { ("\(call.function) \($0.name), call \(index)", $0.bytes) }
        }
    }
}

extension ModuleRecording.Call {
    fileprivate init?(_ line: ArraySlice<UInt8>) {
        let words = line.split(separator: UInt8(ascii: " "))
        guard words.count >= 3, let process = Int(String(decoding: words[0], as: UTF8.self)) else { return nil }
        self.process = process
        function = String(decoding: words[1], as: UTF8.self)
        var numbers: [(String, UInt)] = []
        var buffers: [(String, [UInt8])] = []
        for word in words.dropFirst(2) {
            guard let mark = word.firstIndex(where: { $0 == UInt8(ascii: "#") || $0 == UInt8(ascii: ":") }) else {
                return nil
            }
            let name = String(decoding: word[..<mark], as: UTF8.self)
            let value = String(decoding: word[(mark + 1)...], as: UTF8.self)
            if word[mark] == UInt8(ascii: "#") {
                guard let number = UInt(value, radix: 16) else { return nil }
                numbers.append((name, number))
            } else {
                guard let bytes = [UInt8](hex: value) else { return nil }
                buffers.append((name, bytes))
            }
        }
        self.numbers = numbers
        self.buffers = buffers
        guard succeeded || number("answer") != nil else { return nil }
    }
}

/// The buffers in a log of OpenSC's `pkcs11-spy.so`: its dumps, each line sixteen bytes in hexadecimal.
public enum SpyLog {
    /// What is said of each call, which begins with a line such as `17: C_CreateObject`. Calls of several threads are not
    /// told apart.
    public static func calls(_ log: String) -> [(function: String, text: String)] {
        var calls: [(function: String, text: String)] = []
        for line in log.split(separator: "\n", omittingEmptySubsequences: false) {
            let words = line.split(separator: " ")
            if words.count == 2, words[0].last == ":", Int(words[0].dropLast()) != nil, words[1].hasPrefix("C_") {
                calls.append((String(words[1]), ""))
            }
            if !calls.isEmpty { calls[calls.count - 1].text += line + "\n" }
        }
        return calls
    }

    /// `00000010  41 42 43 …  ABC…`: an offset, bytes, the same as text. Lines that follow each other are one buffer.
    public static func buffers(_ log: String) -> [(place: String, bytes: [UInt8])] {
        var buffers: [(String, [UInt8])] = []
        var title = ""
        for (number, line) in log.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let row = line.drop { $0 == " " }
            guard row.dropFirst(8).hasPrefix("  "), let offset = Int(row.prefix(8), radix: 16), offset % 16 == 0,
                let bytes = [UInt8](hex: row.dropFirst(10).prefix(47))
            else {
                title = String(line.prefix(60))
                continue
            }
            if offset == 0 { buffers.append(("line \(number + 1), \(title)", [])) }
            if !buffers.isEmpty { buffers[buffers.count - 1].1 += bytes }
        }
        return buffers
    }
}
