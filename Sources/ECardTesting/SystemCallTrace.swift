public import Foundation

/// What processes did to the files of one folder and what they told outside of it, in the order in which it happened:
/// read from the output of `strace`, which sees every call, those of the C library's own streams too.
public struct SystemCallTrace: Sendable {
    public enum Event: Sendable {
        /// A name that was not there, for a new empty file.
        case create(String)
        case makeFolder(String)
        case link(String, to: String)
        case rename(String, to: String)
        /// A file or an empty folder.
        case remove(String)
        case write(String, at: Int, [UInt8])
        case truncate(String, to: Int)
        /// fsync or fdatasync: makes durable what had ended when it began, at this number of events.
        case sync(String, of: Int)
        /// Bytes that left for a place outside the folder: a descriptor of the caller's, a socket.
        case answer(descriptor: Int, [UInt8])
    }

    /// The calls to be traced.
    public static let calls = [
        "openat", "open", "creat", "write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate", "truncate",
        "fallocate", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat",
        "rmdir", "fsync", "fdatasync", "lseek", "sendto", "sendmsg", "mmap", "copy_file_range", "sendfile", "clone",
        "clone3", "fork", "vfork",
    ]

    /// The command that traces what follows it, into `file`. Strings in hexadecimal, whole, descriptors with their paths.
    public static func command(into file: String) -> String {
        "strace -f -y -xx --seccomp-bpf -s 100000000 -o \(file) -e trace=\(calls.joined(separator: ","))"
    }

    public private(set) var events: [Event] = []
    /// Calls that change a file in a way that this reader does not follow; none is expected.
    public private(set) var unseen: [String] = []

    private let root: String
    private var names: Set<String>
    private var positions: [String: Int] = [:]
    private var processes: [Int: Int] = [:]
    private var unfinished: [Int: (call: [UInt8], began: Int)] = [:]

    /// - Parameters:
    ///   - text: what strace wrote.
    ///   - root: the folder.
    ///   - before: the paths of files and folders in it when the trace began.
    public init(_ text: Data, root: String, before: Set<String>) {
        self.root = root
        names = before
        let lines = text.split(separator: UInt8(ascii: "\n"))
        for line in lines { noteProcess(Array(line)) }
        for line in lines { read(Array(line)) }
    }

    // MARK: Lines

    private static let resumed = Array(" resumed>".utf8)
    private static let cut = Array(" <unfinished ...>".utf8)

    /// `PID call(…) = result`, or its two halves where another thread came between.
    private mutating func read(_ line: [UInt8]) {
        guard let (thread, rest) = Self.thread(of: line) else { return }
        if rest.starts(with: "<... ".utf8) {
            guard let (first, began) = unfinished.removeValue(forKey: thread),
                let end = rest.firstRange(of: Self.resumed)?.upperBound
            else { return }
            perform(Call(first + rest[end...]), thread, began: began)
        } else if rest.suffix(Self.cut.count).elementsEqual(Self.cut) {
            let first = Array(rest.dropLast(Self.cut.count))
            // What is sent counts as sent when the call begins.
            if let call = Call(first + Array(") = 0".utf8)), call.isSending { answer(call) }
            unfinished[thread] = (first, events.count)
        } else {
            if let call = Call(Array(rest)), call.isSending { answer(call) }
            perform(Call(Array(rest)), thread, began: events.count)
        }
    }

    private static func thread(of line: [UInt8]) -> (Int, ArraySlice<UInt8>)? {
        let digits = line.prefix { $0 >= 0x30 && $0 <= 0x39 }
        guard let thread = Int(String(decoding: digits, as: UTF8.self)) else { return nil }
        return (thread, line[digits.endIndex...].drop { $0 == 0x20 })
    }

    private mutating func noteProcess(_ line: [UInt8]) {
        guard let (thread, rest) = Self.thread(of: line), rest.firstRange(of: Array("CLONE_THREAD".utf8)) != nil,
            let result = rest.firstRange(of: Array(") = ".utf8)),
            let child = Int(String(decoding: rest[result.upperBound...], as: UTF8.self))
        else { return }
        processes[child] = thread
    }

    private func process(of thread: Int) -> Int {
        var thread = thread
        while let parent = processes[thread] { thread = parent }
        return thread
    }

    // MARK: Calls

    private func isInside(_ path: String) -> Bool { path == root || path.hasPrefix(root + "/") }

    private mutating func answer(_ call: Call) {
        guard let target = call.arguments.first, let path = target.path, !isInside(path), !path.hasPrefix("/proc/")
        else {
            return
        }
        events.append(.answer(descriptor: target.number ?? -1, call.bytes))
    }

    private mutating func perform(_ call: Call?, _ thread: Int, began: Int) {
        guard let call, call.result >= 0 else { return }
        let arguments = call.arguments
        switch call.name {
        case "clone", "clone3": if call.makesThread { processes[call.result] = thread }
        case "open", "openat", "creat": open(call, thread)
        case "rename": move(arguments, 0, nil, 1, nil)
        case "renameat", "renameat2": move(arguments, 1, 0, 3, 2)
        case "link": addName(arguments, 0, nil, 1, nil)
        case "linkat": addName(arguments, 1, 0, 3, 2)
        case "unlink", "rmdir": remove(path(arguments, 0, nil))
        case "unlinkat": remove(path(arguments, 1, 0))
        case "mkdir", "mkdirat":
            let path = call.name == "mkdir" ? path(arguments, 0, nil) : path(arguments, 1, 0)
            if isInside(path) {
                names.insert(path)
                events.append(.makeFolder(path))
            }
        default: performOnDescriptor(call, thread, began: began)
        }
    }

    private mutating func performOnDescriptor(_ call: Call, _ thread: Int, began: Int) {
        guard let file = call.arguments.first(where: { $0.path.map(isInside) == true }), let path = file.path,
            !file.text.contains("deleted"),
            !path.hasSuffix("-shm")
        else { return }
        let position = "\(process(of: thread)) \(file.number ?? -1)"
        switch call.name {
        case "write", "writev":
            let offset = positions[position] ?? 0
            positions[position] = offset + call.result
            events.append(.write(path, at: offset, Array(call.bytes.prefix(call.result))))
        case "pwrite64", "pwritev", "pwritev2":
            guard let offset = call.arguments.dropFirst(3).first?.number else {
                return unseen.append("a \(call.name) without offset")
            }
            events.append(.write(path, at: offset, Array(call.bytes.prefix(call.result))))
        case "lseek": positions[position] = call.result
        case "ftruncate":
            guard let length = call.arguments.dropFirst().first?.number else {
                return unseen.append("an ftruncate without length")
            }
            events.append(.truncate(path, to: length))
        case "fsync", "fdatasync": events.append(.sync(path, of: began))
        case "mmap" where !call.maps: break
        default: unseen.append("\(call.name) of \(path)")
        }
    }

    private mutating func open(_ call: Call, _ thread: Int) {
        let path = call.name == "openat" ? path(call.arguments, 1, 0) : path(call.arguments, 0, nil)
        guard isInside(path), !path.hasSuffix("-shm") else { return }
        let flags = call.arguments.first { $0.text.contains("O_") }?.text ?? ""
        if flags.contains("O_CREAT"), names.insert(path).inserted {
            events.append(.create(path))
        } else if flags.contains("O_TRUNC") {
            events.append(.truncate(path, to: 0))
        }
        positions["\(process(of: thread)) \(call.result)"] = 0
    }

    private func path(_ arguments: [Call.Argument], _ name: Int, _ folder: Int?) -> String {
        guard arguments.indices.contains(name) else { return "" }
        let text = String(decoding: arguments[name].string ?? [], as: UTF8.self)
        guard !text.hasPrefix("/"), let folder else { return text }
        return (arguments[folder].path ?? "") + "/" + text
    }

    private mutating func move(_ arguments: [Call.Argument], _ old: Int, _ oldIn: Int?, _ new: Int, _ newIn: Int?) {
        let (from, to) = (path(arguments, old, oldIn), path(arguments, new, newIn))
        guard isInside(from), !from.hasSuffix("-shm") else { return }
        names.remove(from)
        names.insert(to)
        events.append(.rename(from, to: to))
    }

    private mutating func addName(_ arguments: [Call.Argument], _ old: Int, _ oldIn: Int?, _ new: Int, _ newIn: Int?) {
        let (from, to) = (path(arguments, old, oldIn), path(arguments, new, newIn))
        guard isInside(from) else { return }
        names.insert(to)
        events.append(.link(from, to: to))
    }

    private mutating func remove(_ path: String) {
        guard isInside(path), !path.hasSuffix("-shm") else { return }
        names.remove(path)
        events.append(.remove(path))
    }
}

/// One line's call: `name(arguments) = result`.
private struct Call {
    struct Argument {
        /// As written, without what stands in quotes or angle brackets.
        var text = ""
        /// What stands in angle brackets: a descriptor's path.
        var path: String?
        /// What stands in quotes; of several, as `writev` has them, all.
        var string: [UInt8]?

        var number: Int? { Int(text.trimmingCharacters(in: .whitespaces)) }
    }

    let name: String
    private(set) var arguments: [Argument] = []
    let result: Int

    var bytes: [UInt8] { arguments.dropFirst().flatMap { $0.string ?? [] } }
    var isSending: Bool { ["write", "writev", "sendto", "sendmsg"].contains(name) }
    var makesThread: Bool { arguments.contains { $0.text.contains("CLONE_THREAD") } }
    /// A mapping through which the file itself is written.
    var maps: Bool {
        let text = arguments.map(\.text).joined(separator: ",")
        return text.contains("PROT_WRITE") && text.contains("MAP_SHARED")
    }

    init?(_ line: [UInt8]) {
        guard let start = line.firstIndex(of: UInt8(ascii: "(")), let end = line.lastRange(of: Array(" = ".utf8)) else {
            return nil
        }
        name = String(decoding: line[..<start], as: UTF8.self)
        let digits = line[end.upperBound...].prefix { $0 == 0x2D || $0 >= 0x30 && $0 <= 0x39 }
        guard let result = Int(String(decoding: digits, as: UTF8.self)) else { return nil }
        self.result = result
        // Short lines are filled up with spaces between the bracket and the result.
        let text = line[line.index(after: start)..<end.lowerBound]
        guard let bracket = text.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        read(text[..<bracket])
    }

    private mutating func read(_ text: ArraySlice<UInt8>) {
        var argument = Argument()
        var plain: [UInt8] = []
        var depth = 0
        var index = text.startIndex
        while index < text.endIndex {
            switch text[index] {
            case UInt8(ascii: "\""):
                let (bytes, next) = Self.hexadecimal(text, from: index + 1, to: UInt8(ascii: "\""))
                argument.string = (argument.string ?? []) + bytes
                index = next
            case UInt8(ascii: "<"):
                let (bytes, next) = Self.hexadecimal(text, from: index + 1, to: UInt8(ascii: ">"))
                argument.path = String(decoding: bytes, as: UTF8.self)
                index = next
            case UInt8(ascii: ",") where depth == 0:
                argument.text = String(decoding: plain, as: UTF8.self)
                arguments.append(argument)
                argument = Argument()
                plain = []
            case let byte:
                if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") { depth += 1 }
                if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") { depth -= 1 }
                plain.append(byte)
            }
            index += 1
        }
        argument.text = String(decoding: plain, as: UTF8.self)
        arguments.append(argument)
    }

    /// `\x2f…`, with anything that stands between them as it is.
    /// - Returns: also where the closing mark is.
    private static func hexadecimal(_ text: ArraySlice<UInt8>, from start: Int, to end: UInt8) -> ([UInt8], Int) {
        var bytes: [UInt8] = []
        var index = start
        while index < text.endIndex, text[index] != end {
            if text[index] == UInt8(ascii: "\\"), index + 3 < text.endIndex {
                bytes.append(digit(text[index + 2]) << 4 | digit(text[index + 3]))
                index += 4
            } else {
                bytes.append(text[index])
                index += 1
            }
        }
        return (bytes, index)
    }

    private static func digit(_ byte: UInt8) -> UInt8 { byte < 0x3A ? byte & 0x0F : byte & 0x0F + 9 }
}

extension Collection where Element == UInt8 {
    fileprivate func lastRange(of pattern: [UInt8]) -> Range<Int>? where Self == [UInt8] {
        guard count >= pattern.count else { return nil }
        return stride(from: count - pattern.count, through: 0, by: -1).first {
            self[$0] == pattern[0] && self[$0..<$0 + pattern.count].elementsEqual(pattern)
        }.map { $0..<$0 + pattern.count }
    }
}
