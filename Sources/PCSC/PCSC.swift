public import SmartCard
import Synchronization

/// The readers of this machine, as the PC/SC service (pcscd) knows them.
public enum PCSC {
    /// All readers as they are now.
    /// - Throws: `.noService` when pcscd does not run. No reader is an empty list.
    public static func readerStates() async throws(CardError) -> [ReaderState] {
        try await BlockingLane(name: "pcscd").run(limit: .seconds(10)) { () throws(CardError) in
            try PCSCContext().readerStates()
        }
    }

    /// Changes at the readers, for as long as somebody listens; a stop of pcscd is an event, not the end.
    public static var events: ReaderEvents { ReaderEvents() }

    /// Waits until there is a card.
    ///
    /// - Parameters:
    ///   - reader: the reader's exact name, or a part of the names of those that will do, case apart; `nil` for any.
    ///   - timeout: how long to wait; zero looks once.
    /// - Returns: the first such reader with a card.
    /// - Throws: `.noService` when pcscd does not run or stops. When the time is over: `.noReader` with those there are if
    ///   none matches, else `.timedOut`. `.cardMute` for a card that does not answer. `.cancelled` with the task.
    public static func waitForCard(
        reader: String? = nil, timeout: Duration
    ) async throws(CardError) -> ReaderState {
        let wait = CardWait(reader)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                wait.monitor.start(until: .now + timeout) {
                    wait.accepts($0, $1)
                } onEnd: {
                    continuation.resume(returning: wait.result(timeout))
                }
            }
        } onCancel: {
            wait.cancel()
        }
        return try result.get()
    }
}

/// One wait for a card: the readers it saw last, and what came of it.
private final class CardWait: Sendable {
    private struct Progress {
        var readers: [ReaderState] = []
        var outcome: Result<ReaderState, CardError>?
    }

    let monitor = ReaderMonitor()
    private let pattern: String?
    private let progress = Mutex(Progress())

    init(_ pattern: String?) { self.pattern = pattern }

    /// Takes what changed; `false` when the wait is over.
    func accepts(_ changes: [ReaderEvent], _ readers: [ReaderState]) -> Bool {
        progress.withLock { progress in
            progress.readers = readers
            for case .serviceLost(let error) in changes { progress.outcome = .failure(error) }
            if let card = readers.matching(pattern).first(where: { $0.atr != nil || $0.isMute }) {
                let mute = PCSCReturnCode.unresponsiveCard.error(call: "SCardGetStatusChange", reader: card.name)
                progress.outcome = card.isMute ? .failure(mute) : .success(card)
            }
            return progress.outcome == nil
        }
    }

    func cancel() {
        progress.withLock { $0.outcome = $0.outcome ?? .failure(CardError(.cancelled, "waiting for a card")) }
        monitor.stop()
    }

    func result(_ timeout: Duration) -> Result<ReaderState, CardError> {
        progress.withLock { progress in
            if let outcome = progress.outcome { return outcome }
            let matching = progress.readers.matching(pattern)
            guard !matching.isEmpty else {
                return Result { () throws(CardError) in try progress.readers.choose(pattern) }
            }
            return .failure(
                CardError(.timedOut, "no card in \(matching.nameList) within \(timeout)", advice: "Insert a card"))
        }
    }
}

extension PCSCContext {
    /// A snapshot of all readers.
    func readerStates() throws(CardError) -> [ReaderState] {
        var watched = try listReaders().map { WatchedReader(name: $0) }
        guard !watched.isEmpty else { return [] }
        _ = try waitForChange(&watched, milliseconds: 0)
        return watched.map(ReaderState.init)
    }
}
