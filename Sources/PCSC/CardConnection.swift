import CPCSC
import ByteCoding
import SmartCard

/// The C handle of a connected card. Used on its lane's thread alone.
final class CardConnection: @unchecked Sendable {
    // @unchecked: `handle` and `buffer` are touched by calls that the lane runs one after the other.
    let reader: ReaderState
    let atr: ATR
    private(set) var activeProtocol: PCSCCard.Protocols

    private let context: PCSCContext
    private var handle: SCARDHANDLE?
    private var transactions = 0
    private var isInTransaction = false
    private var hasSent = false
    private let sendsLeWithDataOverT0: Bool
    private var buffer = [UInt8](repeating: 0, count: Int(ECARD_MAX_EXTENDED_APDU))

    /// The longest command: the length field of the virtual reader's link, and more than a real one takes.
    static let maximumCommandLength = 65_535

    init(
        _ context: PCSCContext, _ reader: ReaderState, _ options: PCSCCard.Options
    ) throws(CardError) {
        let (handle, active) = try context.connect(
            reader.name, sharing: options.sharing, protocols: options.protocols)
        self.context = context
        self.handle = handle
        self.reader = reader
        activeProtocol = active
        sendsLeWithDataOverT0 = options.sendsLeWithDataOverT0 ?? reader.isVirtual
        var length = DWORD(MAX_ATR_SIZE)
        var bytes = [UInt8](repeating: 0, count: Int(length))
        let code = SCardStatus(handle, nil, nil, nil, nil, &bytes, &length)
        guard PCSCReturnCode(code) == .success else {
            SCardDisconnect(handle, DWORD(SCARD_LEAVE_CARD))
            throw PCSCReturnCode(code).error(call: "SCardStatus", reader: reader.name)
        }
        atr = ATR(Array(bytes.prefix(Int(length))))
    }

    private var pci: UnsafePointer<SCARD_IO_REQUEST> {
        activeProtocol.contains(.t1) ? ecard_pci_t1() : ecard_pci_t0()
    }

    /// A command as T=0 can carry it: a short one with data goes without its Le (ISO/IEC 7816-3, 12.2.4).
    static func withoutLe(_ command: [UInt8]) -> [UInt8] {
        // The fifth byte is Lc; zero opens an extended length field, or is the Le of a command without data.
        guard command.count > 5, command[4] != 0, command.count == 5 + Int(command[4]) + 1 else { return command }
        return command.dropLast()
    }

    /// - Returns: the number of this transaction.
    func begin() throws(CardError) -> Int {
        try call("SCardBeginTransaction") { SCardBeginTransaction($0) }
        transactions += 1
        isInTransaction = true
        return transactions
    }

    func end(_ disposition: PCSCCard.Disposition) throws(CardError) {
        isInTransaction = false
        hasSent = false
        try call("SCardEndTransaction") { SCardEndTransaction($0, DWORD(disposition.rawValue)) }
    }

    /// Sends a command if the transaction of this number is not over.
    /// - Throws: `.malformedAnswer` when there is nothing in it.
    func transmit(_ command: [UInt8], in transaction: Int) throws(CardError) -> [UInt8] {
        guard isInTransaction, transaction == transactions else {
            throw CardError(
                .failed, "\(reader.name): the transaction that this channel belongs to has ended",
                advice: "Send commands inside withTransaction")
        }
        hasSent = true
        let isCut = activeProtocol.contains(.t0) && !sendsLeWithDataOverT0
        let command = isCut ? Self.withoutLe(command) : command
        var length = DWORD(buffer.count)
        try call("SCardTransmit") { [pci] handle in
            SCardTransmit(handle, pci, command, DWORD(command.count), nil, &buffer, &length)
        }
        // vpcd takes a card that is pulled out during a command for one that answers with nothing.
        if length == 0, isGone() { throw PCSCReturnCode.removedCard.error(call: "SCardTransmit", reader: reader.name) }
        guard length > 0 else {
            throw CardError(
                .malformedAnswer, "\(reader.name): SCardTransmit returned no bytes",
                advice: "The card or reader is faulty.")
        }
        return Array(buffer.prefix(Int(length)))
    }

    func reconnect(
        sharing: PCSCCard.Sharing, protocols: PCSCCard.Protocols, _ initialization: PCSCCard.Disposition
    ) throws(CardError) {
        var active = DWORD()
        try call("SCardReconnect") {
            SCardReconnect(
                $0, DWORD(sharing.rawValue), DWORD(protocols.rawValue), DWORD(initialization.rawValue), &active)
        }
        activeProtocol = PCSCCard.Protocols(rawValue: UInt32(truncatingIfNeeded: active))
    }

    /// Failing, there is nothing left to let go.
    func disconnect(_ disposition: PCSCCard.Disposition) {
        guard let handle else { return }
        self.handle = nil
        SCardDisconnect(handle, DWORD(disposition.rawValue))
    }

    /// Lets the card go after a call that its caller gave up. A card with a command of ours in it, in whatever state, is
    /// reset; one that we merely waited for is not ours to disturb.
    func abandon() { disconnect(hasSent ? .reset : .leave) }

    private func call(_ name: String, _ function: (SCARDHANDLE) -> Int) throws(CardError) {
        guard let handle else {
            throw CardError(.failed, "\(reader.name): \(name) after disconnecting", advice: "Connect to the card anew")
        }
        let code = PCSCReturnCode(function(handle))
        guard code != .success else { return }
        // A command that did not get through may mean that the card is gone.
        let mayBeGone = code == .notTransacted || code == .communicationError
        throw (mayBeGone && isGone() ? .removedCard : code).error(call: name, reader: reader.name)
    }

    /// How long pcscd may take to notice that a card is gone: it looks every 0.4 s.
    private static let longestUnnoticed = Duration.seconds(1)

    /// Whether the card that was connected has left the reader, which pcscd may need some time to see. Another one, or
    /// the same again, may be in it by now: pcscd counts.
    private func isGone() -> Bool {
        var watched = [WatchedReader(name: reader.name)]
        let deadline = ContinuousClock.now + Self.longestUnnoticed
        var wait: UInt32 = 0
        repeat {
            guard (try? context.waitForChange(&watched, milliseconds: wait)) != nil else { return false }
            if !watched[0].flags.contains(.present) || watched[0].eventCount != reader.eventCount { return true }
            wait = UInt32(clamping: (deadline - .now).nanoseconds / 1_000_000)
        } while wait > 0
        return false
    }
}
