import ByteCoding

/// A card: bytes in, bytes out. Everything else wraps it.
///
/// Conformers: a reader's transaction (PCSC), the software chip in this process (VirtualCard), a replayed recording,
/// and the wrappers of this module.
public protocol CardChannel: Sendable {
    /// What the card said at reset; empty where there was none.
    var answerToReset: ATR { get }

    /// Sends one command and waits for its whole answer.
    /// - Returns: the answer as it came. A status word is data, never an error.
    /// - Throws: ``CardError`` when the link failed: the card may or may not have seen the command.
    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8]
}

extension CardChannel {
    /// Sends a command and splits the answer.
    /// - Throws: ``CardError``; `.malformedCommand` before anything is sent when no length field can say how much data
    ///   there is or is wanted; `.malformedAnswer` when fewer than two bytes came.
    public func send(_ command: CommandAPDU) async throws(CardError) -> ResponseAPDU {
        guard command.isEncodable else {
            throw CardError(
                .malformedCommand,
                "INS \([command.ins].hex): \(command.data.count) bytes of data, Le \(command.le.map(String.init) ?? "none")",
                advice: "A command has at most 65,535 bytes of data and wants 1 to 65,536.")
        }
        let answer = try await transmit(command.encoded)
        do {
            return try ResponseAPDU(answer)
        } catch {
            throw CardError(
                .malformedAnswer, "\(error.reason), to INS \([command.ins].hex)",
                advice: "The card or reader is faulty.")
        }
    }
}

/// The answer to reset (ISO/IEC 7816-3, 8.2).
public struct ATR: Hashable, Sendable, CustomStringConvertible {
    public let bytes: [UInt8]
    public init(_ bytes: [UInt8]) { self.bytes = bytes }
    public var description: String { bytes.hex }

    /// The historical bytes, located by walking the interface bytes; empty when the ATR is malformed.
    public var historicalBytes: [UInt8] {
        guard bytes.count >= 2 else { return [] }
        var index = 1
        var indicator = bytes[1] >> 4
        index += 1
        while true {
            let present = (0..<4).filter { indicator >> $0 & 1 == 1 }.count
            let last = index + present - 1
            guard last < bytes.count else { return [] }
            index += present
            guard indicator & 8 != 0 else { break }
            indicator = bytes[last] >> 4
        }
        return Array(bytes.dropFirst(index).prefix(Int(bytes[1] & 0x0F)))
    }
}

/// An application identifier, 5 to 16 bytes (ISO/IEC 7816-4, 8.2.1.2).
public struct AID: Hashable, Sendable, CustomStringConvertible {
    public let bytes: [UInt8]

    /// - Returns: `nil` when not 5 to 16 bytes long.
    public init?(_ bytes: [UInt8]) {
        guard (5...16).contains(bytes.count) else { return nil }
        self.bytes = bytes
    }

    public var description: String { bytes.hex }
}

/// The link to a card broke. What the card *answered* is never one of these.
public struct CardError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Kind: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        private init(_ description: String) { self.description = description }

        /// The PC/SC service does not run.
        public static let noService = Kind("no smart-card service")
        /// No reader, or none of that name.
        public static let noReader = Kind("no such reader")
        /// The reader is empty.
        public static let noCard = Kind("no card in the reader")
        /// The card went away.
        public static let cardRemoved = Kind("the card was removed")
        /// Somebody reset the card: what it had selected and verified is gone.
        public static let cardReset = Kind("the card was reset")
        /// The card does not answer in any way.
        public static let cardMute = Kind("the card does not respond")
        /// Another program holds the card.
        public static let inUse = Kind("another program holds the card")
        /// The time limit passed.
        public static let timedOut = Kind("the time limit passed")
        /// Somebody cancelled the wait.
        public static let cancelled = Kind("cancelled")
        /// The answer is no answer.
        public static let malformedAnswer = Kind("the card's answer is malformed")
        /// The command is not one that can be sent.
        public static let malformedCommand = Kind("the command cannot be sent")
        /// An answer did not authenticate, or the secure channel has ended.
        public static let secureChannelBroken = Kind("the secure channel is broken")
        /// The reader or its driver cannot do this.
        public static let unsupported = Kind("the reader cannot do this")
        /// A replayed recording was asked something it has no answer for.
        public static let notInRecording = Kind("the recording has no such command")
        /// Anything else, with its number.
        public static let failed = Kind("the reader reported a failure")

        /// Every kind there is.
        public static let all: [Kind] = [
            noService, noReader, noCard, cardRemoved, cardReset, cardMute, inUse, timedOut, cancelled, malformedAnswer,
            malformedCommand, secureChannelBroken, unsupported, notInRecording, failed,
        ]
    }

    public let kind: Kind
    /// Where: the reader's name, the PC/SC call and its code.
    public let place: String
    /// What the person can do next.
    public let advice: String

    public init(_ kind: Kind, _ place: String, advice: String = "") {
        self.kind = kind
        self.place = place
        self.advice = advice
    }

    public var description: String {
        kind.description + (place.isEmpty ? "" : ": \(place)") + (advice.isEmpty ? "" : ". \(advice)")
    }
}
