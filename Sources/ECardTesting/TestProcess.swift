public import Foundation
import Synchronization

/// A child process, as Foundation's `Process` gives it, for tests that start many at once: that one crashes the test
/// process now and then when it is run from several threads (seen with Swift 6.3.1), and its children inherit a mask that
/// blocks nearly all signals.
public final class TestProcess: @unchecked Sendable {
    // @unchecked: what is set before the start is not changed afterwards.
    public var executableURL: URL?
    public var arguments: [String] = []
    public var currentDirectoryURL: URL?
    /// A `Pipe` or a `FileHandle`; `nil`: this process's own.
    public var standardInput: Any?
    public var standardOutput: Any?
    public var standardError: Any?

    private struct State {
        var id: pid_t = 0
        /// As waitpid(2) gives it.
        var status: Int32?
    }
    private let state = Mutex(State())

    public init() {}

    /// - Throws: `POSIXError` when the program cannot be started.
    public func start() throws {
        // SoftHSM's folder is set in the environment, which nobody may change while it is copied (setenv(3)).
        try TemporaryToken.setEnvironment()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        var childEnds: [FileHandle] = []
        for (descriptor, stream) in [(Int32(0), standardInput), (1, standardOutput), (2, standardError)] {
            if let handle = stream as? FileHandle, handle === FileHandle.nullDevice {
                posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
                continue
            }
            guard let handle = Self.childEnd(stream, isInput: descriptor == 0) else { continue }
            posix_spawn_file_actions_adddup2(&actions, handle.fileDescriptor, descriptor)
            if stream is Pipe, !childEnds.contains(where: { $0 === handle }) { childEnds.append(handle) }
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let program = executableURL?.path ?? ""
        guard access(program, X_OK) == 0 else { throw POSIXError(.ENOENT) }
        let line = ["bash", "-c", Self.shell, currentDirectoryURL?.path ?? ".", program] + arguments
        var words: [UnsafeMutablePointer<CChar>?] = line.map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        var id = pid_t()
        let code = posix_spawn(&id, "/bin/bash", &actions, &attributes, &words, environ)
        guard code == 0 else { throw POSIXError(POSIXErrorCode(rawValue: code) ?? .EIO) }
        state.withLock { $0.id = id }
        // The end of what the child writes is the end of the pipe only when nobody else could write.
        for handle in childEnds { try? handle.close() }
    }

    /// Another child that kept a pipe's end open would keep its reader waiting: nothing but the first three goes on.
    private static let shell = """
        cd "$0" || exit 126
        for open in /proc/self/fd/*; do
            number=${open##*/}
            [ "$number" -le 2 ] || eval "exec $number>&-"
        done
        exec "$@"
        """

    private static func childEnd(_ stream: Any?, isInput: Bool) -> FileHandle? {
        switch stream {
        case let pipe as Pipe: isInput ? pipe.fileHandleForReading : pipe.fileHandleForWriting
        case let handle as FileHandle: handle
        default: nil
        }
    }

    public var isRunning: Bool { reap(WNOHANG) == nil && state.withLock { $0.id } != 0 }

    public func waitUntilExit() { _ = reap(0) }

    /// The exit status, or the signal's number.
    public var terminationStatus: Int32 {
        guard let status = reap(0) else { return -1 }
        return status & 0x7F == 0 ? status >> 8 & 0xFF : status & 0x7F
    }

    public func terminate() {
        state.withLock { if $0.id != 0, $0.status == nil { kill($0.id, SIGTERM) } }
    }

    private func reap(_ options: Int32) -> Int32? {
        let id = state.withLock { $0.status == nil ? $0.id : 0 }
        if id != 0, options == 0 {
            // Waited for without the lock, and not reaped: its number stays its own until it is.
            var info = siginfo_t()
            while waitid(P_PID, id_t(id), &info, WEXITED | WNOWAIT) < 0, errno == EINTR {}
        }
        return state.withLock { state in
            guard state.status == nil, state.id != 0 else { return state.status }
            var status: Int32 = 0
            if waitpid(state.id, &status, WNOHANG) == state.id { state.status = status }
            return state.status
        }
    }
}
