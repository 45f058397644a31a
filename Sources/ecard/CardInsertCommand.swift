import ArgumentParser
import Foundation
import PCSC
import SmartCard
import VirtualCard

extension CardCommand {
    struct Insert: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a virtual chip into pcscd's virtual reader.",
            discussion: """
                Runs until it is interrupted; with --detach in the background, until 'ecard card eject'. It comes back by \
                itself when pcscd restarts.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The card's identifier.") var card: String
        @Option(help: "A part of the virtual reader's name. Default: the first empty one.") var reader: String?
        @Flag(help: "Return when the card is in the reader.") var detach = false

        struct Report: Encodable {
            let card: String
            let reader: String
            let process: Int32
        }

        func run() async throws {
            let home = folder.home
            let path = home.chip(of: card)
            guard FileManager.default.fileExists(atPath: path) else {
                throw NotFoundFailure(
                    "card '\(card)' has no virtual chip (\(path)): it is unknown, or was made with --no-chip. "
                        + "'ecard card list' shows the cards")
            }
            let inserted = InsertedChips(home: home)
            if let entry = inserted.entry(of: card) {
                throw EnvironmentFailure("card \(card) is in \(entry.reader) already, held by process \(entry.process)")
            }
            let free = try await inserted.freeReader(reader)
            if detach {
                try await runInBackground(home, free.name)
            } else {
                try await hold(path, inserted, free.name, free.port)
            }
        }

        /// Holds the chip in the reader until a signal ends it.
        private func hold(_ path: String, _ inserted: InsertedChips, _ name: String, _ port: UInt16) async throws {
            let chip = try VirtualChip(open: path)
            let card = card
            let link = try VirtualReaderLink(port: port, chip: chip) { state in
                note("\(card) in \(name): \(state)")
                guard state == .inserted || state == .powered, inserted.entry(of: card) == nil else { return }
                do { try inserted.register(card, reader: name) } catch { note("ecard: \(error)") }
            }
            defer { inserted.unregister(card) }
            let signals = EndingSignals.handle { _ in link.stop() }
            defer { signals.cancel() }
            await withCheckedContinuation { continuation in
                DispatchQueue(label: "virtual reader link").async {
                    link.run()
                    continuation.resume()
                }
            }
        }

        /// Starts this tool again as a process of its own session and waits until the reader shows the card.
        private func runInBackground(_ home: StateFolder, _ name: String) async throws {
            let log = "\(home.chips)/\(card).log"
            let process = try Background.spawn(
                ["card", "insert", card, "--reader", name, "--home", home.path], log: log)
            // The process itself says that the reader took its card: the reader shows any card, another's too.
            let deadline = ContinuousClock.now + .seconds(15)
            while InsertedChips(home: home).entry(of: card)?.process != process {
                let hasEnded = Background.hasEnded(process)
                guard !hasEnded, ContinuousClock.now < deadline else {
                    if !hasEnded { kill(process, SIGTERM) }
                    let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
                    throw EnvironmentFailure(
                        "the card did not come into \(name). Its process said: \(said.suffix(400))",
                        advice: "See 'ecard reader list', then try again")
                }
                try await Task.sleep(for: .milliseconds(20))
            }
            _ = try await PCSC.waitForCard(reader: name, timeout: .seconds(5))
            try output.print(Report(card: card, reader: name, process: process)) {
                "Card \(card) is in \(name) (process \(process))."
            }
        }
    }

    struct Eject: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take a virtual chip out of its reader.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The card's identifier.") var card: String?
        @Flag(help: "All of this issuer's.") var all = false

        func run() async throws {
            let inserted = InsertedChips(home: folder.home)
            guard all != (card != nil) else { throw UsageFailure("name a card, or give --all") }
            let ids = card.map { [$0] } ?? inserted.all().map(\.card)
            for id in ids { try await inserted.eject(id) }
            try output.print(ids.map { Done(id: $0, state: "out") }) {
                ids.isEmpty ? "No card was in a reader." : ids.map { "Card \($0) is out." }.joined(separator: "\n")
            }
        }
    }
}

/// A process that outlives this one.
enum Background {
    static func spawn(_ arguments: [String], log: String) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // A descriptor that leaks would keep the caller's pipe open for as long as the card is in the reader.
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            if let descriptor = Int32(name), descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // POSIX_SPAWN_SETSID, which glibc declares for _GNU_SOURCE alone: no terminal's signals reach the card.
        posix_spawnattr_setflags(&attributes, 0x80)
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        var process = pid_t()
        let result = posix_spawn(&process, program, &actions, &attributes, &words, environ)
        guard result == 0 else {
            throw EnvironmentFailure("cannot start \(program): \(String(cString: strerror(result)))")
        }
        return process
    }

    /// Whether our child is gone; then it is reaped.
    static func hasEnded(_ process: pid_t) -> Bool { waitpid(process, nil, WNOHANG) == process }
}
