import ByteCoding
import Foundation

/// The descriptors that the caller opened for this process. A number that is none of these may be the ledger's by now:
/// a code must be neither written to it nor read from it.
enum CallersDescriptors {
    /// Taken at the first use, which is the first thing the process does.
    static let all = Set((0..<1024 as Range<Int32>).filter { fcntl($0, F_GETFD) >= 0 })

    /// - Parameters:
    ///   - access: `O_RDONLY` or `O_WRONLY`.
    ///   - option: where the number was given, such as `--code-fd`.
    static func require(_ descriptor: Int32, for access: Int32, option: String) throws {
        let flags = all.contains(descriptor) ? fcntl(descriptor, F_GETFL) : -1
        let mode = flags & O_ACCMODE
        guard flags >= 0, mode == access || mode == O_RDWR else {
            let (word, sign) = access == O_WRONLY ? ("writing", ">") : ("reading", "<")
            throw UsageFailure(
                "\(option): descriptor \(descriptor) is not open for \(word). "
                    + "Open it in the shell, as in \(option) 3 3\(sign)file")
        }
    }
}

/// Reads a PIN, a code or a PAN from where it does not show: never from the command line's words.
enum SecretInput {
    /// Longest secret taken, in bytes.
    private static let limit = 256

    /// From a descriptor of the caller's, up to the first newline or its end.
    static func read(descriptor: Int32, what: String, option: String) throws -> SecretBytes {
        try CallersDescriptors.require(descriptor, for: O_RDONLY, option: option)
        return try readLine(descriptor, what: what)
    }

    /// From a file that only its owner may read.
    /// - Parameter option: what named the file.
    static func file(_ path: String, what: String, option: String) throws -> SecretBytes {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
            throw UsageFailure("\(option) \(path): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o077 == 0 else {
            throw UsageFailure("\(option) \(path) can be read by others. Run: chmod 600 '\(path)'")
        }
        return try readLine(descriptor, what: what)
    }

    static func readLine(_ descriptor: Int32, what: String) throws -> SecretBytes {
        var bytes: [UInt8] = []
        defer { SecretBytes.wipe(&bytes) }
        bytes.reserveCapacity(limit + 1)
        var byte: UInt8 = 0
        while bytes.count <= limit {
            let count = Foundation.read(descriptor, &byte, 1)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else {
                throw UsageFailure(
                    "cannot read the \(what) from descriptor \(descriptor): \(String(cString: strerror(errno)))")
            }
            if count == 0 || byte == UInt8(ascii: "\n") { break }
            bytes.append(byte)
        }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        guard !bytes.isEmpty, bytes.count <= limit else {
            throw UsageFailure(
                "descriptor \(descriptor) gave no usable \(what): one line of 1 to \(limit) characters wanted")
        }
        return SecretBytes(bytes)
    }

    /// From the terminal, without echo.
    /// - Parameter option: what to give instead where there is no terminal, such as `--code-fd`.
    static func prompt(_ text: String, what: String, option: String) throws -> SecretBytes {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC)
        guard terminal >= 0 else {
            throw UsageFailure(
                "no terminal to ask for the \(what) on. Give it by a descriptor, as in \(option) 3 3<file")
        }
        defer { close(terminal) }
        var before = termios()
        guard tcgetattr(terminal, &before) == 0 else {
            throw UsageFailure("the terminal cannot be set to hide what is typed")
        }
        let restore = whenEnded { [before] in
            var before = before
            tcsetattr(terminal, TCSAFLUSH, &before)
        }
        defer { restore.cancel() }
        var silent = before
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(terminal, TCSAFLUSH, &silent)
        _ = text.withCString { write(terminal, $0, strlen($0)) }
        defer {
            tcsetattr(terminal, TCSAFLUSH, &before)
            _ = write(terminal, "\n", 1)
        }
        return try readLine(terminal, what: what)
    }

    /// A person who interrupts a question gets a terminal back that is as it was: `restore` runs before the process ends.
    static func whenEnded(_ restore: @escaping @Sendable () -> Void) -> EndingSignals {
        EndingSignals.handle { number in
            restore()
            signal(number, SIG_DFL)
            kill(getpid(), number)
        }
    }
}

/// Where a PAN, a code or a key component is written to: a descriptor that the caller opened, seen to be one before anything
/// is made for it, or a new private file.
struct SecretOutput {
    private let descriptor: Int32

    init(descriptor: Int32, option: String) throws {
        try CallersDescriptors.require(descriptor, for: O_WRONLY, option: option)
        self.descriptor = descriptor
    }

    /// A file that was not there, mode 0600.
    init(newFile path: String, option: String) throws {
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw UsageFailure("\(option) \(path): \(String(cString: strerror(errno)))") }
    }

    /// Writes one line.
    /// - Parameter advice: what to do about a secret that nobody got.
    func write(_ secret: [UInt8], advice: String) throws {
        // In its order, where the descriptor is standard output.
        fflush(nil)
        var line = secret + [UInt8(ascii: "\n")]
        defer { SecretBytes.wipe(&line) }
        var written = 0
        while written < line.count {
            let count = line[written...].withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                throw EnvironmentFailure(
                    "cannot write to descriptor \(descriptor): \(String(cString: strerror(errno)))", advice: advice)
            }
            written += count
        }
    }
}

extension SecretBytes {
    /// As text, where an interface takes nothing else.
    var exposedText: String { withBytes { String(decoding: $0, as: UTF8.self) } }
}
