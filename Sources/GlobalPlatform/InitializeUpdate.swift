import ByteCoding

/// What a card says of itself when a secure channel is asked for (Amendment D v1.2, table 7-3).
public struct InitializeUpdateAnswer: Equatable, Sendable {
    /// KDD, 10 bytes: what the card's static keys are diversified by.
    public let diversificationData: [UInt8]
    /// KVN of the keys that the card chose.
    public let keyVersion: UInt8
    public let options: SCP03Options
    /// 8 bytes.
    public let cardChallenge: [UInt8]
    /// 8 bytes.
    public let cardCryptogram: [UInt8]
    /// 3 bytes, raised by the card for every session; with pseudo-random challenges alone.
    public let sequenceCounter: [UInt8]?

    /// Reads the data of the answer: 29 bytes, or 32 with a sequence counter.
    /// - Throws: `.malformedAnswer` for a length that is neither, `.unsupported` for another protocol or S16 mode.
    public init(_ data: [UInt8]) throws(GlobalPlatformError) {
        guard data.count >= 13 else {
            throw GlobalPlatformError(
                .malformedAnswer, "INITIALIZE UPDATE, \(data.count) bytes, 29 or 32 wanted",
                advice: "Select an issuer security domain first.")
        }
        guard data[11] == 0x03 else {
            throw GlobalPlatformError(
                .unsupported, "secure channel protocol \([data[11]].hex)", advice: "This toolkit speaks SCP03 to cards."
            )
        }
        options = SCP03Options(rawValue: data[12])
        guard !options.contains(.sixteenByteMode) else {
            throw GlobalPlatformError(.unsupported, "SCP03 with i = \(options), which is S16 mode")
        }
        let wanted = options.contains(.pseudoRandomChallenge) ? 32 : 29
        guard data.count == wanted else {
            throw GlobalPlatformError(
                .malformedAnswer, "INITIALIZE UPDATE, \(data.count) bytes, \(wanted) wanted for i = \(options)")
        }
        diversificationData = Array(data[0..<10])
        keyVersion = data[10]
        cardChallenge = Array(data[13..<21])
        cardCryptogram = Array(data[21..<29])
        sequenceCounter = wanted == 32 ? Array(data[29..<32]) : nil
    }
}
