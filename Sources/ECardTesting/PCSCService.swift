import Glibc
public import Testing

/// A pcscd with the two virtual readers, for one test at a time on this machine.
///
/// A service that runs already is used and left alone. Else one is started as a child (as root) and stopped at the end of
/// the scope, also when the test process dies: the child ends when its standard input does.
public final class PCSCService: Sendable {
    /// Why there is no service to test with.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    /// The service of the test that runs in this scope.
    @TaskLocal public static var current: PCSCService?

    private static let socketPath = "/run/pcscd/pcscd.comm"
    private static let ports: [UInt16] = [35963, 35964]
    private static let lockPath = "/tmp/ecard-virtual-readers.lock"

    private let child: Child?

    /// Whether this scope started the service and so may stop it.
    public var isOurs: Bool { child != nil }

    private init(child: Child?) { self.child = child }

    /// Runs `body` while nobody else tests with the virtual readers.
    /// - Throws: ``Failure`` when no service can be had; what `body` throws.
    public static func exclusively<Value>(
        isolation: isolated (any Actor)? = #isolation, _ body: (PCSCService) async throws -> Value
    ) async throws -> Value {
        let lock = try await onOwnThread { try openLock() }
        defer { close(lock) }
        let service: PCSCService
        if isReady {
            service = PCSCService(child: nil)
        } else {
            guard geteuid() == 0 else {
                throw Failure(description: "pcscd with virtual readers does not run, and only root can start it")
            }
            service = PCSCService(child: Child())
            try await service.start()
        }
        let outcome: Result<Value, any Error>
        do {
            outcome = .success(try await $current.withValue(service, operation: { try await body(service) }))
        } catch {
            outcome = .failure(error)
        }
        await service.stop()
        return try outcome.get()
    }

    /// Starts the service after ``stop(signal:)``; returns when both readers are there.
    public func start() async throws {
        guard let child else { return }
        try child.start()
        let deadline = ContinuousClock.now + .seconds(60)
        while !Self.isReady {
            guard ContinuousClock.now < deadline else {
                throw Failure(description: "pcscd was started, but the virtual readers did not come within a minute")
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Stops the service if it is ours; returns when it has ended.
    public func stop(signal: String = "TERM") async {
        guard let child else { return }
        await onOwnThread { child.stop(signal: signal) }
    }

    /// The service takes clients and the driver listens for both cards.
    private static var isReady: Bool {
        isServing && ports.allSatisfy(isListening)
    }

    private static var isServing: Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socketPath.utf8) }
        return withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
    }

    /// Looked up instead of tried: a connection would be a card in the reader. State `0A` is LISTEN (proc(5)).
    private static func isListening(_ port: UInt16) -> Bool {
        guard let file = fopen("/proc/net/tcp", "r") else { return false }
        defer { fclose(file) }
        let digits = String(port, radix: 16, uppercase: true)
        var line = [CChar](repeating: 0, count: 512)
        while fgets(&line, Int32(line.count), file) != nil {
            let fields = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
                .split(separator: " ")
            if fields.count > 3, fields[1].hasSuffix(":" + digits), fields[3] == "0A" { return true }
        }
        return false
    }

    private static func openLock() throws -> Int32 {
        var descriptor = open(lockPath, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { descriptor = open(lockPath, O_RDONLY | O_CREAT | O_CLOEXEC, 0o644) }
        guard descriptor >= 0, flock(descriptor, LOCK_EX) == 0 else {
            throw Failure(description: "cannot lock \(lockPath): \(String(cString: strerror(errno)))")
        }
        return descriptor
    }
}

/// pcscd under a shell that ends it when told a signal's name, or when our end of the lifeline closes for any reason.
private final class Child: @unchecked Sendable {
    // @unchecked: used by one test at a time.
    private var pid: pid_t = 0
    private var lifeline: Int32 = -1

    private static let script = """
        PATH=$PATH:/usr/sbin:/usr/local/sbin pcscd --foreground </dev/null >/dev/null 2>&1 &
        read signal
        kill -${signal:-TERM} $!
        wait $!
        """

    func start() throws {
        var ends: [Int32] = [-1, -1]
        // A socket pair, not a pipe: it can be closed on exec from the start, so that no other child keeps it open.
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw PCSCService.Failure(description: "no socket pair: \(String(cString: strerror(errno)))")
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        // A thread of ours blocks signals, and pcscd would inherit that and never end.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var arguments: [UnsafeMutablePointer<CChar>?] =
            (["sh", "-c", Self.script] as [String])
            .map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        let code = posix_spawn(&pid, "/bin/sh", &actions, &attributes, &arguments, environ)
        close(ends[0])
        guard code == 0 else {
            close(ends[1])
            throw PCSCService.Failure(description: "cannot start pcscd: \(String(cString: strerror(code)))")
        }
        lifeline = ends[1]
    }

    func stop(signal: String) {
        guard lifeline >= 0 else { return }
        let line = Array((signal + "\n").utf8)
        _ = write(lifeline, line, line.count)
        close(lifeline)
        lifeline = -1
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    }
}

/// `@Suite(.serialized, .virtualReaders)`: each test of the suite has the virtual readers for itself. Between two of them
/// others have their turn, who need a card for a moment and then work long without.
public struct VirtualReadersTrait: SuiteTrait, TestTrait, TestScoping {
    public var isRecursive: Bool { true }

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        try await PCSCService.exclusively { _ in try await function() }
    }
}

extension Trait where Self == VirtualReadersTrait {
    public static var virtualReaders: Self { Self() }
}
