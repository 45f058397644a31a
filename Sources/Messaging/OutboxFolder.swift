import Glibc

/// A private folder to which whole files are added, durably and never twice.
struct OutboxFolder: Sendable {
    let path: String

    /// Adds files together: each gets its name once it is durable, and all names are made durable at once.
    /// - Returns: of each what failed, or `nil` when it lies there.
    func add(_ files: [(name: String, bytes: [UInt8])]) -> [OutboxError?] {
        do throws(OutboxError) {
            let folder = try open()
            defer { close(folder) }
            guard mkdirat(folder, Self.unfinished, 0o700) == 0 || errno == EEXIST else {
                throw failure("mkdirat", Self.unfinished)
            }
            let failures = files.map { name, bytes -> OutboxError? in
                do throws(OutboxError) { try add(name, bytes, to: folder) } catch { return error }
                return nil
            }
            // Also of those that were there before: whoever wrote them may have died before this.
            guard fsync(folder) == 0 else { throw failure("fsync", "") }
            try removeLeftovers(folder)
            return failures
        } catch {
            return files.map { _ in error }
        }
    }

    /// Writes `bytes` beside the folder's files, makes them durable, and only then gives them their name.
    ///
    /// The name is given by `link`, which fails where the name is taken: of two that race, one wins and neither
    /// overwrites. When it is taken the message was delivered before, and this returns as if it had done so itself.
    private func add(_ name: String, _ bytes: [UInt8], to folder: Int32) throws(OutboxError) {
        let temporary = "\(Self.unfinished)/\(getpid())-\(UInt64.random(in: .min ... .max))"
        let file = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw failure("openat", temporary) }
        defer {
            close(file)
            unlinkat(folder, temporary, 0)
        }
        try write(bytes, to: file, temporary)
        guard fsync(file) == 0 else { throw failure("fsync", temporary) }
        guard linkat(folder, temporary, folder, name, 0) == 0 || errno == EEXIST else { throw failure("linkat", name) }
    }

    /// Where files are until they are whole; each is named by the process that writes it.
    private static let unfinished = ".unfinished"

    /// Removes what killed processes have left: there may be a code in it.
    private func removeLeftovers(_ folder: Int32) throws(OutboxError) {
        let unfinished = openat(folder, Self.unfinished, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard unfinished >= 0 else { throw failure("openat", Self.unfinished) }
        for name in try names(in: unfinished) {
            guard let process = name.split(separator: "-").first.flatMap({ pid_t($0) }), process > 0 else { continue }
            if kill(process, 0) != 0, errno == ESRCH { unlinkat(folder, "\(Self.unfinished)/\(name)", 0) }
        }
    }

    /// Whether it can be used; a missing one can.
    func check() throws(OutboxError) {
        if access(path, F_OK) != 0, errno == ENOENT { return }
        close(try open())
    }

    /// Name and content of every file with `suffix` that is no half-written one.
    func files(suffix: String) throws(OutboxError) -> [(String, [UInt8])] {
        let folder = try open()
        var files: [(String, [UInt8])] = []
        let copy = fcntl(folder, F_DUPFD_CLOEXEC, 0)
        defer { close(folder) }
        guard copy >= 0 else { throw failure("fcntl", "") }
        for name in try names(in: copy) where !name.hasPrefix(".") && name.hasSuffix(suffix) {
            files.append((name, try read(name, in: folder)))
        }
        return files
    }

    /// The names in a folder, whose descriptor is closed.
    private func names(in folder: Int32) throws(OutboxError) -> [String] {
        guard let stream = fdopendir(folder) else {
            close(folder)
            throw failure("fdopendir", "")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                })
        }
        return names
    }

    /// The folder, made if need be.
    /// - Throws: `.notPrivate` when it is not ours alone.
    private func open() throws(OutboxError) -> Int32 {
        if mkdir(path, 0o700) == 0 {
            try syncParent()
        } else if errno != EEXIST {
            throw failure("mkdir", "")
        }
        let folder = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard folder >= 0 else { throw failure("open", "") }
        var status = stat()
        guard fstat(folder, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            close(folder)
            throw OutboxError(
                .notPrivate, place: path, advice: "Codes would lie open in it: chown it to yourself and chmod it 0700.")
        }
        return folder
    }

    /// Makes the new folder's own name durable.
    private func syncParent() throws(OutboxError) {
        let parent = Glibc.open(path + "/..", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw failure("open", "..") }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw failure("fsync", "..") }
    }

    private func write(_ bytes: [UInt8], to file: Int32, _ name: String) throws(OutboxError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw failure("write", name) }
            rest = rest.dropFirst(written)
        }
    }

    private func read(_ name: String, in folder: Int32) throws(OutboxError) -> [UInt8] {
        let file = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { throw failure("openat", name) }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(file, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read", name) }
            guard count > 0 else { return bytes }
            bytes += chunk.prefix(count)
        }
    }

    private func failure(_ call: String, _ name: String) -> OutboxError {
        let number = errno
        return OutboxError(
            .system(call: call, code: number), place: name.isEmpty ? path : "\(path)/\(name)",
            advice: number == ENOSPC ? "Make room on the disk." : "Check that the folder exists and can be written.")
    }
}

/// Why a message could not be put into the outbox, or not be read. Never holds what a message says.
public struct OutboxError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: Hashable, Sendable {
        /// A system call failed, with its `errno`.
        case system(call: String, code: Int32)
        /// Others can read the folder.
        case notPrivate
        /// The reference is empty or too long to name a file.
        case badReference
        /// A file in the outbox that is no message.
        case notAMessage
    }

    public let kind: Kind
    /// The file or folder.
    public let place: String
    /// What the person can do next.
    public let advice: String

    init(_ kind: Kind, place: String, advice: String) {
        self.kind = kind
        self.place = place
        self.advice = advice
    }

    public var description: String {
        let reason =
            switch kind {
            case .system(let call, let code): "\(call) failed: \(String(cString: strerror(code))) (errno \(code))"
            case .notPrivate: "the folder is not its owner's alone"
            case .badReference: "the reference cannot name a message"
            case .notAMessage: "the file is no message"
            }
        return "outbox: \(reason): \(place). \(advice)"
    }
}
