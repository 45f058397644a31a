import SmartCard
import Synchronization

/// A channel that answers from a function and remembers what it was asked.
final class FakeCard: CardChannel {
    let answerToReset: ATR
    private let log = Mutex<[[UInt8]]>([])
    private let answer: @Sendable (_ command: [UInt8], _ index: Int) async throws(CardError) -> [UInt8]

    init(
        atr: [UInt8] = [0x3B, 0x00],
        _ answer: @escaping @Sendable ([UInt8], Int) async throws(CardError) -> [UInt8]
    ) {
        answerToReset = ATR(atr)
        self.answer = answer
    }

    /// Answers in turn; `.cardMute` afterwards.
    convenience init(answers: [[UInt8]]) {
        self.init { _, index throws(CardError) in
            guard index < answers.count else { throw CardError(.cardMute, "no more answers") }
            return answers[index]
        }
    }

    /// A card without applications, as ISO/IEC 7816-4 would have it.
    static var iso: FakeCard {
        FakeCard { bytes, _ throws(CardError) in
            guard let command = try? CommandAPDU(bytes) else { return [0x67, 0x00] }
            if command.cla & 0x80 != 0 { return [0x6E, 0x00] }
            return command.ins == 0xA4 ? [0x6A, 0x82] : [0x6D, 0x00]
        }
    }

    /// The commands that came.
    var commands: [[UInt8]] { log.withLock { $0 } }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let index = log.withLock { log in
            log.append(command)
            return log.count - 1
        }
        return try await answer(command, index)
    }
}

func cardError(isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Void) async -> CardError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? CardError
    }
}
