import ByteCoding
import Synchronization

/// Passes everything through and keeps a ``Recording`` of it in memory. Recording is asked for by name, never a default:
/// see there what it contains.
public final class Recorder: CardChannel {
    private let inner: any CardChannel
    private let exchanges = Mutex<[Recording.Exchange]>([])

    public init(_ inner: any CardChannel) { self.inner = inner }

    public var answerToReset: ATR { inner.answerToReset }

    /// What went over so far.
    public var recording: Recording {
        Recording(answerToReset: answerToReset, exchanges: exchanges.withLock { $0 })
    }

    public func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        do {
            let answer = try await inner.transmit(command)
            exchanges.withLock { $0.append(.init(command: command, outcome: .success(answer))) }
            return answer
        } catch {
            exchanges.withLock { $0.append(.init(command: command, outcome: .failure(error))) }
            throw error
        }
    }
}

/// A card that is a recording: it answers the recorded commands, in the recorded order, and nothing else.
public final class Replay: CardChannel {
    private let recording: Recording
    private let position = Mutex(0)

    public init(_ recording: Recording) { self.recording = recording }

    public var answerToReset: ATR { recording.answerToReset }

    /// How many recorded exchanges were not asked for yet; zero when the dialogue went to its end.
    public var remaining: Int { recording.exchanges.count - position.withLock { $0 } }

    /// - Throws: `.notInRecording` with the exchange (counted from 1) and where the command differs from the recorded
    ///   one, whereupon the position does not move; or the failure that was recorded.
    public func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let outcome: Result<[UInt8], CardError> = position.withLock { position in
            guard position < recording.exchanges.count else {
                return .failure(
                    mismatch(position, "it ends before \(MaskedLog.masked(command: command))"))
            }
            let exchange = recording.exchanges[position]
            guard exchange.command == command else {
                let offset = zip(exchange.command, command).enumerated().first { $1.0 != $1.1 }?.offset
                return .failure(
                    mismatch(
                        position,
                        "recorded is \(MaskedLog.masked(command: exchange.command)), asked was "
                            + "\(MaskedLog.masked(command: command)), different from byte "
                            + "\(offset ?? min(exchange.command.count, command.count))"))
            }
            position += 1
            return exchange.outcome
        }
        return try outcome.get()
    }

    private func mismatch(_ position: Int, _ what: String) -> CardError {
        CardError(.notInRecording, "exchange \(position + 1): \(what)", advice: "Record the dialogue again.")
    }
}
