import ECardTesting
import Foundation
import Testing

/// How a child process ended, and what it said.
struct Outcome: Sendable, CustomStringConvertible {
    let script: String
    /// 0 to 255, or 128 and the signal's number.
    let status: Int32
    let out: String
    let err: String

    var description: String { "\(script)\n[\(status)]\n\(out)\(err)" }

    /// Standard output without the last newline.
    var line: String { out.hasSuffix("\n") ? String(out.dropLast()) : out }

    /// What `--json` printed.
    func json(sourceLocation: SourceLocation = #_sourceLocation) throws -> Any {
        try #require(
            try? JSONSerialization.jsonObject(with: Data(out.utf8), options: .fragmentsAllowed), "no JSON: \(self)",
            sourceLocation: sourceLocation)
    }
}

/// Runs bash with the built tool on the path, in a session of its own: without a terminal.
enum Shell {
    /// Where `swift build` put this test and the tool.
    static let binaries = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        .path
    /// The package.
    static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    /// Scripts that run at once. All tests begin together: without it each would share the machine with a hundred others,
    /// and none would end in its time.
    private static let places = DispatchSemaphore(value: 2 * ProcessInfo.processInfo.activeProcessorCount)

    /// - Parameters:
    ///   - home: `ECARD_HOME`.
    ///   - folder: where it runs.
    ///   - limit: seconds after which it is killed, with everything it started in its session; counted from its start.
    static func run(
        _ script: String, home: String, folder: String? = nil, environment: [String: String] = [:], limit: Int = 120
    ) async throws -> Outcome {
        try await onOwnThread {
            places.wait()
            defer { places.signal() }
            return try wait(script, home: home, folder: folder, environment: environment, limit: limit)
        }
    }

    private static func wait(
        _ script: String, home: String, folder: String?, environment: [String: String], limit: Int
    ) throws -> Outcome {
        let files = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-shell-\(UUID().uuidString)")
            .path
        try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: files) }

        var variables = ProcessInfo.processInfo.environment
        variables["SOFTHSM2_CONF"] = nil
        variables["PATH"] = "\(binaries):\(variables["PATH"] ?? "/usr/bin:/bin"):/usr/sbin"
        variables["ECARD_HOME"] = home
        variables.merge(environment) { $1 }
        variables["FOLDER"] = folder ?? files
        let child = try ChildProcess(
            "/bin/bash", ["bash", "-c", prologue + script], environment: variables,
            output: [1: files + "/out", 2: files + "/err"])
        let watchdog = DispatchWorkItem { child.kill(group: true) }
        ChildProcess.alarms.asyncAfter(deadline: .now() + .seconds(limit), execute: watchdog)
        defer { watchdog.cancel() }
        let status = child.wait()
        func text(_ name: String) -> String {
            String(decoding: FileManager.default.contents(atPath: "\(files)/\(name)") ?? Data(), as: UTF8.self)
        }
        return Outcome(script: script, status: status, out: text("out"), err: text("err"))
    }

    /// Descriptors of the test process that were not closed on their way are closed here: a script opens its own.
    private static let prologue = """
        for FD in /proc/self/fd/*; do FD=${FD##*/}; [ $FD -gt 2 ] && eval "exec $FD>&-"; done; cd "$FOLDER"

        """

    struct Failure: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }
}

/// The outcome is what it should be: the exit code, and words of the message, on the error output.
func expect(
    _ outcome: Outcome, exits status: Int32, saying words: [String] = [],
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(outcome.status == status, "\(outcome)", sourceLocation: sourceLocation)
    for word in words {
        #expect(
            outcome.err.localizedCaseInsensitiveContains(word), "'\(word)' in: \(outcome)",
            sourceLocation: sourceLocation)
    }
    // What belongs to a programmer is not shown to a person.
    for leak in ["Error Domain", "Optional(", "Fatal error", "crashed", "DecodingError", "CodingKeys"] {
        #expect(!outcome.err.contains(leak), "\(outcome)", sourceLocation: sourceLocation)
    }
    if status > 1 {
        #expect(!outcome.err.isEmpty, "nothing was said: \(outcome)", sourceLocation: sourceLocation)
    }
}
