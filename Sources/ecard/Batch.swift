import Foundation
import Issuing
import KeyCustody
import PCSC
import PaymentPorts
import SmartCard
import Synchronization
import VirtualCard

/// Makes cards of rows. Every step is durable and asks the books first what is there, so a batch that was killed anywhere
/// goes on by the same command: one commit for customer, account and card; the chip, which is one card for life; the
/// personalization, which begins anew on the same chip; one commit for the code and its mailer.
struct Batch: Sendable {
    let parts: Parts
    let terms: CodeOffice.Terms
    let results: BatchResults

    /// A row on its way: its card, and what it still lacks.
    struct Work: Sendable {
        let row: CustomerFile.Row
        let profile: CardProfile
        var card: Card
        let hasCode: Bool
        /// For a card that is not personalized yet, in a batch of virtual chips.
        var chip: VirtualChip?
        var took: Duration = .zero

        var isDone: Bool { card.state == .active && hasCode }
    }

    /// Books and blank chip: all that needs no reader.
    func prepare(_ row: CustomerFile.Row, virtual: Bool) async throws -> Work {
        let started = ContinuousClock.now
        let profile = try parts.profile(row.profile)
        let card = try await BatchOffice(keys: parts.keys, stores: parts.ledger, time: parts.time)
            .enroll(row, as: profile)
        guard card.state != .blocked else { throw IssuingError(.conflict, "card \(card.id) is blocked") }
        // A code that ended is the holder's matter: only a card that never had one gets it here.
        let hasCode = try await parts.ledger.code(of: card.id) != nil
        var work = Work(row: row, profile: profile, card: card, hasCode: hasCode)
        if virtual, card.state != .active { work.chip = try await chip(of: card) }
        work.took = .now - started
        return work
    }

    /// The card's virtual chip; where a kill left none, a new one, its RSA key made ahead.
    private func chip(of card: Card) async throws -> VirtualChip {
        let path = parts.home.chip(of: card.id.rawValue)
        return try await ChipFactory.run {
            if FileManager.default.fileExists(atPath: path) { return try VirtualChip(open: path) }
            return try VirtualChip.manufacture(at: path, exposed: false, hasKeyPair: true)
        }
    }

    /// What a channel does not know of the time spent behind it.
    struct Place: Sendable {
        let channel: any CardChannel
        /// The chip's own time, where it is in this process.
        var busy: (@Sendable () -> Duration)?
    }

    /// Personalization and code, and the row's result.
    /// - Parameter inReader: brings the card's chip under a channel, and runs what it is given there.
    func issue(
        _ work: Work,
        inReader: @Sendable (_ body: @escaping @Sendable (Place) async throws -> Duration?) async throws -> Duration?
    ) async throws {
        guard !work.isDone else { return results.add(BatchResult(work.row, work.card, .before)) }
        let started = ContinuousClock.now
        let (hsm, atCard) = (Stopwatch(), Stopwatch())
        let keys = TimedKeys(keys: parts.keys, watch: hsm)
        var chip: Duration?
        if work.card.state != .active {
            let personalizer = Personalizer(keys: keys, cards: parts.ledger, time: parts.time)
            chip = try await inReader { place in
                try await personalizer.personalize(
                    work.card, as: work.profile, over: TimedChannel(channel: place.channel, watch: atCard))
                return place.busy?()
            }
        }
        if !work.hasCode {
            _ = try await CodeOffice(keys: keys, cards: parts.ledger, codes: parts.ledger, time: parts.time)
                .issue(work.card.id, terms)
        }
        var result = BatchResult(work.row, work.card, .issued)
        let timing = Timing(total: .now - started, hsm: hsm.elapsed, card: atCard.elapsed, chip: chip)
        result.milliseconds = timing.total
        result.timing = timing
        result.prepared = work.took.inMilliseconds
        results.add(result)
    }
}

/// Rows, taken by whoever is free.
actor RowQueue {
    /// A row that is being prepared, or is.
    typealias Preparation = (row: CustomerFile.Row, work: Task<Batch.Work, any Error>)

    private var rows: ArraySlice<CustomerFile.Row>
    private var begun: ArraySlice<Preparation> = []

    init(_ rows: [CustomerFile.Row]) { self.rows = rows[...] }

    var isEmpty: Bool { rows.isEmpty && begun.isEmpty }

    /// One that was given back, else a new one.
    func next(by batch: Batch) -> Preparation? {
        begun.popFirst()
            ?? rows.popFirst().map { row in (row, Task { try await batch.prepare(row, virtual: true) }) }
    }

    /// For somebody else, with the chips that are open already.
    func giveBack(_ preparations: [Preparation]) { begun += preparations }

    /// What nobody took.
    func rest() -> [CustomerFile.Row] { begun.map(\.row) + rows }
}

/// A list that several tasks add to.
final class SharedList<Element: Sendable>: Sendable {
    private let list = Mutex<[Element]>([])

    var all: [Element] { list.withLock { $0 } }

    func append(_ element: Element) { list.withLock { $0.append(element) } }
}

/// Makes virtual chips beside the readers: on threads of their own, one a processor, that give way to whatever serves a
/// card that is in a reader.
private enum ChipFactory {
    private static let places = DispatchSemaphore(value: max(1, ProcessInfo.processInfo.activeProcessorCount))

    static func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                places.wait()
                defer { places.signal() }
                // Of the calling thread alone, on Linux (setpriority(2), "C library/kernel differences").
                setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
                continuation.resume(with: Result { try body() })
            }
        }
    }
}
