import CSQLite
import GRDB
import Glibc
import PaymentPorts

/// The file under the ledger: who may read it, whether it is ours, and how its connections are set.
enum LedgerFile {
    /// Makes sure there is a file that this process may read and write.
    static func prepare(_ path: String, _ schema: Schema, create: Bool) throws {
        if create { try makeFolders(of: path) }
        // The mode at birth: no moment at which others may read it. SQLite gives -wal and -shm the same mode.
        let flags = O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0)
        let descriptor = Glibc.open(path, flags, 0o600)
        guard descriptor >= 0 else { throw failure(path, errno, schema, create: create) }
        Glibc.close(descriptor)
    }

    private static func makeFolders(of path: String) throws {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        for count in parts.indices.map({ $0 + 1 }) {
            let folder = parts.prefix(count).joined(separator: "/")
            if folder.isEmpty || mkdir(folder, 0o700) == 0 || errno == EEXIST || errno == EISDIR { continue }
            // A parent that cannot be written may still be there: only what is missing has to be made.
            if errno == EACCES || errno == EROFS, access(folder, F_OK) == 0 { continue }
            throw StoreError(
                .unavailable, "\(folder): cannot make the folder, \(String(cString: strerror(errno)))",
                advice: "Choose another state folder with ECARD_HOME")
        }
    }

    private static func failure(_ path: String, _ code: Int32, _ schema: Schema, create: Bool) -> StoreError {
        let place = "\(path): \(String(cString: strerror(code)))"
        return switch code {
        case ENOENT where !create: StoreError(.unavailable, place, advice: "Run '\(schema.maker)' to make it")
        case EACCES, EPERM, EROFS:
            StoreError(.unavailable, place, advice: "The file must be readable and writable by this user")
        default: StoreError(.unavailable, place, advice: "Check the file and its folder")
        }
    }

    /// What a database says of itself.
    private struct Heading {
        let application: Int
        let version: Int
        let tables: Int

        var isEmpty: Bool { application == 0 && version == 0 && tables == 0 }

        init(of path: String) throws {
            var configuration = LedgerFile.settings("ledger.heading")
            configuration.busyMode = .timeout(Double(AuditedDatabase.busySeconds))
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            (application, version, tables) = try queue.read { db in
                (
                    try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0,
                    try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0,
                    try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") ?? 0
                )
            }
            try queue.close()
        }
    }

    /// Whether there is a file with something in it: a crash while it was made leaves an empty one.
    static func holdsAnything(_ path: String) throws -> Bool {
        try access(path, F_OK) == 0 && !Heading(of: path).isEmpty
    }

    /// Looks before anything is changed: a file that is not ours, or too new, stays as it was.
    static func inspect(_ path: String, _ schema: Schema, create: Bool) throws {
        let heading = try Heading(of: path)
        if heading.isEmpty {
            guard create else {
                throw StoreError(
                    .unavailable, "\(path): no ledger in it yet", advice: "Run '\(schema.maker)' to make it")
            }
            return
        }
        guard heading.application == schema.applicationID else {
            throw StoreError(
                .unavailable, "\(path): a database of another program", advice: "Choose another state folder")
        }
        guard heading.version <= schema.version else {
            throw StoreError(
                .tooNew, "\(path): version \(heading.version), this program knows up to \(schema.version)",
                advice: "Use the newer ecard")
        }
    }

    /// What every connection begins with.
    private static func settings(_ label: String) -> Configuration {
        _ = keepsNoCount
        var configuration = Configuration()
        configuration.label = label
        return configuration
    }

    /// Once in a process. Where somebody else opened a database before, SQLite goes on counting.
    private static let keepsNoCount = ecard_sqlite_keep_no_count() == SQLITE_OK

    static func open(_ path: String, _ schema: Schema) throws -> DatabasePool {
        var configuration = settings("ledger")
        configuration.busyMode = .timeout(Double(AuditedDatabase.busySeconds))
        configuration.foreignKeysEnabled = true
        configuration.prepareDatabase { db in
            // A hostile file: no functions in its schema, and cells checked before they are used.
            try db.execute(sql: "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")
            // A sealed code that was delivered leaves zeros behind.
            try db.execute(sql: "PRAGMA secure_delete = ON")
        }
        let pool = try DatabasePool(path: path, configuration: configuration)
        try pool.writeWithoutTransaction { db in
            // The pool chose NORMAL, which may lose the last commits when the power goes.
            try db.execute(sql: "PRAGMA synchronous = FULL")
            // What savepoints may have to undo stays in memory, and 64 MiB of pages: both are read at every write.
            try db.execute(
                sql: "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 0")
            try schema.migrate(db)
        }
        return pool
    }

    /// One more connection, for ``GroupReader``.
    static func openForLookups(_ path: String) throws -> DatabaseQueue {
        var configuration = settings("ledger.lookups")
        configuration.busyMode = .timeout(Double(AuditedDatabase.busySeconds))
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA query_only = ON")
        }
        return try DatabaseQueue(path: path, configuration: configuration)
    }

    /// One more connection, for ``Checkpointer``. It waits for nobody.
    static func openBeside(_ path: String) throws -> DatabaseQueue {
        try DatabaseQueue(path: path, configuration: settings("ledger.checkpoint"))
    }

    /// One more connection, for ``WriteProbe``.
    /// - Parameter patience: seconds that it waits for another's transaction.
    static func openForProbe(_ path: String, patience: Double) throws -> DatabaseQueue {
        var configuration = settings("ledger.probe")
        configuration.busyMode = .timeout(patience)
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA trusted_schema = OFF; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")
        }
        return try DatabaseQueue(path: path, configuration: configuration)
    }
}
