public import SmartCard
import Synchronization

/// A connection to the card in a reader.
///
/// Commands go through a transaction only: ``withTransaction(ending:isolation:_:)`` lends a channel for the length of a
/// closure, during which no other program reaches the card. The C calls run on a thread of this card's own.
///
/// **Time limit.** A call into PC/SC cannot be cancelled. When one outlives ``Options/timeLimit``, the caller gets
/// `.timedOut` and this object is dead: every further call throws `.timedOut`, and the thread that hangs ends when PC/SC
/// lets it go, resetting the card if it was a command that hung. Whether the card saw it is unknown. Connect anew.
///
/// **Reset.** When somebody resets the card between two transactions, the next one throws `.cardReset`: whatever was
/// selected or verified is gone. Nothing is repeated behind the caller's back; ``reconnect(_:)`` is the caller's decision.
public final class PCSCCard: Sendable {
    /// Whether other programs may connect to the card meanwhile (`SCARD_SHARE_…`).
    public struct Sharing: RawRepresentable, Hashable, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let exclusive = Sharing(rawValue: 1)
        public static let shared = Sharing(rawValue: 2)
    }

    /// Transmission protocols (`SCARD_PROTOCOL_…`).
    public struct Protocols: OptionSet, Hashable, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let t0 = Protocols(rawValue: 1)
        public static let t1 = Protocols(rawValue: 2)
    }

    /// What happens to the card when it is let go, or on reconnecting (`SCARD_LEAVE_CARD` and so on).
    public struct Disposition: RawRepresentable, Hashable, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// Nothing: selection and security state stay for whoever comes next.
        public static let leave = Disposition(rawValue: 0)
        /// A warm reset.
        public static let reset = Disposition(rawValue: 1)
        /// Power off, a cold reset on next use.
        public static let unpower = Disposition(rawValue: 2)
        public static let eject = Disposition(rawValue: 3)
    }

    public struct Options: Sendable {
        public var sharing: Sharing
        public var protocols: Protocols
        /// For each call: connect, begin (which waits for other programs' transactions), one command, end.
        public var timeLimit: Duration
        /// Whether commands with extended length fields are passed on. `nil`: if the ATR's card capabilities say so
        /// (``SmartCard/ATR/supportsExtendedLength``); where they say nothing, on virtual readers alone, whose link
        /// carries whole commands anyway.
        public var extendedLength: Bool?
        /// Whether the Le of a short command with data (case 4) goes out under T=0, whose command TPDU has no place for it
        /// (ISO/IEC 7816-3, 12.2.4; PC/SC part 3 leaves dropping it to the caller): a reader that works with TPDUs sends
        /// it as one data byte too many, and the card falls mute. `nil`: on virtual readers alone, whose link carries
        /// whole commands, which saves GET RESPONSE. Without it the card answers `61xx` (``SmartCard/WholeAnswers``).
        public var sendsLeWithDataOverT0: Bool?

        public init(
            sharing: Sharing = .shared, protocols: Protocols = [.t0, .t1], timeLimit: Duration = .seconds(30),
            extendedLength: Bool? = nil, sendsLeWithDataOverT0: Bool? = nil
        ) {
            self.sharing = sharing
            self.protocols = protocols
            self.timeLimit = timeLimit
            self.extendedLength = extendedLength
            self.sendsLeWithDataOverT0 = sendsLeWithDataOverT0
        }
    }

    /// The reader's name.
    public let reader: String
    public let answerToReset: ATR
    /// The protocol that was agreed on when connecting: one of the two.
    public let activeProtocol: Protocols
    /// Whether commands with extended length fields are passed on.
    public let extendedLength: Bool

    let lane: BlockingLane
    let connection: CardConnection
    private let options: Options
    private let isLent = Atomic<Bool>(false)

    private init(_ connection: CardConnection, _ lane: BlockingLane, _ options: Options) {
        self.connection = connection
        self.lane = lane
        self.options = options
        reader = connection.reader.name
        answerToReset = connection.atr
        activeProtocol = connection.activeProtocol
        extendedLength =
            options.extendedLength ?? connection.atr.supportsExtendedLength ?? connection.reader.isVirtual
    }

    deinit { lane.later { [connection] in connection.disconnect(.leave) } }

    /// Connects to the card in a reader.
    ///
    /// - Parameter reader: the exact name, or a part of it that no other reader has; `nil` for the only reader with a card.
    /// - Throws: `.noService`, `.noReader` (with those there are), `.noCard`, `.cardMute`, `.inUse`, `.unsupported` (no
    ///   common protocol), `.timedOut`.
    public static func connect(to reader: String? = nil, options: Options = Options()) async throws(CardError)
        -> PCSCCard
    {
        let lane = BlockingLane(name: reader ?? "the reader")
        let connection = try await lane.run(limit: options.timeLimit) { () throws(CardError) in
            let context = try PCSCContext()
            let state = try context.readerStates().choose(reader)
            return try CardConnection(context, state, options)
        }
        lane.whenAbandoned { connection.abandon() }
        return PCSCCard(connection, lane, options)
    }

    /// Lends the card to `body` for itself alone (SCardBeginTransaction, SCardEndTransaction).
    ///
    /// The channel works inside `body` only; kept and used later, it throws. One transaction at a time: a second one on
    /// this object, nested or from another task, throws `.inUse`, while other connections wait for the end of this one.
    ///
    /// - Parameter ending: what happens to the card afterwards.
    /// A transaction that cannot be ended, because the card has left or the service has stopped meanwhile, is over all
    /// the same, and what the card answered stays true: such a failure never takes the place of what `body` came to. Who
    /// must know that the card was reset asks for ``reconnect(_:)`` with `.reset`.
    /// - Throws: what `body` throws. ``CardError`` when the transaction cannot begin, in particular `.cardReset`,
    ///   `.cardRemoved`, `.noService`; this object stays usable as far as its card is.
    public func withTransaction<Value>(
        ending: Disposition = .leave, isolation: isolated (any Actor)? = #isolation,
        _ body: (PCSCChannel) async throws -> Value
    ) async throws -> Value {
        guard !isLent.exchange(true, ordering: .acquiring) else {
            throw CardError(
                .inUse, "\(reader): this connection is in a transaction already", advice: "Use a connection of your own"
            )
        }
        defer { isLent.store(false, ordering: .releasing) }
        let transaction = try await call("SCardBeginTransaction") { connection throws(CardError) in
            try connection.begin()
        }
        let outcome: Result<Value, any Error>
        do {
            outcome = .success(try await body(PCSCChannel(self, transaction: transaction)))
        } catch {
            outcome = .failure(error)
        }
        // The next call finds out what is wrong.
        try? await call("SCardEndTransaction") { connection throws(CardError) in try connection.end(ending) }
        return try outcome.get()
    }

    /// Takes up the connection again after `.cardReset`, or resets the card.
    /// - Throws: ``CardError``; `.cardRemoved` and `.noCard` mean that only a new connection helps.
    public func reconnect(_ initialization: Disposition = .leave) async throws(CardError) {
        let (sharing, protocols) = (options.sharing, options.protocols)
        try await call("SCardReconnect") { connection throws(CardError) in
            try connection.reconnect(sharing: sharing, protocols: protocols, initialization)
        }
    }

    /// Lets the card go. Happens by itself, leaving the card as it is, with the last reference to this object.
    public func disconnect(_ disposition: Disposition = .leave) async throws(CardError) {
        try await call("SCardDisconnect") { connection throws(CardError) in connection.disconnect(disposition) }
    }

    func call<Value: Sendable>(
        _ name: String, _ body: @escaping @Sendable (CardConnection) throws(CardError) -> Value
    ) async throws(CardError) -> Value {
        try await lane.run(limit: options.timeLimit) { [connection] () throws(CardError) in try body(connection) }
    }
}
