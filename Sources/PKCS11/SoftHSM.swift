import Glibc
public import KeyCustody
import Synchronization

/// Where SoftHSM keeps its tokens: a folder of ours instead of the system's.
public enum SoftHSM {
    private static let folder = Mutex<String?>(nil)

    /// Makes SoftHSM keep its tokens under `path` in this process: writes `softhsm2.conf` there, and a folder `tokens`
    /// (mode 0700), and points `SOFTHSM2_CONF` at it. To be called before the module is loaded, since SoftHSM reads its
    /// configuration once. A repeat with the same folder does nothing.
    ///
    /// A token that a crash made unusable in the middle of a login is mended from a copy, kept in the folder `kept`:
    /// to be called while no other process logs in.
    ///
    /// - Throws: ``KeyStoreError`` `.moduleUnusable` when this process has SoftHSM with another folder already, or when
    ///   the folder cannot be written.
    public static func useFolder(_ path: String) throws(KeyStoreError) {
        try folder.withLock { (folder) throws(KeyStoreError) in
            if let folder, Self.absolute(path) == folder { return }
            guard folder == nil, !PKCS11Module.isLoaded(PKCS11Module.softHSMPath) else {
                let used = folder.map { "'\($0)'" } ?? "another configuration"
                throw KeyStoreError(
                    .moduleUnusable, call: "set SoftHSM's folder to '\(path)'",
                    advice: "This process uses SoftHSM with \(used) already, and SoftHSM reads its configuration once: "
                        + "use another process")
            }
            try makeFolder(path)
            try makeFolder(path + "/tokens")
            guard let absolute = Self.absolute(path) else { throw failure("open '\(path)'") }
            let configuration = absolute + "/softhsm2.conf"
            try write(
                """
                directories.tokendir = \(absolute)/tokens
                objectstore.backend = file
                log.level = ERROR
                slots.removable = false

                """, to: configuration)
            try SoftHSMTokenFiles.mend(absolute)
            guard setenv("SOFTHSM2_CONF", configuration, 1) == 0 else { throw failure("set SOFTHSM2_CONF") }
            folder = absolute
        }
    }

    /// Removes tokens whose making broke off, from a folder of ours: those without a user's PIN and without a key. To be
    /// called before the module is loaded, and while no other process makes a token.
    public static func removeUnfinishedTokens(_ path: String) throws(KeyStoreError) {
        try SoftHSMTokenFiles.removeUnfinished(path)
    }

    /// Makes the files of a token in the folder of ours durable, where SoftHSM has one: it syncs nothing itself. What is
    /// sealed under a new key must not outlive it.
    static func syncKeys(of token: TokenInfo) throws(KeyStoreError) {
        if let path = folder.withLock({ $0 }) { try SoftHSMTokenFiles.sync(path, serial: token.serial) }
    }

    /// Without symbolic links; `nil` when there is no such folder.
    private static func absolute(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private static func makeFolder(_ path: String) throws(KeyStoreError) {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw failure("make folder '\(path)'") }
    }

    /// Replaces the file as a whole: another process may be reading it.
    private static func write(_ text: String, to path: String) throws(KeyStoreError) {
        let new = "\(path).\(getpid())"
        let descriptor = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure("write '\(new)'") }
        let bytes = Array(text.utf8)
        let written = Glibc.write(descriptor, bytes, bytes.count)
        guard close(descriptor) == 0, written == bytes.count, rename(new, path) == 0 else {
            throw failure("write '\(path)'")
        }
    }

    static func failure(_ call: String) -> KeyStoreError {
        KeyStoreError(
            .moduleUnusable, call: call, code: String(cString: strerror(errno)),
            advice: "SoftHSM needs a folder that this user may write")
    }
}
