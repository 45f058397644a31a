import Dispatch
public import SmartCard

/// The readers of this machine, as the PC/SC service (pcscd) knows them.
public enum PCSC {
    /// All readers as they are now.
    /// - Throws: `.noService` when pcscd does not run. No reader is an empty list.
    public static func readerStates() async throws(CardError) -> [ReaderState] {
        try await BlockingLane(name: "pcscd").run(limit: .seconds(10), "SCardListReaders") { () throws(CardError) in
            try PCSCContext().readerStates()
        }
    }
}

extension PCSCContext {
    /// A snapshot of all readers.
    func readerStates() throws(CardError) -> [ReaderState] {
        var watched = try listReaders().map { WatchedReader(name: $0) }
        guard !watched.isEmpty else { return [] }
        _ = try waitForChange(&watched, milliseconds: 0)
        return watched.map(ReaderState.init)
    }
}
