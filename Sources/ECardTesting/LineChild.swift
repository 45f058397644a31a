public import Foundation

/// A child process that answers a line with a line.
public final class LineChild {
    private let process = TestProcess()
    private let input = Pipe()
    private let output = Pipe()
    private var buffered = Data()

    public init(_ program: String, _ arguments: [String]) throws {
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        input.closeOnExec()
        output.closeOnExec()
        process.standardInput = input
        process.standardOutput = output
        try process.start()
    }

    deinit {
        // End of input ends the child. One that was never started has nothing to wait for.
        try? input.fileHandleForWriting.close()
        if process.isRunning { process.waitUntilExit() }
    }

    public func send(_ line: Data) throws {
        try input.fileHandleForWriting.write(contentsOf: line + [0x0A])
    }

    /// The next line without its end; `nil` when the child has ended.
    public func line() -> String? {
        while true {
            if let end = buffered.firstIndex(of: 0x0A) {
                let line = String(decoding: buffered[buffered.startIndex..<end], as: UTF8.self)
                buffered = Data(buffered[buffered.index(after: end)...])
                return line
            }
            let more = output.fileHandleForReading.availableData
            guard !more.isEmpty else { return nil }
            buffered.append(more)
        }
    }
}
