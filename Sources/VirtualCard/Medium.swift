import Glibc

/// A step after which power can go.
enum StorageStep: Equatable, Sendable {
    case create
    case write(bytes: Int)
    case sync
    case truncate
    /// The new name is there: rename, or link.
    case rename
    case syncFolder
}

/// What a test does to a step.
enum StorageFate: Equatable, Sendable {
    case proceed
    /// Power goes before the step.
    case cutBefore
    /// Power goes after the step.
    case cutAfter
    /// Of a write, or of what waits for a sync, only the first bytes reach the medium; then power goes.
    case keepFirst(Int)
    /// Of what waits for a sync, the first bytes come out as zeros and the rest as written; then power goes.
    case zeroFirst(Int)
    /// The system refuses the call with this `errno`; power stays.
    case fail(Int32)
}

/// Power loss and failing disks, for tests.
protocol StorageFaults: AnyObject, Sendable {
    func fate(of step: StorageStep) -> StorageFate
}

/// The system calls under a state file, each a place where power can go.
struct Medium {
    let path: String
    let faults: (any StorageFaults)?
    /// A test took the power: nothing may tidy up after that.
    private(set) var isCut = false

    init(path: String, faults: (any StorageFaults)?) {
        self.path = path
        self.faults = faults
    }

    /// Runs one system call that gives -1 on failure.
    @discardableResult
    mutating func step(_ step: StorageStep, _ call: () -> Int32) throws(ChipFileError) -> Int32 {
        try perform(step, faults?.fate(of: step) ?? .proceed, call)
    }

    @discardableResult
    private mutating func perform(
        _ step: StorageStep, _ fate: StorageFate, _ call: () -> Int32
    ) throws(ChipFileError) -> Int32 {
        switch fate {
        case .cutBefore, .keepFirst, .zeroFirst:
            throw cut()
        case .fail(let code):
            throw failure("\(step)", code)
        case .cutAfter:
            _ = call()
            throw cut()
        case .proceed:
            let result = call()
            guard result != -1 else { throw failure("\(step)", errno) }
            return result
        }
    }

    /// Opens the file and locks it; a rename under our hands makes us try again.
    mutating func openLocked() throws(ChipFileError) -> Int32 {
        while true {
            let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
            guard descriptor >= 0 else { throw failure("open", errno) }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                let code = errno
                close(descriptor)
                throw code == EWOULDBLOCK
                    ? ChipFileError(
                        .inUse, path, "another process holds its lock",
                        advice: "Eject the card there first; one chip is in one reader at a time.")
                    : failure("flock", code)
            }
            var ours = stat()
            var named = stat()
            if fstat(descriptor, &ours) == 0, lstat(path, &named) == 0, ours.st_ino == named.st_ino,
                ours.st_dev == named.st_dev
            {
                return descriptor
            }
            unlockAndClose(descriptor)
        }
    }

    mutating func read(_ descriptor: Int32) throws(ChipFileError) -> [UInt8] {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("fstat", errno) }
        var bytes = [UInt8](repeating: 0, count: max(0, Int(status.st_size)))
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                pread(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, done)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure("read", count < 0 ? errno : EIO) }
            done += count
        }
        return bytes
    }

    /// Creates a new file with mode 0600, locks it, writes and syncs.
    /// - Returns: the open descriptor.
    mutating func writeWhole(_ bytes: [UInt8], to name: String) throws(ChipFileError) -> Int32 {
        let descriptor = try step(.create) {
            Glibc.open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode_t(0o600))
        }
        do throws(ChipFileError) {
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw failure("flock", errno) }
            try write(bytes, to: descriptor, at: 0)
            try sync(descriptor, unsyncedFrom: 0)
        } catch {
            unlockAndClose(descriptor)
            if !isCut { unlink(name) }
            throw error
        }
        return descriptor
    }

    mutating func write(_ bytes: [UInt8], to descriptor: Int32, at offset: Int) throws(ChipFileError) {
        let step = StorageStep.write(bytes: bytes.count)
        let fate = faults?.fate(of: step) ?? .proceed
        if case .keepFirst(let count) = fate {
            _ = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, min(count, $0.count), offset) }
            throw cut()
        }
        try perform(step, fate) {
            var done = 0
            while done < bytes.count {
                let count = bytes.withUnsafeBytes { buffer in
                    pwrite(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, offset + done)
                }
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return -1 }
                done += count
            }
            return 0
        }
    }

    mutating func sync(_ descriptor: Int32, unsyncedFrom offset: Int) throws(ChipFileError) {
        let fate = faults?.fate(of: .sync) ?? .proceed
        switch fate {
        case .keepFirst(let count):
            var status = stat()
            if fstat(descriptor, &status) == 0 { ftruncate(descriptor, min(Int(status.st_size), offset + count)) }
            throw cut()
        case .zeroFirst(let count):
            let zeros = [UInt8](repeating: 0, count: count)
            _ = zeros.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, count, offset) }
            throw cut()
        default:
            try perform(.sync, fate) { fdatasync(descriptor) }
        }
    }

    /// Makes names in the file's folder durable.
    mutating func syncFolder() throws(ChipFileError) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open of the folder", errno) }
        defer { close(descriptor) }
        try step(.syncFolder) { fsync(descriptor) }
    }

    private mutating func cut() -> ChipFileError {
        isCut = true
        return ChipFileError(.system, path, "power cut by a test", advice: "Open the chip again.")
    }

    private func failure(_ call: String, _ code: Int32) -> ChipFileError {
        let place = "\(call): \(String(cString: strerror(code)))"
        return switch code {
        case ENOENT: ChipFileError(.missing, path, place, advice: "Check the path, or make a chip there.")
        case EEXIST: ChipFileError(.exists, path, place, advice: "Choose another path; a chip is never overwritten.")
        case ENOSPC, EDQUOT: ChipFileError(.system, path, place, advice: "Free space on its disk.")
        case EACCES, EPERM, EROFS:
            ChipFileError(.system, path, place, advice: "Check the owner and mode of file and folder.")
        default: ChipFileError(.system, path, place, advice: "Check the disk and the folder.")
        }
    }
}

/// To close alone would keep the lock for as long as a child that is being started has its copy of the descriptor: a lock
/// belongs to the open file, not to the process (flock(2)).
func unlockAndClose(_ descriptor: Int32) {
    flock(descriptor, LOCK_UN)
    close(descriptor)
}
