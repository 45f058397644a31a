import ByteCoding
import Foundation

@testable import VirtualCard

/// What a process's own virtual chips and their readers said to each other, from `strace`, which sees the sockets between
/// them (the protocol: ``VirtualReaderLink``).
struct ReaderTrace {
    typealias Exchange = (command: [UInt8], answer: [UInt8])

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// What passed from one reset to the next.
    private(set) var dialogues: [[Exchange]] = []

    /// The command that traces what follows it: a file for each thread, `NAME.THREAD`, so that no call is cut in two by
    /// another. Strings in hexadecimal, whole; descriptors with what they are connected to.
    static func command(into name: String) -> String {
        "strace --follow-forks --output-separately --seccomp-bpf -yy -xx -s 70000 -o \(name) -e trace=recvfrom,sendto"
    }

    init(_ name: String, in folder: String) throws {
        for file in try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        where file.hasPrefix(name + ".") {
            try read(try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8), file)
        }
    }

    /// `recvfrom(7<TCP:[127.0.0.1:4711->127.0.0.1:35963]>, "\x00\x01\x04", 65537, 0, NULL, NULL) = 3`
    private mutating func read(_ trace: String, _ file: String) throws {
        let ports = VirtualReaderLink.ports.map { ":\($0)]>" }
        var fromReader: [UInt8] = []
        var command: [UInt8]?
        for line in trace.split(separator: "\n") where ports.contains(where: line.contains) {
            let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
            guard parts.count == 3, !parts[2].hasPrefix("..."),
                let bytes = [UInt8](hex: parts[1].replacing("\\x", with: ""))
            else {
                // The reader closed the connection, or the chip did.
                if parts.count == 3 || line.hasSuffix("= 0") || line.contains("= -1") || line.contains("= ?") {
                    continue
                }
                throw Failure(description: "\(file): a line that cannot be read: \(line.prefix(100))")
            }
            if line.hasPrefix("sendto") {
                if let asked = command, !dialogues.isEmpty {
                    dialogues[dialogues.count - 1].append((asked, Array(bytes.dropFirst(2))))
                }
                command = nil
                continue
            }
            fromReader += bytes
            while let message = Self.message(&fromReader) {
                // Power on, or a reset: another chip may be in the reader.
                if message == [1] || message == [2] { dialogues.append([]) }
                command = message.count == 1 ? nil : message
            }
        }
    }

    private static func message(_ bytes: inout [UInt8]) -> [UInt8]? {
        guard bytes.count >= 2 else { return nil }
        let end = 2 + Int(bytes[0]) << 8 + Int(bytes[1])
        guard bytes.count >= end else { return nil }
        defer { bytes.removeFirst(end) }
        return Array(bytes[2..<end])
    }

    /// The exchanges with the chip whose key diversification data these are, which it gave in an answer to INITIALIZE
    /// UPDATE (GlobalPlatform Amendment D v1.2, 7.1.1).
    func exchanges(withChip diversificationData: [UInt8]) -> [Exchange] {
        dialogues.filter { dialogue in
            dialogue.contains { $0.command.dropFirst().first == 0x50 && $0.answer.starts(with: diversificationData) }
        }.flatMap { $0 }
    }
}
