import ByteCoding

/// Gives the caller one whole answer where the card hands it out in pieces.
///
/// - `61xx` (data waiting): GET RESPONSE until nothing waits, the pieces joined (ISO/IEC 7816-4, 5.3.4 and table 5).
/// - `6Cxx` (wrong Le): the command once more with the Le that the card named, if it has an Le at all (case 2 or 4). The
///   card aborts a command that it answers so, which is why this is the one repetition that changes nothing.
///
/// Wraps the reader's channel directly, below a secure channel: both statuses belong to the transport.
public struct WholeAnswers: CardChannel {
    private let inner: any CardChannel
    private let maximumLength: Int
    private let maximumRounds: Int

    /// - Parameters:
    ///   - maximumLength: the most bytes of data that are joined; a card that promises more is faulty.
    ///   - maximumRounds: the most GET RESPONSE commands sent for one answer.
    public init(_ inner: any CardChannel, maximumLength: Int = 65_536, maximumRounds: Int = 512) {
        self.inner = inner
        self.maximumLength = maximumLength
        self.maximumRounds = maximumRounds
    }

    public var answerToReset: ATR { inner.answerToReset }

    /// - Throws: ``CardError`` of the wrapped channel; `.malformedAnswer` when the card never stops promising data, or
    ///   answers GET RESPONSE with fewer than two bytes.
    public func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let first = try await transmitWithCorrectLe(command)
        guard var response = try? ResponseAPDU(first), var waiting = response.status.bytesAvailable,
            let cla = command.first
        else { return first }

        var data = response.data
        var rounds = 0
        while true {
            guard rounds < maximumRounds, data.count <= maximumLength else {
                throw CardError(
                    .malformedAnswer, "still 61xx after \(rounds) GET RESPONSE and \(data.count) bytes",
                    advice: "The card is faulty.")
            }
            rounds += 1
            let getResponse = CommandAPDU(Self.getResponseClass(for: cla), 0xC0, 0, 0, le: waiting)
            let piece = try await transmitWithCorrectLe(getResponse.encoded)
            do {
                response = try ResponseAPDU(piece)
            } catch {
                throw CardError(
                    .malformedAnswer, "\(error.reason), to GET RESPONSE", advice: "The card or reader is faulty.")
            }
            data += response.data
            guard let more = response.status.bytesAvailable else { break }
            waiting = more
        }
        return data + response.status.rawValue.bigEndianBytes
    }

    private func transmitWithCorrectLe(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let answer = try await inner.transmit(command)
        guard answer.count == 2, let correctLe = try? ResponseAPDU(answer).status.correctLe,
            var repeated = try? CommandAPDU(command), repeated.le != nil
        else { return answer }
        repeated.le = correctLe
        return try await inner.transmit(repeated.encoded)
    }

    /// GET RESPONSE goes out on the logical channel of the command, without its chaining and secure-messaging bits
    /// (ISO/IEC 7816-4, 5.4.1; GlobalPlatform 11.1.4 for the proprietary classes).
    static func getResponseClass(for cla: UInt8) -> UInt8 {
        cla & 0x40 == 0 ? cla & 0x03 : 0x40 | cla & 0x0F
    }
}
