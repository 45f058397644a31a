import ECardTesting
import Foundation

/// How a bank is served: the commands, one a process. The first of them is asked by merchants and telephones.
struct ServeCommands: Sendable {
    let commands: [[String]]
    var environment: [String: String] = [:]

    /// Bank, issuer and telephones in one process.
    static let together = ServeCommands(commands: [
        ["serve", "--port", "0", "--json", "--allow-private-webhooks", "--log-level", "error"]
    ])
}

/// One life of the processes that serve a bank.
final class ServedProcesses: Sendable {
    private let children: [(process: ChildProcess, files: String)]

    /// Starts them all; they may not listen yet.
    init(_ home: String, _ serve: ServeCommands) throws {
        var variables = ProcessInfo.processInfo.environment
        variables["SOFTHSM2_CONF"] = nil
        variables["ECARD_HOME"] = home
        variables.merge(serve.environment) { $1 }
        children = try serve.commands.map { words in
            let files = FileManager.default.temporaryDirectory
                .appendingPathComponent("ecard-serve-\(UUID().uuidString)").path
            let process = try ChildProcess(
                Shell.binaries + "/ecard", ["ecard"] + words, environment: variables,
                output: [1: files + ".out", 2: files + ".err"])
            return (process, files)
        }
    }

    deinit {
        for child in children {
            child.process.kill()
            _ = child.process.wait()
            for name in [".out", ".err"] { unlink(child.files + name) }
        }
    }

    private struct Listening: Decodable { let url: String }

    /// Where the first of them listens, as soon as all do; `nil` when one has ended before.
    func url() async throws -> String? {
        while true {
            let said = children.map { Data(text($0.files + ".out").utf8) }
            let places = said.compactMap { try? JSONDecoder().decode(Listening.self, from: $0).url }
            if places.count == children.count { return places[0] }
            if children.contains(where: { $0.process.hasEnded }) { return nil }
            try await Task.sleep(for: .milliseconds(4))
        }
    }

    /// Kills the processes at `indices`, all where there is none named, and waits for their end.
    func kill(_ indices: [Int]? = nil) async {
        for index in indices ?? Array(children.indices) { children[index].process.kill() }
        for index in indices ?? Array(children.indices) { _ = await Self.end(of: children[index].process) }
    }

    /// Asks them to end, as systemd does.
    /// - Returns: their exit codes.
    func terminate() async -> [Int32] {
        for child in children { child.process.terminate() }
        var codes: [Int32] = []
        for child in children { codes.append(await Self.end(of: child.process)) }
        return codes
    }

    private static func end(of process: ChildProcess) async -> Int32 {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: process.wait()) }
        }
    }

    var ids: [pid_t] { children.map(\.process.id) }

    /// What they wrote to standard error.
    var log: String { children.map { text($0.files + ".err") }.joined() }

    private func text(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }
}
