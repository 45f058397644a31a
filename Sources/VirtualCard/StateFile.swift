import ByteCoding
import Glibc

/// The chip's non-volatile memory: one file, one owner at a time, every commit whole and durable or not there at all.
///
/// A commit is one append and one fdatasync. Now and then, and whenever a secret was destroyed, the file is written
/// anew beside the old one and renamed over it, so that no old record keeps the secret.
final class StateFile {
    /// A file longer than this is written anew at the next commit.
    static let compactionLength = 1 << 18

    let path: String
    private var descriptor: Int32
    private var sequence: UInt64
    private var length: Int
    private let faults: (any StorageFaults)?
    /// After a failed sync nobody knows what the medium holds: nothing is written until the file is opened again.
    private var isUncertain = false

    private init(path: String, descriptor: Int32, sequence: UInt64, length: Int, faults: (any StorageFaults)?) {
        self.path = path
        self.descriptor = descriptor
        self.sequence = sequence
        self.length = length
        self.faults = faults
    }

    deinit { unlockAndClose(descriptor) }

    /// Whether the journal has grown enough to be written anew.
    var isLong: Bool { length > StateFile.compactionLength }

    /// Makes a file that did not exist, mode 0600, with these entries; it appears whole or not at all.
    static func create(
        at path: String, entries: [String: [UInt8]], faults: (any StorageFaults)? = nil
    ) throws(ChipFileError) -> StateFile {
        // A name of its own: what an earlier attempt left behind is nobody's obstacle.
        let temporary = "\(path).\(String(UInt64.random(in: 0...UInt64.max), radix: 36)).new"
        var bytes = Journal.header + Journal.record(entries.mapValues { $0 }, sequence: 1)
        defer { SecretBytes.wipe(&bytes) }
        var medium = Medium(path: path, faults: faults)
        let descriptor = try medium.writeWhole(bytes, to: temporary)
        do throws(ChipFileError) {
            // link, unlike rename, refuses to replace.
            try medium.step(.rename) { link(temporary, path) }
            unlink(temporary)
            try medium.syncFolder()
        } catch {
            unlockAndClose(descriptor)
            if !medium.isCut { unlink(temporary) }
            throw error
        }
        return StateFile(path: path, descriptor: descriptor, sequence: 1, length: bytes.count, faults: faults)
    }

    /// Opens a file and takes its lock.
    static func open(
        _ path: String, faults: (any StorageFaults)? = nil
    ) throws(ChipFileError) -> (StateFile, [String: [UInt8]]) {
        var medium = Medium(path: path, faults: faults)
        let descriptor = try medium.openLocked()
        do throws(ChipFileError) {
            var bytes = try medium.read(descriptor)
            defer { SecretBytes.wipe(&bytes) }
            let contents: Journal.Contents
            do throws(Journal.Damage) {
                contents = try Journal.read(bytes)
            } catch {
                throw error.chipFileError(path: path)
            }
            if contents.validLength < bytes.count {
                try medium.step(.truncate) { ftruncate(descriptor, contents.validLength) }
                try medium.step(.sync) { fdatasync(descriptor) }
            }
            let file = StateFile(
                path: path, descriptor: descriptor, sequence: contents.sequence, length: contents.validLength,
                faults: faults)
            return (file, contents.entries)
        } catch {
            unlockAndClose(descriptor)
            throw error
        }
    }

    /// Makes changes durable by appending them.
    func append(_ changes: [String: [UInt8]?]) throws(ChipFileError) {
        try refuseIfUncertain()
        var record = Journal.record(changes, sequence: sequence + 1)
        defer { SecretBytes.wipe(&record) }
        var medium = Medium(path: path, faults: faults)
        isUncertain = true
        do throws(ChipFileError) {
            try medium.write(record, to: descriptor, at: length)
        } catch {
            // A full disk: take the piece back, and the file is as before.
            isUncertain = medium.isCut || ftruncate(descriptor, length) != 0
            throw error
        }
        try medium.sync(descriptor, unsyncedFrom: length)
        isUncertain = false
        sequence += 1
        length += record.count
    }

    /// Makes all entries durable in a new file that takes the old one's place.
    func rewrite(_ entries: [String: [UInt8]]) throws(ChipFileError) {
        try refuseIfUncertain()
        var bytes = Journal.header + Journal.record(entries.mapValues { $0 }, sequence: sequence + 1)
        defer { SecretBytes.wipe(&bytes) }
        let temporary = path + ".tmp"
        var medium = Medium(path: path, faults: faults)
        unlink(temporary)
        let fresh = try medium.writeWhole(bytes, to: temporary)
        do throws(ChipFileError) {
            try medium.step(.rename) { rename(temporary, path) }
        } catch {
            unlockAndClose(fresh)
            isUncertain = medium.isCut
            if !medium.isCut { unlink(temporary) }
            throw error
        }
        unlockAndClose(descriptor)
        descriptor = fresh
        sequence += 1
        length = bytes.count
        isUncertain = true
        try medium.syncFolder()
        isUncertain = false
    }

    private func refuseIfUncertain() throws(ChipFileError) {
        guard !isUncertain else {
            throw ChipFileError(
                .system, path, "an earlier write failed",
                advice: "Free space or mend the disk, then open the chip again.")
        }
    }
}

extension Journal.Damage {
    func chipFileError(path: String) -> ChipFileError {
        let restore = "Restore the file from a copy made while the chip was out of the reader, or make a new chip."
        return switch self {
        case .notAChipFile:
            ChipFileError(
                .notAChip, path, "its first 16 bytes are no chip header", advice: "Name a file that a chip was made in."
            )
        case .newerVersion(let version):
            ChipFileError(
                .newerVersion, path, "version \(version), this software knows \(Journal.version)",
                advice: "Update this software.")
        case .empty: ChipFileError(.corrupt, path, "no whole record at byte \(Journal.headerLength)", advice: restore)
        case .record(let offset): ChipFileError(.corrupt, path, "record at byte \(offset)", advice: restore)
        case .payload(let offset):
            ChipFileError(.corrupt, path, "content of the record at byte \(offset)", advice: restore)
        }
    }
}
