import Dispatch
import ECardTesting
import PCSC
import SmartCard
import Synchronization
import Testing
import VirtualCard

/// A chip that does what a test tells it.
final class TestChip: Chip {
    /// What to do with a command.
    enum Reaction: Sendable {
        case answer([UInt8])
        /// Keeps the reader waiting until ``TestChip/release()``.
        case hang
        /// Takes itself out of the reader, then answers into the void.
        case leave
    }

    let answerToReset: [UInt8]
    private let react: @Sendable (_ command: [UInt8], _ index: Int) -> Reaction
    private let released = DispatchSemaphore(value: 0)
    private let counts = Mutex((commands: 0, resets: 0, powerOffs: 0, leave: nil as (@Sendable () -> Void)?))

    /// Without a reaction of its own the chip answers each command with the command and 9000.
    init(
        atr: [UInt8] = TestChip.t0,
        react: @escaping @Sendable ([UInt8], Int) -> Reaction = { command, _ in
            .answer(command + [0x90, 0x00])
        }
    ) {
        answerToReset = atr
        self.react = react
    }

    static let t0: [UInt8] = [0x3B, 0x65, 0x00, 0x00, 0x20, 0x63, 0xCB, 0x68, 0x00]
    /// T=1 alone: TD1 = 81, TD2 = 31 (T=1), TA3 IFSC FE, TB3 waiting times 45, no historical bytes, check byte.
    static let t1: [UInt8] = [0x3B, 0x80, 0x81, 0x31, 0xFE, 0x45, 0x0B]

    /// A card without applications, as ISO/IEC 7816-4 would have it.
    static let iso: @Sendable ([UInt8], Int) -> Reaction = { bytes, _ in
        guard let command = try? CommandAPDU(bytes) else { return .answer([0x67, 0x00]) }
        if command.cla & 0x80 != 0 { return .answer([0x6E, 0x00]) }
        return .answer(command.ins == 0xA4 ? [0x6A, 0x82] : [0x6D, 0x00])
    }

    var commandCount: Int { counts.withLock { $0.commands } }
    var resetCount: Int { counts.withLock { $0.resets } }
    var powerOffCount: Int { counts.withLock { $0.powerOffs } }
    func whenLeaving(_ body: @escaping @Sendable () -> Void) { counts.withLock { $0.leave = body } }
    func release() { released.signal() }

    func reset() { counts.withLock { $0.resets += 1 } }
    func powerOff() { counts.withLock { $0.powerOffs += 1 } }

    func answer(_ command: [UInt8]) -> [UInt8] {
        let index = counts.withLock { counts in
            defer { counts.commands += 1 }
            return counts.commands
        }
        switch react(command, index) {
        case .answer(let bytes): return bytes
        case .hang:
            released.wait()
            return [0x6F, 0x00]
        case .leave:
            counts.withLock { $0.leave }?()
            return [0x90, 0x00]
        }
    }
}

/// A chip in a virtual reader for the length of a test.
final class InsertedChip: Sendable {
    let chip: TestChip
    let link: VirtualReaderLink
    let reader: String

    init(_ chip: TestChip = TestChip(), port: UInt16 = 35963) async throws {
        self.chip = chip
        let name = try #require(VirtualReaderLink.readerName(port: port))
        let isFree = try await !PCSC.readerStates().choose(name).isCardPresent
        try #require(isFree, "a card is in \(name), which the tests need")
        reader = name
        link = try VirtualReaderLink(port: port, chip: chip)
        chip.whenLeaving { [link] in link.stop() }
        link.start()
        _ = try await PCSC.waitForCard(reader: reader, timeout: .seconds(60))
    }

    /// Takes the chip out; returns when the reader has noticed.
    func remove() async throws {
        chip.release()
        link.stop()
        try await eventually("\(reader) is empty") {
            try await PCSC.readerStates().first { $0.name == self.reader }?.isCardPresent != true
        }
    }
}

/// A chip in the reader, and out again whatever happens.
func withChip<Value>(
    _ chip: TestChip = TestChip(), port: UInt16 = 35963, isolation: isolated (any Actor)? = #isolation,
    _ body: (InsertedChip) async throws -> Value
) async throws -> Value {
    let inserted = try await InsertedChip(chip, port: port)
    let outcome: Result<Value, any Error>
    do {
        outcome = .success(try await body(inserted))
    } catch {
        outcome = .failure(error)
    }
    try await inserted.remove()
    return try outcome.get()
}

/// Waits until a condition holds, at most a minute.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while !(try await condition()) {
        try #require(ContinuousClock.now < deadline, "not within a minute: \(what)")
        try await Task.sleep(for: .milliseconds(10))
    }
}

struct Unexpected: Error {}

/// What several threads say, in order.
final class Log<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])
    var all: [Element] { elements.withLock { $0 } }
    func append(_ element: Element) { elements.withLock { $0.append(element) } }
}

/// The card error that `body` throws; `nil` when it throws none.
func cardError(isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Void) async -> CardError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? CardError
    }
}
