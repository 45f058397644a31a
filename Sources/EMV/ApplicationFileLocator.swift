import ByteCoding

/// Application file locator (AFL), tag 94: which records of which files hold the application's data (EMV 4.4 Book 3,
/// 10.2).
public struct ApplicationFileLocator: Hashable, Sendable {
    public struct Entry: Hashable, Sendable {
        /// Short file identifier, 1 to 30.
        public let file: UInt8
        /// First and last record, from 1.
        public let records: ClosedRange<UInt8>
        /// How many of them, from the first, offline data authentication signs.
        public let signed: UInt8
    }

    public let entries: [Entry]

    /// More records than this are refused: at 250 bytes each they would fill 128 KB, beyond any card, and a card that
    /// only claims to have them would hold its terminal up for minutes.
    static let recordLimit = 512

    /// - Throws: ``ApplicationFileLocatorError`` with the entry that is wrong.
    public init(_ bytes: [UInt8]) throws(ApplicationFileLocatorError) {
        guard !bytes.isEmpty, bytes.count % 4 == 0 else {
            throw ApplicationFileLocatorError("\(bytes.count) bytes, a multiple of 4 and more than none wanted")
        }
        var entries: [Entry] = []
        for offset in stride(from: 0, to: bytes.count, by: 4) {
            let (file, first, last, signed) = (
                bytes[offset] >> 3, bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]
            )
            let place = "entry \(offset / 4 + 1) (\(Array(bytes[offset..<offset + 4]).hex))"
            guard (1...30).contains(file), bytes[offset] & 0x07 == 0 else {
                throw ApplicationFileLocatorError("\(place): \(file) is no short file identifier, 1 to 30 wanted")
            }
            guard first >= 1, first <= last else {
                throw ApplicationFileLocatorError("\(place): records \(first) to \(last)")
            }
            guard Int(signed) <= Int(last) - Int(first) + 1 else {
                throw ApplicationFileLocatorError("\(place): \(signed) signed records of \(Int(last) - Int(first) + 1)")
            }
            entries.append(Entry(file: file, records: first...last, signed: signed))
        }
        let count = entries.reduce(0) { $0 + $1.records.count }
        guard count <= Self.recordLimit else {
            throw ApplicationFileLocatorError("\(count) records, at most \(Self.recordLimit) are read")
        }
        self.entries = entries
    }
}

/// What is wrong with an AFL.
public struct ApplicationFileLocatorError: Error, Hashable, Sendable, CustomStringConvertible {
    public let reason: String
    init(_ reason: String) { self.reason = reason }
    public var description: String { "the application file locator is malformed: \(reason)" }
}
