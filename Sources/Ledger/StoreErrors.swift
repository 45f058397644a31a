import GRDB
public import PaymentPorts

extension StoreError {
    /// Another process keeps the file locked: nothing is wrong with it.
    public var isLocked: Bool { kind == .unavailable && advice == Self.lockedAdvice }

    private static let lockedAdvice = "Another process keeps it locked; end that process and try again"
    static let restoreAdvice = "Stop using it, keep a copy, restore the last backup and run 'ecard ledger verify'"

    /// What a failed open means to the person who typed the command.
    init(opening error: any Error, path: String) {
        self =
            StoreError.from(error, path: path) as? StoreError
            ?? StoreError(.unavailable, "\(path): \(error)", advice: "Check the file and its folder")
    }

    /// An SQLite error in the ports' terms; any other error as it is. SQLite's messages name tables and columns, never
    /// the values bound.
    static func from(_ error: any Error, path: String) -> any Error {
        guard let error = error as? DatabaseError else { return error }
        let place = "\(path): SQLite \(error.extendedResultCode.rawValue), \(error.message ?? "no message")"
        return switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: StoreError(.corrupt, place, advice: restoreAdvice)
        case .SQLITE_CONSTRAINT:
            StoreError(
                .conflict, place, advice: "A record with this identifier or key exists, or one it needs does not")
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_CANTOPEN, .SQLITE_AUTH:
            StoreError(
                .unavailable, place, advice: "The file, its -wal and -shm files and its folder must be writable")
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            StoreError(.unavailable, place, advice: lockedAdvice)
        case .SQLITE_FULL: StoreError(.unavailable, place, advice: "Nothing was written; make room on the disk")
        default: StoreError(.unavailable, place, advice: "Nothing was written; check the disk and try again")
        }
    }
}
