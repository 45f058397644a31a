public import SmartCard

/// A reader at one moment.
public struct ReaderState: Hashable, Sendable {
    /// As PC/SC names it: `Virtual PCD 00 00`.
    public let name: String
    /// Whether a card is in it.
    public let isCardPresent: Bool
    /// The card's answer to reset; `nil` when there is no card, or none that answers.
    public let atr: ATR?
    /// Whether some program is connected to the card.
    public let isInUse: Bool
    /// Whether a program has the card for itself.
    public let isExclusive: Bool
    /// Whether the card does not answer to reset.
    public let isMute: Bool

    /// Whether this is a reader of vsmartcard's driver and so can hold no card of plastic.
    public var isVirtual: Bool { name.hasPrefix("Virtual PCD") }

    /// Insertions and removals so far: tells one card from the next.
    let eventCount: UInt32

    init(_ watched: WatchedReader) {
        eventCount = watched.eventCount
        name = watched.name
        isCardPresent = watched.flags.contains(.present)
        isMute = isCardPresent && watched.flags.contains(.mute)
        atr = isCardPresent && !isMute && !watched.atr.bytes.isEmpty ? watched.atr : nil
        isInUse = watched.flags.contains(.inUse) || watched.flags.contains(.exclusive)
        isExclusive = watched.flags.contains(.exclusive)
    }
}

extension [ReaderState] {
    /// The readers that `pattern` may mean: the one of exactly this name, else all that contain it, case apart. All
    /// readers when there is no pattern.
    func matching(_ pattern: String?) -> [ReaderState] {
        guard let pattern else { return self }
        if let exact = first(where: { $0.name == pattern }) { return [exact] }
        return filter { $0.name.lowercased().contains(pattern.lowercased()) }
    }

    /// The one reader that is meant. Without a pattern: the only reader with a card, else the only reader.
    ///
    /// - Throws: `.noReader` with the readers there are, when none matches or several do.
    public func choose(_ pattern: String? = nil) throws(CardError) -> ReaderState {
        let matching = matching(pattern)
        if matching.count == 1 { return matching[0] }
        let withCard = matching.filter(\.isCardPresent)
        if pattern == nil, withCard.count == 1 { return withCard[0] }
        guard !isEmpty else {
            throw CardError(
                .noReader, "no reader is connected", advice: PCSCReturnCode.noReadersAvailable.meaning.advice)
        }
        let what = pattern.map { "\"\($0)\" matches" } ?? "there are"
        throw CardError(
            .noReader, "\(what) \(matching.isEmpty ? "none" : "\(matching.count)") of: \(nameList)",
            advice: "Name one, by a part that no other has")
    }

    var nameList: String { map(\.name).joined(separator: ", ") }
}
