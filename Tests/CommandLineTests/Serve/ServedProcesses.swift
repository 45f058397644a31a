import ECardTesting
import Foundation
import Synchronization

/// How a bank is served: the commands, one a process. The first of them is asked by merchants and telephones.
struct ServeCommands: Sendable {
    let commands: [[String]]
    var environment: [String: String] = [:]

    private static let common = ["--json", "--allow-private-webhooks", "--log-level", "error"]

    /// Bank, issuer and telephones in one process.
    static let together = ServeCommands(commands: [["serve", "--port", "0"] + common])

    /// The bank with its telephones, and the issuer at a port that stays its own: the bank finds it there again.
    static func apart(_ bank: ServedBank) throws -> ServeCommands {
        guard let port = try ServiceChild.freePorts(1).first else { throw Shell.Failure("no port is free") }
        let atIssuer = ["--roles", "bank,ussd", "--home", bank.bankHome, "--issuer", "https://127.0.0.1:\(port)"]
        return ServeCommands(commands: [
            ["serve", "--port", "0"] + atIssuer + common, ["serve", "--port", "\(port)", "--roles", "issuer"] + common,
        ])
    }
}

/// The processes that serve a bank. Each may die and be started again.
final class ServedProcesses: Sendable {
    private struct Child {
        let process: ChildProcess
        /// Its output is there with `.out`, and what it and those before it wrote to standard error with `.err`.
        let files: String
    }
    private let home: String
    private let serve: ServeCommands
    private let children: Mutex<[Child]>

    /// Starts them all; they may not listen yet.
    init(_ home: String, _ serve: ServeCommands) throws {
        self.home = home
        self.serve = serve
        children = Mutex(
            try serve.commands.map { words in
                let name = "ecard-serve-\(UUID().uuidString)"
                let files = FileManager.default.temporaryDirectory.appendingPathComponent(name).path
                return try Self.child(home, serve, words, files)
            })
    }

    private static func child(
        _ home: String, _ serve: ServeCommands, _ words: [String], _ files: String
    ) throws -> Child {
        var variables = ProcessInfo.processInfo.environment
        variables["SOFTHSM2_CONF"] = nil
        variables["ECARD_HOME"] = home
        variables.merge(serve.environment) { $1 }
        let process = try ChildProcess(
            Shell.binaries + "/ecard", ["ecard"] + words, environment: variables,
            output: [1: files + ".out", 2: files + ".err"])
        return Child(process: process, files: files)
    }

    deinit {
        for child in all {
            child.process.kill()
            _ = child.process.wait()
            for name in [".out", ".err"] { unlink(child.files + name) }
        }
    }

    private var all: [Child] { children.withLock { $0 } }

    private struct Listening: Decodable { let url: String }

    /// Where the first of them listens, as soon as all do; `nil` when one has ended before.
    func url() async throws -> String? {
        while true {
            let said = all.map { Data(text($0.files + ".out").utf8) }
            let places = said.compactMap { try? JSONDecoder().decode(Listening.self, from: $0).url }
            if places.count == said.count { return places[0] }
            if all.contains(where: { $0.process.hasEnded }) { return nil }
            try await Task.sleep(for: .milliseconds(4))
        }
    }

    /// Kills the processes at `indices`, all where there is none named, and waits for their end.
    func kill(_ indices: [Int]? = nil) async {
        let victims = (indices ?? Array(serve.commands.indices)).map { all[$0].process }
        victims.forEach { $0.kill() }
        for victim in victims { _ = await Self.end(of: victim) }
    }

    /// Starts those at `indices`, which have ended, again.
    func restart(_ indices: [Int]) throws {
        for index in indices {
            let files = all[index].files
            // Where the one before listened is no news of this one.
            unlink(files + ".out")
            let child = try Self.child(home, serve, serve.commands[index], files)
            children.withLock { $0[index] = child }
        }
    }

    /// Asks them to end, as systemd does.
    /// - Returns: their exit codes.
    func terminate() async -> [Int32] {
        for child in all { child.process.terminate() }
        var codes: [Int32] = []
        for child in all { codes.append(await Self.end(of: child.process)) }
        return codes
    }

    private static func end(of process: ChildProcess) async -> Int32 {
        await onOwnThread { process.wait() }
    }

    var ids: [pid_t] { all.map(\.process.id) }

    /// What they wrote to standard error.
    var log: String { all.map { text($0.files + ".err") }.joined() }

    private func text(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }
}
