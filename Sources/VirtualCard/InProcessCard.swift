import Dispatch
public import SmartCard

/// A chip of this process as a card: no reader, the same bytes.
public struct InProcessCard: CardChannel {
    private let chip: any Chip
    private let queue = DispatchQueue(label: "chip in this process")

    /// Powers the chip up.
    public init(_ chip: any Chip) {
        self.chip = chip
        chip.reset()
    }

    public var answerToReset: ATR { ATR(chip.answerToReset) }

    /// A chip writes to disk before it answers, so it answers on a thread of its own.
    public func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        await withCheckedContinuation { continuation in
            queue.async { continuation.resume(returning: chip.answer(command)) }
        }
    }
}
