import ByteCoding

/// How the state file is laid out: a header, then one record a commit.
///
///     header   "ECARDCHP" ‖ version (4) ‖ CRC-32 of both (4)
///     record   C0 4D 17 05 ‖ sequence (8) ‖ length (4) ‖ CRC-32 of the payload (4) ‖ CRC-32 of these 20 bytes (4) ‖ payload
///     payload  fields: name, then 01 ‖ value to set it, or 00 to remove it
///
/// Numbers are big-endian. The first record holds every entry; the others what changed.
enum Journal {
    static let magic: [UInt8] = Array("ECARDCHP".utf8)
    static let version: UInt32 = 1
    static let headerLength = 16
    static let recordMarker: [UInt8] = [0xC0, 0x4D, 0x17, 0x05]
    static let recordHeaderLength = 24

    /// What a journal's bytes say.
    struct Contents {
        var entries: [String: [UInt8]] = [:]
        /// The number of the last whole record.
        var sequence: UInt64 = 0
        /// Where the last whole record ends; what lies behind is a write that power loss cut short.
        var validLength = 0
    }

    /// Why a journal cannot be read.
    enum Damage: Error, Equatable {
        case notAChipFile
        case newerVersion(UInt32)
        /// No record is whole.
        case empty
        /// A record is damaged that was once acknowledged, for a whole one lies behind it.
        case record(offset: Int)
        /// A record's payload is whole but is no list of changes.
        case payload(offset: Int)
    }

    static var header: [UInt8] {
        let start = magic + version.bigEndianBytes
        return start + crc32(start).bigEndianBytes
    }

    /// One commit.
    /// - Parameter changes: `nil` removes an entry.
    static func record(_ changes: [String: [UInt8]?], sequence: UInt64) -> [UInt8] {
        var fields: [[UInt8]] = []
        for (name, value) in changes.sorted(by: { $0.key < $1.key }) {
            fields.append(Array(name.utf8))
            fields.append(value.map { [1] + $0 } ?? [0])
        }
        let payload = FieldWriter.write(fields)
        let start =
            recordMarker + sequence.bigEndianBytes + UInt32(payload.count).bigEndianBytes
            + crc32(payload).bigEndianBytes
        return start + crc32(start).bigEndianBytes + payload
    }

    /// Reads all commits.
    ///
    /// A bad record at the end is a commit that was never acknowledged, and is left out. A bad record with a whole one
    /// behind it is damage: leaving it out would turn the chip's counters back.
    static func read(_ bytes: [UInt8]) throws(Damage) -> Contents {
        guard bytes.count >= headerLength, bytes.starts(with: magic),
            UInt32(bigEndian: bytes[12..<16]) == crc32(bytes[0..<12])
        else { throw .notAChipFile }
        let found = UInt32(bigEndian: bytes[8..<12]) ?? 0
        guard found <= version else { throw .newerVersion(found) }
        var contents = Contents()
        contents.validLength = headerLength
        while let record = wholeRecord(in: bytes, at: contents.validLength) {
            guard contents.sequence == 0 || record.sequence == contents.sequence + 1 else {
                throw .record(offset: contents.validLength)
            }
            guard apply(bytes[record.payload], to: &contents.entries) else {
                throw .payload(offset: contents.validLength)
            }
            contents.sequence = record.sequence
            contents.validLength = record.payload.upperBound
        }
        if hasWholeRecord(in: bytes, after: contents.validLength) { throw .record(offset: contents.validLength) }
        guard contents.sequence > 0 else { throw .empty }
        return contents
    }

    private static func wholeRecord(in bytes: [UInt8], at offset: Int) -> (sequence: UInt64, payload: Range<Int>)? {
        let start = offset + recordHeaderLength
        guard start <= bytes.count, bytes[offset..<offset + 4].elementsEqual(recordMarker),
            UInt32(bigEndian: bytes[offset + 20..<start]) == crc32(bytes[offset..<offset + 20]),
            let sequence = UInt64(bigEndian: bytes[offset + 4..<offset + 12]), sequence > 0,
            let length = UInt32(bigEndian: bytes[offset + 12..<offset + 16]), bytes.count - start >= Int(length)
        else { return nil }
        let payload = start..<start + Int(length)
        return UInt32(bigEndian: bytes[offset + 16..<offset + 20]) == crc32(bytes[payload]) ? (sequence, payload) : nil
    }

    private static func hasWholeRecord(in bytes: [UInt8], after offset: Int) -> Bool {
        guard bytes.count - offset > recordHeaderLength else { return false }
        return (offset + 1..<bytes.count - recordHeaderLength + 1).contains { position in
            bytes[position] == recordMarker[0] && wholeRecord(in: bytes, at: position) != nil
        }
    }

    private static func apply(_ payload: ArraySlice<UInt8>, to entries: inout [String: [UInt8]]) -> Bool {
        guard let fields = FieldReader.read(Array(payload)), fields.count % 2 == 0 else { return false }
        for index in stride(from: 0, to: fields.count, by: 2) {
            let value = fields[index + 1]
            guard let name = String(validating: fields[index], as: UTF8.self), let mark = value.first, mark <= 1 else {
                return false
            }
            entries[name] = mark == 1 ? Array(value.dropFirst()) : nil
        }
        return true
    }
}

/// CRC-32 as of ISO/IEC 8802-3 (polynomial 04C11DB7, reflected).
func crc32(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(0xFFFF_FFFF) { crc32Table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
}

private let crc32Table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ value >> 1 : value >> 1 }
}
