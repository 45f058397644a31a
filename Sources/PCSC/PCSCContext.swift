import CPCSC
import Glibc
import SmartCard

/// A connection to the service (SCardEstablishContext), released with its last reference.
///
/// pcsc-lite serializes all calls on one context, and a call may block for as long as the card likes: every card and
/// every monitor therefore has a context of its own. Only ``cancel()`` may be called from another thread meanwhile.
final class PCSCContext: Sendable {
    private let handle: SCARDCONTEXT

    init() throws(CardError) {
        var handle = SCARDCONTEXT()
        try check(SCardEstablishContext(DWORD(SCARD_SCOPE_SYSTEM), nil, nil, &handle), "SCardEstablishContext")
        self.handle = handle
    }

    deinit { SCardReleaseContext(handle) }

    /// The names of the readers; none is not an error.
    func listReaders() throws(CardError) -> [String] {
        var code = PCSCReturnCode.insufficientBuffer
        var names: [CChar] = []
        // A reader may come between asking for the length and asking for the names.
        while code == .insufficientBuffer {
            var length = DWORD()
            code = PCSCReturnCode(SCardListReaders(handle, nil, nil, &length))
            guard code == .success else { break }
            names = [CChar](repeating: 0, count: Int(length))
            code = PCSCReturnCode(SCardListReaders(handle, nil, &names, &length))
        }
        if code == .noReadersAvailable { return [] }
        guard code == .success else { throw code.error(call: "SCardListReaders") }
        return names.split(separator: 0).map { String(decoding: $0.map(UInt8.init(bitPattern:)), as: UTF8.self) }
    }

    /// Waits until the state of a reader differs from the one last seen, at most `milliseconds`.
    ///
    /// - Parameter watched: what was last seen, updated in place.
    /// - Returns: `false` when the time passed without a change. `true` without an update when a reader is gone.
    func waitForChange(_ watched: inout [WatchedReader], milliseconds: UInt32) throws(CardError) -> Bool {
        let names = watched.map { strdup($0.name) }
        defer { names.forEach { free($0) } }
        var states = zip(watched, names).map { reader, name in
            var state = SCARD_READERSTATE()
            state.szReader = UnsafePointer(name)
            state.dwCurrentState = DWORD(reader.rawState)
            return state
        }
        let code = PCSCReturnCode(SCardGetStatusChange(handle, DWORD(milliseconds), &states, DWORD(states.count)))
        guard code == .success || code == .timeout || code == .unknownReader else {
            throw code.error(call: "SCardGetStatusChange")
        }
        guard code == .success else { return code == .unknownReader }
        for index in watched.indices {
            let state = states[index]
            // The changed bit is news for us, not part of what was seen; the upper half counts events and is.
            watched[index].rawState = UInt32(truncatingIfNeeded: state.dwEventState) & ~ReaderFlags.changed.rawValue
            watched[index].atr = ATR(
                withUnsafeBytes(of: state.rgbAtr) { Array($0.prefix(min(Int(state.cbAtr), Int(MAX_ATR_SIZE)))) })
        }
        return true
    }

    /// Ends a ``waitForChange(_:milliseconds:)`` on another thread with `.cancelled`; without effect when there is none.
    func cancel() { SCardCancel(handle) }

    func connect(
        _ reader: String, sharing: PCSCCard.Sharing, protocols: PCSCCard.Protocols
    ) throws(CardError) -> (card: SCARDHANDLE, active: PCSCCard.Protocols) {
        var card = SCARDHANDLE()
        var active = DWORD()
        try check(
            SCardConnect(handle, reader, DWORD(sharing.rawValue), DWORD(protocols.rawValue), &card, &active),
            "SCardConnect", reader: reader)
        return (card, PCSCCard.Protocols(rawValue: UInt32(truncatingIfNeeded: active)))
    }
}

/// Throws what a call returned unless it succeeded.
func check(_ code: Int, _ call: String, reader: String? = nil) throws(CardError) {
    let code = PCSCReturnCode(code)
    guard code == .success else { throw code.error(call: call, reader: reader) }
}

/// A reader in the list that SCardGetStatusChange looks at, with what was last seen of it.
struct WatchedReader {
    /// Readers that come and go (`pcsc-lite`, SCardGetStatusChange).
    static let arrivals = "\\\\?PnP?\\Notification"

    let name: String
    var rawState: UInt32 = 0
    var atr = ATR([])

    var flags: ReaderFlags { ReaderFlags(rawValue: rawState & 0xFFFF) }
    /// Grows with every insertion and every removal.
    var eventCount: UInt32 { rawState >> 16 }
}

/// The lower half of a reader's event state (`pcsclite.h`, `SCARD_STATE_…`).
struct ReaderFlags: OptionSet {
    let rawValue: UInt32
    static let ignore = ReaderFlags(rawValue: 0x0001)
    static let changed = ReaderFlags(rawValue: 0x0002)
    static let unknown = ReaderFlags(rawValue: 0x0004)
    static let unavailable = ReaderFlags(rawValue: 0x0008)
    static let empty = ReaderFlags(rawValue: 0x0010)
    static let present = ReaderFlags(rawValue: 0x0020)
    static let exclusive = ReaderFlags(rawValue: 0x0080)
    static let inUse = ReaderFlags(rawValue: 0x0100)
    static let mute = ReaderFlags(rawValue: 0x0200)
}
