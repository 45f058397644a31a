import ByteCoding
import SmartCard
import Synchronization
import Testing

/// A card that is a function of the command: what it says is up to the test.
final class ScriptedCard: CardChannel {
    let answerToReset = ATR([])
    private let seen = Mutex<[[UInt8]]>([])
    private let answer: @Sendable (_ number: Int, _ command: [UInt8]) throws(CardError) -> [UInt8]

    /// Every command so far.
    var commands: [[UInt8]] { seen.withLock { $0 } }

    init(_ answer: @escaping @Sendable (_ number: Int, _ command: [UInt8]) throws(CardError) -> [UInt8]) {
        self.answer = answer
    }

    /// Answers in order, then 6F00.
    convenience init(_ answers: [String]) {
        let answers = answers.map(bytes)
        self.init { number, _ in number < answers.count ? answers[number] : [0x6F, 0x00] }
    }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let number = seen.withLock { seen in
            seen.append(command)
            return seen.count - 1
        }
        return try answer(number, command)
    }
}

/// Hexadecimal that a test wrote, so it is right.
func bytes(_ hex: String) -> [UInt8] {
    guard let bytes = [UInt8](hex: hex) else {
        Issue.record("'\(hex)' is not hexadecimal")
        return []
    }
    return bytes
}

func aid(_ hex: String) throws -> AID { try #require(AID(bytes(hex))) }
