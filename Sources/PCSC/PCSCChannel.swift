public import SmartCard

/// The card during a transaction (``PCSCCard/withTransaction(ending:isolation:_:)``).
///
/// A transmit in progress is not interrupted by cancelling its task: the time limit bounds it. A cancelled task sends
/// nothing further and gets `.cancelled`.
public final class PCSCChannel: CardChannel {
    private let card: PCSCCard
    private let transaction: Int

    init(_ card: PCSCCard, transaction: Int) {
        self.card = card
        self.transaction = transaction
    }

    public var answerToReset: ATR { card.answerToReset }
    /// Whether commands with extended length fields are passed on.
    public var extendedLength: Bool { card.extendedLength }

    /// Sends one command (SCardTransmit), exactly once: as it is, but for the Le of a case 4 command under T=0
    /// (``PCSCCard/Options/sendsLeWithDataOverT0``).
    ///
    /// - Parameter command: 4 to 65,535 bytes.
    /// - Throws: `.unsupported` before anything is sent (length, or an extended command to a card that does not take
    ///   it); `.failed` outside the transaction; `.cardRemoved`, `.cardReset`, `.cardMute`, `.noService`, `.timedOut`.
    public func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        guard !Task.isCancelled else { throw CardError(.cancelled, "\(card.reader): before sending") }
        guard (4...CardConnection.maximumCommandLength).contains(command.count) else {
            throw CardError(
                .unsupported,
                "a command of \(command.count) bytes; 4 to \(CardConnection.maximumCommandLength) can be sent")
        }
        // A fifth byte of zero with more behind it opens an extended length field (ISO/IEC 7816-4, 5.1).
        if !extendedLength, command.count > 5, command[4] == 0 {
            throw CardError(
                .unsupported, "an extended length command, which the card's answer to reset does not announce",
                advice: "Use short commands, or set the option extendedLength if the card is known to take them")
        }
        return try await card.call("SCardTransmit") { [transaction] connection throws(CardError) in
            try connection.transmit(command, in: transaction)
        }
    }
}
