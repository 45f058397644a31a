public import Foundation
import NIOCore
import NIOPosix

/// Daemons of others under a shell script, in a folder of their own. They end when the test lets go of them, and also when
/// the test process dies: the script's standard input ends then, and it must wait for that.
public final class ServiceChild: @unchecked Sendable {
    // @unchecked: after the start only stop() changes anything, and Process looks after itself.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
        public init(description: String) { self.description = description }
    }

    /// For configuration, sockets and logs; goes with the child.
    public let folder: URL
    private let process = TestProcess()
    private let lifeline = Pipe()

    /// What a script begins with: `end_with_input PID…` waits for the end of its input, then ends those.
    private static let prelude = """
        PATH=$PATH:/usr/sbin:/usr/local/sbin
        cd "$0" || exit 1
        # wait_for_port HOST PORT PID: until it is open, or the process has ended.
        port_is_open() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }
        wait_for_port() { until port_is_open "$1" "$2"; do kill -0 "$3" || exit 1; read -r -t 0.05 <> <(:); done; }
        # Not by a signal that can be blocked: this process has its parent's mask, which blocks nearly all, and so have they.
        end_with_input() {
            read -r _ || true
            kill -9 "$@" 2>/dev/null
            wait
        }

        """

    /// - Parameters:
    ///   - files: written into the folder before the script starts.
    ///   - script: bash; runs in the folder, prints to `output` there, and calls `end_with_input` last.
    public init(_ script: String, _ arguments: [String] = [], files: [String: String]) throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("service-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        for (name, text) in files { try Data(text.utf8).write(to: folder.appendingPathComponent(name)) }
        let output = folder.appendingPathComponent("output")
        try Data().write(to: output)
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", Self.prelude + script, folder.path] + arguments
        lifeline.closeOnExec()
        process.standardInput = lifeline
        process.standardOutput = try FileHandle(forWritingTo: output)
        process.standardError = process.standardOutput
        try process.start()
    }

    public var isRunning: Bool { process.isRunning }

    /// What the daemons have printed.
    public var output: String {
        (try? String(contentsOf: folder.appendingPathComponent("output"), encoding: .utf8)) ?? ""
    }

    /// Ends the daemons; returns when they have ended.
    public func stop() {
        try? lifeline.fileHandleForWriting.close()
        if process.isRunning { process.waitUntilExit() }
    }

    deinit {
        stop()
        try? FileManager.default.removeItem(at: folder)
    }

    /// Waits until `condition` holds, while the daemons live.
    public func wait(
        _ limit: Duration = .seconds(240), for what: String, until condition: () async throws -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + limit
        while try await !condition() {
            guard isRunning, ContinuousClock.now < deadline else {
                throw Failure(description: "\(what) did not come within \(limit): \(output.suffix(2000))")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Whether something listens at a port of loopback.
    public static func isOpen(host: String = "127.0.0.1", port: Int) async -> Bool {
        let channel = try? await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: host, port: port).get()
        try? await channel?.close()
        return channel != nil
    }

    /// Ports of loopback at which nothing listens, each given once in this process.
    public static func freePorts(_ count: Int) throws -> [Int] {
        try (0..<count).map { _ in
            let bound = try BoundSocket()
            close(bound.descriptor)
            return bound.port
        }
    }

    /// Where a program is, looked for as the scripts do.
    public static func path(of program: String) -> String? {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { String($0) }
        return (folders + ["/usr/bin", "/usr/sbin", "/usr/local/sbin"]).map { "\($0)/\(program)" }
            .first { access($0, X_OK) == 0 }
    }
}

extension Pipe {
    /// So that no other child keeps it open: who reads from it would wait for that child's end.
    func closeOnExec() {
        for end in [fileHandleForReading, fileHandleForWriting] { _ = fcntl(end.fileDescriptor, F_SETFD, FD_CLOEXEC) }
    }
}
