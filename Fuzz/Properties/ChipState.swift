import ByteCoding
@testable import VirtualCard

/// The chip's state file: bytes of any kind, and journals with one place damaged, which must give the last state that was
/// acknowledged or be refused, never an older one.
extension FuzzTarget {
    static let chipState = FuzzTarget("chip-state") { bytes in
        var reader = ByteReader(bytes)
        switch reader.below(4) {
        case 0: try checkJournal(reader.everything())
        case 1: try checkEntries(changed(SampleCard.state(personalized: true).entries(), &reader))
        default: try checkDamage(&reader)
        }
    }

    private static func checkJournal(_ bytes: [UInt8]) throws {
        // Behind a header that is right: what else is there to find?
        for file in [bytes, Journal.header + bytes] {
            guard let contents = try? Journal.read(file) else { continue }
            try require((Journal.headerLength...file.count).contains(contents.validLength), "valid beyond the end")
            try require(contents.sequence > 0, "contents of no record")
            try checkEntries(contents.entries)
        }
    }

    /// Entries are a card's state, which gives the same entries again, or are refused by name.
    private static func checkEntries(_ entries: [String: [UInt8]]) throws {
        var fault = ""
        guard let state = CardState(entries: entries, fault: &fault) else {
            return try require(!fault.isEmpty, "refused, and not said why")
        }
        let again = CardState(entries: state.entries(), fault: &fault)
        try require(again == state, "the state does not come back")
        for instance in state.instances where (try? instance.module.applet.check(instance.memory)) != nil {
            try SampleCard.use(instance.memory, of: instance.module)
        }
    }

    private static func changed(_ entries: [String: [UInt8]], _ reader: inout ByteReader) -> [String: [UInt8]] {
        var entries = entries
        let names = entries.keys.sorted()
        while !reader.isEmpty {
            let name = names[reader.below(names.count)]
            switch reader.below(3) {
            case 0: entries[name] = nil
            case 1: entries[name] = reader.longField()
            default:
                guard var value = entries[name], !value.isEmpty else { continue }
                value[Int(reader.word()) % value.count] ^= reader.byte()
                entries[name] = value
            }
        }
        return entries
    }

    /// Commits of the input's making, then one byte changed or the end cut off.
    private static func checkDamage(_ reader: inout ByteReader) throws {
        var journal = Journal.header
        var ends = [journal.count]
        var states: [[String: [UInt8]]] = [[:]]
        let place = Int(reader.word())
        let change = reader.byte()
        for _ in 0..<1 + reader.below(6) {
            var changes: [String: [UInt8]?] = [:]
            for _ in 0..<reader.below(4) {
                let name = "entry \(reader.below(5))"
                changes[name] = reader.byte() & 1 == 0 ? .some(nil) : .some(reader.field())
            }
            journal += Journal.record(changes, sequence: UInt64(states.count))
            ends.append(journal.count)
            states.append(
                (states.last ?? [:]).merging(changes.compactMapValues { $0 }) { $1 }
                    .filter { changes[$0.key] == nil || changes[$0.key] != .some(nil) })
        }
        let last = states.count - 1
        let whole = try Journal.read(journal)
        try require(whole.entries == states[last] && whole.sequence == UInt64(last), "the journal does not come back")

        let position = place % journal.count
        if change == 0 {
            // The end cut off: what stands whole before the cut.
            let count = ends.lastIndex { $0 <= position } ?? 0
            let cut = try? Journal.read(Array(journal[..<position]))
            try require((cut == nil) == (count == 0), "cut at \(position): \(count) records are whole")
            try require(
                cut == nil || cut?.entries == states[count], "cut at \(position): not the state of record \(count)")
        } else {
            journal[position] ^= change
            let read = try? Journal.read(journal)
            let isLast = position >= ends[last - 1] && last > 1
            try require((read != nil) == isLast, "byte \(position) changed, of records that end at \(ends)")
            try require(read == nil || read?.entries == states[last - 1], "byte \(position) changed: another state")
        }
    }
}
