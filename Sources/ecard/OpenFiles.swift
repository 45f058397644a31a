import Foundation
import Logging

/// How many connections the files that this process may open leave room for. Without any left a database, a token or the outbox
/// could not be opened, and payments would fail.
enum OpenFiles {
    /// For databases, tokens, webhooks, messages.
    private static let ownFiles = 256

    /// Raises this process's limit as far as its user may, and leaves some files for what is not a connection.
    static func connections(atMost wanted: Int, _ logger: Logger) -> Int {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return wanted }
        limit.rlim_cur = limit.rlim_max
        // Refused, it stays what it was.
        _ = setrlimit(resource, &limit)
        guard getrlimit(resource, &limit) == 0 else { return wanted }
        let files = Int(clamping: limit.rlim_cur)
        let room = max(files - ownFiles, files / 2)
        guard room < wanted else { return wanted }
        logger.notice(
            "fewer connections at once, as few files may be open (LimitNOFILE)",
            metadata: ["connections": "\(room)", "files": "\(files)"])
        return room
    }
}
