import Foundation
import Glibc
import Issuing

/// Where everything of one issuer lives: `ECARD_HOME`, or `ecard` in the XDG data folder.
struct StateFolder: Sendable {
    let path: String

    init(option: String?) {
        let environment = ProcessInfo.processInfo.environment
        if let chosen = option ?? environment["ECARD_HOME"], !chosen.isEmpty {
            path = URL(fileURLWithPath: chosen).standardizedFileURL.path
        } else {
            let data = environment["XDG_DATA_HOME"].flatMap { $0.isEmpty ? nil : $0 }
            path = (data ?? NSHomeDirectory() + "/.local/share") + "/ecard"
        }
    }

    var configuration: String { path + "/ecard.yaml" }
    var pinFile: String { path + "/token.pin" }
    var tokens: String { path + "/softhsm" }
    var ledger: String { path + "/ledger.sqlite" }
    var bankPINFile: String { path + "/bank.pin" }
    var bankDatabase: String { path + "/bank.sqlite" }
    var profiles: String { path + "/profiles" }
    var chips: String { path + "/chips" }
    var outbox: String { path + "/outbox" }

    func chip(of card: String) -> String { "\(chips)/\(card).chip" }

    /// Makes a folder, and those above it that are missing, that only its owner may enter. One that is there is left.
    static func makePrivate(_ path: String) throws {
        if mkdir(path, 0o700) == 0 { return try syncFolder(of: path) }
        let code = errno
        let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
        if code == ENOENT, parent != path {
            try makePrivate(parent)
            if mkdir(path, 0o700) == 0 { return try syncFolder(of: path) }
        }
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue { return }
        throw EnvironmentFailure(
            "cannot make folder \(path): \(String(cString: strerror(code)))",
            advice: "Choose another with --home or ECARD_HOME")
    }

    /// Makes this folder, or takes one that is there: an empty one is closed to others, one with files is not touched.
    func take() throws {
        try StateFolder.makePrivate(path)
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw EnvironmentFailure("cannot look at \(path): \(String(cString: strerror(errno)))")
        }
        guard status.st_mode & 0o077 != 0 else { return }
        let isEmpty = (try? FileManager.default.contentsOfDirectory(atPath: path).isEmpty) ?? false
        guard isEmpty, chmod(path, 0o700) == 0 else {
            throw EnvironmentFailure(
                "\(path) can be entered by others and is not empty",
                advice: "Run 'chmod 700 \(path)', or choose another folder")
        }
    }

    /// Runs `body`, which makes or ends keys, while no other process does the same with this folder.
    func exclusively<Value>(_ body: () async throws -> Value) async throws -> Value {
        try await StateFolder.exclusively(path, body)
    }

    /// Runs `body` while no other process is here with `folder`; without a folder there is nobody to wait for.
    static func exclusively<Value>(_ folder: String?, _ body: () async throws -> Value) async throws -> Value {
        let descriptor = try folder.map(lock)
        defer { if let descriptor { close(descriptor) } }
        return try await body()
    }

    /// Runs `body`, which opens the token, while no other process opens it: SoftHSM writes a token's file anew at each
    /// login, and whoever reads it at that moment finds no token.
    func oneAtATime<Value>(_ body: () throws -> Value) throws -> Value {
        guard FileManager.default.fileExists(atPath: tokens) else { return try body() }
        let descriptor = try StateFolder.lock(tokens)
        defer { close(descriptor) }
        return try body()
    }

    private static func lock(_ folder: String) throws -> Int32 {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw EnvironmentFailure("cannot open \(folder): \(String(cString: strerror(errno)))")
        }
        while flock(descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else {
                let reason = String(cString: strerror(errno))
                close(descriptor)
                throw EnvironmentFailure("cannot lock \(folder): \(reason)")
            }
        }
        return descriptor
    }

    /// Makes the names in the folder of `path` durable.
    private static func syncFolder(of path: String) throws {
        let folder = open(
            URL(fileURLWithPath: path).deletingLastPathComponent().path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if folder >= 0 { close(folder) } }
        guard folder >= 0, fsync(folder) == 0 else {
            throw EnvironmentFailure("cannot sync the folder of \(path): \(String(cString: strerror(errno)))")
        }
    }

    /// The name a file has until it is whole.
    static func unfinished(_ path: String) -> String { path + ".new" }

    /// Writes a file that only its owner may read, whole and durable or not at all.
    static func writePrivate(_ bytes: [UInt8], to path: String) throws {
        // What a killed process left of it is written over.
        let temporary = unfinished(path)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw EnvironmentFailure("cannot write \(path): \(String(cString: strerror(errno)))")
        }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        do {
            try handle.write(contentsOf: Data(bytes))
            try handle.synchronize()
            try handle.close()
            guard rename(temporary, path) == 0 else {
                throw EnvironmentFailure("cannot write \(path): \(String(cString: strerror(errno)))")
            }
            try syncFolder(of: path)
        } catch let failure as EnvironmentFailure {
            unlink(temporary)
            throw failure
        } catch {
            unlink(temporary)
            let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
            throw EnvironmentFailure(
                "cannot write \(path): \(cause.map { String(cString: strerror(CInt($0.code))) } ?? "the disk refuses it")",
                advice: "Make room on its disk, or name another folder")
        }
    }

    /// Seen before hours of work whose end writes ``writePrivate(_:to:)``.
    static func requireWritable(_ path: String) throws {
        let temporary = unfinished(path)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw EnvironmentFailure(
                "cannot write \(path): \(String(cString: strerror(errno)))", advice: "Name a file in another folder")
        }
        close(descriptor)
        unlink(temporary)
    }
}

extension StateFolder {
    /// Makes the names of files in `folder` durable.
    static func syncFolder(_ folder: String) throws {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw EnvironmentFailure("cannot open \(folder): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else {
            throw EnvironmentFailure("cannot sync \(folder): \(String(cString: strerror(errno)))")
        }
    }
}

/// Something around the tool is missing or refuses. Exit code 3.
struct EnvironmentFailure: Error, CustomStringConvertible {
    let description: String
    init(_ what: String, advice: String = "") { description = what + (advice.isEmpty ? "" : ". \(advice)") }
}

/// What the person asked for makes no sense. Exit code 2.
struct UsageFailure: Error, CustomStringConvertible {
    let description: String
    init(_ what: String) { description = what }
}

/// What was named does not exist. Exit code 4.
struct NotFoundFailure: Error, CustomStringConvertible {
    let description: String
    init(_ what: String) { description = what }
}

/// A check found something. Exit code 5.
struct VerificationFailure: Error, CustomStringConvertible {
    let description: String
    init(_ what: String) { description = what }
}

/// The answer was no. Exit code 1; everything was said already.
struct Declined: Error {}
