import Foundation
import PCSC
import SmartCard
import VirtualCard

/// The virtual chips of this issuer that are in a reader: one process each, found by a file beside the chip.
struct InsertedChips: Sendable {
    let home: StateFolder

    struct Entry: Codable, Sendable {
        let card: String
        let process: Int32
        let reader: String
    }

    private func file(_ card: String) -> String { "\(home.chips)/\(card).inserted" }

    /// Writes down that this process holds `card` in `reader`, now that the reader has taken it.
    func register(_ card: String, reader: String) throws {
        let entry = Entry(card: card, process: getpid(), reader: reader)
        try StateFolder.writePrivate(Array(try JSONEncoder().encode(entry)), to: file(card))
    }

    func unregister(_ card: String) { unlink(file(card)) }

    /// Where `card` is, if its process lives.
    func entry(of card: String) -> Entry? {
        guard let data = FileManager.default.contents(atPath: file(card)),
            let entry = try? JSONDecoder().decode(Entry.self, from: data), isAlive(entry)
        else { return nil }
        return entry
    }

    func all() -> [Entry] {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: home.chips)) ?? []
        return files.filter { $0.hasSuffix(".inserted") }.compactMap { entry(of: String($0.dropLast(9))) }
    }

    /// A process number is given out again: the command line must be ours too.
    private func isAlive(_ entry: Entry) -> Bool {
        guard let words = FileManager.default.contents(atPath: "/proc/\(entry.process)/cmdline") else { return false }
        let arguments = words.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        return arguments.contains("insert") && arguments.contains(entry.card)
    }

    /// Ends the process that holds `card` and waits until it is gone.
    func eject(_ card: String) async throws {
        guard let entry = entry(of: card) else {
            throw NotFoundFailure("card \(card) is in no virtual reader")
        }
        kill(entry.process, SIGTERM)
        let deadline = ContinuousClock.now + .seconds(10)
        while isAlive(entry) {
            guard ContinuousClock.now < deadline else {
                throw EnvironmentFailure("process \(entry.process), which holds card \(card), does not end")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        unregister(card)
        // A reader sees an empty slot a moment later; who comes next must not meet the old card.
        while ContinuousClock.now < deadline, await readerHoldsCard(entry.reader) {
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Without a service there is no reader that could hold a card.
    private func readerHoldsCard(_ name: String) async -> Bool {
        let states = try? await PCSC.readerStates()
        return states?.contains { $0.name == name && $0.isCardPresent } ?? false
    }

    /// The first virtual reader without a card, or the one that is named.
    func freeReader(_ pattern: String?) async throws -> (name: String, port: UInt16) {
        if let free = try await freeReaders(pattern).first { return free }
        let ours = all().map { "\($0.card) in \($0.reader)" }.joined(separator: ", ")
        throw EnvironmentFailure(
            pattern.map { "no free virtual reader matches '\($0)'" } ?? "every virtual reader holds a card",
            advice: ours.isEmpty ? "" : "Ours are: \(ours). 'ecard card eject CARD' takes one out")
    }

    /// All virtual readers without a card whose name has `pattern` in it.
    func freeReaders(_ pattern: String?) async throws -> [(name: String, port: UInt16)] {
        let states = try await PCSC.readerStates().filter(\.isVirtual)
        guard !states.isEmpty else {
            throw EnvironmentFailure(
                "pcscd shows no virtual reader",
                advice: "Install vsmartcard-vpcd and restart pcscd; 'ecard doctor' tells how")
        }
        return VirtualReaderLink.ports.compactMap { port in
            guard let name = VirtualReaderLink.readerName(port: port),
                states.contains(where: { $0.name == name && !$0.isCardPresent }),
                pattern.map({ name.localizedCaseInsensitiveContains($0) }) ?? true
            else { return nil }
            return (name, port)
        }
    }
}
