import ECardTesting
import Foundation
import Synchronization

/// A child in a session of its own, which can be killed at any moment without ever meeting a number given out again.
final class ChildProcess: Sendable {
    let id: pid_t
    private struct End {
        var isReaped = false
        var status: Int32 = 0
    }
    private let end = Mutex(End())
    /// Ends children on time. The global queues' threads are those of the tests, which may all be at work.
    static let alarms = DispatchQueue(label: "child.alarms")

    /// - Parameters:
    ///   - input: files to read from, by descriptor; 0 is the null device unless given.
    ///   - output: files to append to, by descriptor; made with mode 0600.
    init(
        _ program: String, _ words: [String], environment: [String: String], input: [Int32: String] = [:],
        output: [Int32: String]
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (descriptor, path) in input.merging([0: "/dev/null"], uniquingKeysWith: { given, _ in given }) {
            posix_spawn_file_actions_addopen(&actions, descriptor, path, O_RDONLY, 0)
        }
        for (descriptor, path) in output {
            posix_spawn_file_actions_addopen(&actions, descriptor, path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // This thread's blocked signals are not to be inherited; POSIX_SPAWN_SETSID is 0x80, for _GNU_SOURCE alone.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK) | 0x80)
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var settings: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { (arguments + settings).forEach { free($0) } }
        var process = pid_t()
        let code = posix_spawn(&process, program, &actions, &attributes, &arguments, &settings)
        guard code == 0 else { throw Shell.Failure("cannot start \(program): \(String(cString: strerror(code)))") }
        id = process
    }

    /// Sends SIGKILL, unless the child was waited for.
    /// - Parameter group: also to whatever it started in its session.
    func kill(group: Bool = false) {
        end.withLock { if !$0.isReaped { Foundation.kill(group ? -id : id, SIGKILL) } }
    }

    /// Sends SIGTERM, unless the child was waited for.
    func terminate() { end.withLock { if !$0.isReaped { Foundation.kill(id, SIGTERM) } } }

    /// Whether it has ended by itself or was killed; it may still have to be waited for.
    var hasEnded: Bool {
        end.withLock { end in
            if end.isReaped { return true }
            var info = siginfo_t()
            return waitid(P_PID, id_t(id), &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_signo != 0
        }
    }

    /// Blocks until the child has ended.
    /// - Returns: 0 to 255, or 128 and the signal's number.
    func wait() -> Int32 {
        // Seen to be dead but not reaped, its number stays its own.
        var info = siginfo_t()
        while waitid(P_PID, id_t(id), &info, WEXITED | WNOWAIT) < 0, errno == EINTR {}
        return end.withLock { end in
            if !end.isReaped {
                var status: Int32 = 0
                while waitpid(id, &status, 0) < 0, errno == EINTR {}
                let signal = status & 0x7F
                end = End(isReaped: true, status: signal == 0 ? status >> 8 & 0xFF : 128 + signal)
            }
            return end.status
        }
    }
}

/// One run of the built tool without a shell between: a kill meets the tool itself.
struct ToolRun: Sendable {
    let status: Int32
    /// What had come out of standard output when it ended.
    let out: String
    let err: String
    let took: Duration

    var wasKilled: Bool { status == 128 + SIGKILL }

    /// - Parameter killAfter: `nil` lets it end by itself.
    static func of(
        _ words: [String], home: String, input: [Int32: String] = [:], output: [Int32: String] = [:],
        killAfter: Duration? = nil
    ) async throws -> ToolRun {
        try await onOwnThread { try wait(words, home, input, output, killAfter) }
    }

    private static func wait(
        _ words: [String], _ home: String, _ input: [Int32: String], _ output: [Int32: String], _ killAfter: Duration?
    ) throws -> ToolRun {
        let files = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-run-\(UUID().uuidString)").path
        defer { for name in [".out", ".err"] { unlink(files + name) } }
        var variables = ProcessInfo.processInfo.environment
        variables["SOFTHSM2_CONF"] = nil
        variables["ECARD_HOME"] = home
        let started = ContinuousClock.now
        let child = try ChildProcess(
            Shell.binaries + "/ecard", ["ecard"] + words, environment: variables, input: input,
            output: output.merging([1: files + ".out", 2: files + ".err"]) { given, _ in given })
        // One that hangs is killed and so found: nothing here takes two minutes.
        let limit = killAfter ?? .seconds(120)
        ChildProcess.alarms.asyncAfter(deadline: .now() + limit / .seconds(1)) { child.kill() }
        let status = child.wait()
        func text(_ name: String) -> String {
            String(decoding: FileManager.default.contents(atPath: files + name) ?? Data(), as: UTF8.self)
        }
        return ToolRun(
            status: status, out: text(".out"), err: text(".err"), took: ContinuousClock.now - started)
    }
}
