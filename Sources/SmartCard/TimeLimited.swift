import Synchronization

/// Our own time limit around any channel: a reader whose card hangs may never come back.
///
/// When the limit passes, the caller gets `.timedOut` at once and the wrapped `transmit` is cancelled, which it may
/// ignore. Since the card may still be busy with that command, the channel is dead from then on: every further command
/// throws `.timedOut` without being sent. Connect to the card anew.
///
/// A PC/SC channel has such a limit built in; this one is for channels that have none.
public final class TimeLimited: CardChannel {
    private let inner: any CardChannel
    private let limit: Duration
    private let isDead = Atomic<Bool>(false)

    /// - Parameter limit: for one command and its answer.
    public init(_ inner: any CardChannel, limit: Duration) {
        self.inner = inner
        self.limit = limit
    }

    public var answerToReset: ATR { inner.answerToReset }

    public func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        if isDead.load(ordering: .acquiring) {
            throw CardError(
                .timedOut, "an earlier command on this channel had no answer", advice: "Connect to the card anew.")
        }
        let race = Race()
        let answering = Task { [inner] in
            do throws(CardError) {
                race.finish(.success(try await inner.transmit(command)))
            } catch {
                race.finish(.failure(error))
            }
        }
        let waiting = Task { [limit] in
            guard (try? await Task.sleep(for: limit)) != nil else { return }
            race.finish(
                .failure(CardError(.timedOut, "no answer within \(limit)", advice: "Connect to the card anew.")),
                ifFirst: { self.isDead.store(true, ordering: .releasing) })
        }
        defer { waiting.cancel() }
        let result = await withTaskCancellationHandler {
            await race.result
        } onCancel: {
            answering.cancel()
        }
        if case .failure(let error) = result, error.kind == .timedOut { answering.cancel() }
        return try result.get()
    }
}

/// The first of two results is the one that counts; the other is dropped.
private final class Race: Sendable {
    private enum State {
        case open
        case awaited(CheckedContinuation<Result<[UInt8], CardError>, Never>)
        case finished(Result<[UInt8], CardError>)
    }
    private let state = Mutex(State.open)

    /// The winner's result. Awaited once.
    var result: Result<[UInt8], CardError> {
        get async {
            await withCheckedContinuation { continuation in
                let early: Result<[UInt8], CardError>? = state.withLock { state in
                    if case .finished(let result) = state { return result }
                    state = .awaited(continuation)
                    return nil
                }
                if let early { continuation.resume(returning: early) }
            }
        }
    }

    func finish(_ result: Result<[UInt8], CardError>, ifFirst: () -> Void = {}) {
        let continuation: CheckedContinuation<Result<[UInt8], CardError>, Never>? = state.withLock { state in
            if case .finished = state { return nil }
            ifFirst()
            defer { state = .finished(result) }
            if case .awaited(let continuation) = state { return continuation }
            return nil
        }
        continuation?.resume(returning: result)
    }
}
