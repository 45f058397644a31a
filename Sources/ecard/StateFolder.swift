import Foundation
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
    var profiles: String { path + "/profiles" }
    var chips: String { path + "/chips" }
    var outbox: String { path + "/outbox" }

    func chip(of card: String) -> String { "\(chips)/\(card).chip" }

    /// Makes a folder that only its owner may enter.
    static func makePrivate(_ path: String) throws {
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    /// Writes a file that only its owner may read, whole or not at all.
    static func writePrivate(_ bytes: [UInt8], to path: String) throws {
        let temporary = "\(path).\(getpid()).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw EnvironmentFailure("cannot write \(path): \(String(cString: strerror(errno)))") }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        do {
            try handle.write(contentsOf: Data(bytes))
            try handle.synchronize()
            try handle.close()
            guard rename(temporary, path) == 0 else {
                throw EnvironmentFailure("cannot write \(path): \(String(cString: strerror(errno)))")
            }
        } catch {
            unlink(temporary)
            throw error
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
