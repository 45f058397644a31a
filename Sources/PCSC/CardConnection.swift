import CPCSC
import ByteCoding
import SmartCard

/// The C handle of a connected card. Used on its lane's thread alone.
final class CardConnection: @unchecked Sendable {
    // @unchecked: `handle` and `buffer` are touched by calls that the lane runs one after the other.
    let reader: ReaderState
    let atr: ATR
    let activeProtocol: PCSCCard.Protocols

    private let context: PCSCContext
    private var handle: SCARDHANDLE?
    private var transactions = 0
    private var isInTransaction = false
    private var pci: UnsafePointer<SCARD_IO_REQUEST>
    private var buffer = [UInt8](repeating: 0, count: Int(ECARD_MAX_EXTENDED_APDU))

    /// The longest command: the length field of the virtual reader's link, and more than a real one takes.
    static let maximumCommandLength = 65_535

    init(
        _ context: PCSCContext, _ reader: ReaderState, sharing: PCSCCard.Sharing, protocols: PCSCCard.Protocols
    ) throws(CardError) {
        let (handle, active) = try context.connect(reader.name, sharing: sharing, protocols: protocols)
        self.context = context
        self.handle = handle
        self.reader = reader
        activeProtocol = active
        pci = Self.pci(active)
        var length = DWORD(MAX_ATR_SIZE)
        var bytes = [UInt8](repeating: 0, count: Int(length))
        let code = SCardStatus(handle, nil, nil, nil, nil, &bytes, &length)
        guard PCSCReturnCode(code) == .success else {
            SCardDisconnect(handle, DWORD(SCARD_LEAVE_CARD))
            throw PCSCReturnCode(code).error(call: "SCardStatus", reader: reader.name)
        }
        atr = ATR(Array(bytes.prefix(Int(length))))
    }

    private static func pci(_ active: PCSCCard.Protocols) -> UnsafePointer<SCARD_IO_REQUEST> {
        active.contains(.t1) ? ecard_pci_t1() : ecard_pci_t0()
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
        try call("SCardEndTransaction") { SCardEndTransaction($0, DWORD(disposition.rawValue)) }
    }

    /// Sends a command if the transaction of this number is not over.
    func transmit(_ command: [UInt8], in transaction: Int) throws(CardError) -> [UInt8] {
        guard isInTransaction, transaction == transactions else {
            throw CardError(
                .failed, "\(reader.name): the transaction that this channel belongs to has ended",
                advice: "Send commands inside withTransaction")
        }
        var length = DWORD(buffer.count)
        try call("SCardTransmit") { [pci] handle in
            SCardTransmit(handle, pci, command, DWORD(command.count), nil, &buffer, &length)
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
        pci = Self.pci(PCSCCard.Protocols(rawValue: UInt32(truncatingIfNeeded: active)))
    }

    /// Failing, there is nothing left to let go.
    func disconnect(_ disposition: PCSCCard.Disposition) {
        guard let handle else { return }
        self.handle = nil
        SCardDisconnect(handle, DWORD(disposition.rawValue))
    }

    private func call(_ name: String, _ function: (SCARDHANDLE) -> Int) throws(CardError) {
        guard let handle else {
            throw CardError(.failed, "\(reader.name): \(name) after disconnecting", advice: "Connect to the card anew")
        }
        let code = PCSCReturnCode(function(handle))
        guard code != .success else { return }
        throw (moreExact(code) ?? code).error(call: name, reader: reader.name)
    }

    /// How long pcscd may take to notice that a card is gone: it looks every 0.4 s.
    private static let longestUnnoticed: UInt32 = 1000

    /// A command that did not get through may mean that the card is gone, which pcscd notices only later. The reader's
    /// state tells, given time.
    private func moreExact(_ code: PCSCReturnCode) -> PCSCReturnCode? {
        guard code == .notTransacted || code == .communicationError else { return nil }
        var watched = [WatchedReader(name: reader.name)]
        do {
            _ = try context.waitForChange(&watched, milliseconds: 0)
            if watched[0].flags.contains(.present) {
                _ = try context.waitForChange(&watched, milliseconds: Self.longestUnnoticed)
            }
        } catch {
            return error.kind == .noService ? .noService : nil
        }
        return watched[0].flags.contains(.present) ? nil : .removedCard
    }
}
