import Glibc
import KeyCustody

/// What SoftHSM does not do for its token files: it syncs none of them, and at each login it empties `token.object` and
/// writes it anew (2.6.1, ObjectFile.cpp). A process killed between the two, or a power cut in the half minute after,
/// leaves a token that nobody can open: the key over all its keys is in that file.
enum SoftHSMTokenFiles {
    /// Puts back the token objects that a crash has cut short, and keeps copies of the whole ones, in `path`/kept; and locks.
    /// To be called before SoftHSM looks, and while no other process logs in.
    static func mend(_ path: String) throws(KeyStoreError) {
        let copies = path + "/kept"
        guard mkdir(copies, 0o700) == 0 || errno == EEXIST else { throw SoftHSM.failure("make folder '\(copies)'") }
        for token in try entries(of: path + "/tokens") {
            let file = "\(path)/tokens/\(token)/token.object"
            let copy = "\(copies)/\(token)"
            guard let bytes = try contents(of: file) else { continue }
            try mendLocks("\(path)/tokens/\(token)")
            let kept = try contents(of: copy)
            if isWhole(bytes) {
                // The first 8 bytes count the writes.
                if kept.map({ $0.dropFirst(8) == bytes.dropFirst(8) }) != true { try replace(copy, by: bytes) }
            } else if let kept, isWhole(kept) {
                try replace(file, by: kept)
            }
        }
    }

    /// Puts back the locks that a crash has lost: without one SoftHSM destroys an object and says that it failed (2.6.1,
    /// OSToken.cpp, deleteObject).
    private static func mendLocks(_ folder: String) throws(KeyStoreError) {
        let files = Set(try entries(of: folder))
        for object in files where object.hasSuffix(".object") {
            let lock = object.dropLast("object".count) + "lock"
            if files.contains(String(lock)) { continue }
            let descriptor = open("\(folder)/\(lock)", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard descriptor >= 0 else { throw SoftHSM.failure("make file '\(folder)/\(lock)'") }
            close(descriptor)
        }
    }

    /// Makes the files of the token with this serial number durable, and their names, up to the folder itself. Other
    /// tokens' files are left to whoever changes them: there may be hundreds of them, and each sync waits for the disk.
    static func sync(_ path: String, serial: String) throws(KeyStoreError) {
        let tokens = path + "/tokens"
        let all = try entries(of: tokens)
        let own = all.filter { Self.serial(ofFolder: $0) == serial }
        for token in own.isEmpty ? all : own {
            let folder = "\(tokens)/\(token)"
            for file in try entries(of: folder) { try sync("\(folder)/\(file)") }
            try sync(folder)
        }
        try sync(tokens)
        try sync(path)
    }

    /// A token's folder is named by a UUID, of which the fourth and fifth groups are its serial number (2.6.1,
    /// ObjectStore.cpp).
    static func serial(ofFolder name: String) -> String { name.split(separator: "-").dropFirst(3).joined() }

    private static func sync(_ path: String) throws(KeyStoreError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        // Another process may just have removed one of its own.
        if descriptor < 0, errno == ENOENT { return }
        guard descriptor >= 0 else { throw SoftHSM.failure("open '\(path)'") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw SoftHSM.failure("sync '\(path)'") }
    }

    /// Removes the tokens that an initialization left without a user's PIN: no key was ever made in one, and SoftHSM
    /// fails on them. One with a key in it is never touched, whatever it looks like. To be called before SoftHSM looks, and
    /// while no other process makes a token.
    static func removeUnfinished(_ path: String) throws(KeyStoreError) {
        for token in try entries(of: path + "/tokens") {
            let folder = "\(path)/tokens/\(token)"
            let attributes = try contents(of: folder + "/token.object").flatMap(attributes)
            let files = try entries(of: folder)
            let hasKeys = files.contains { $0.hasSuffix(".object") && $0 != "token.object" }
            guard attributes?.contains(userPIN) != true, !hasKeys else { continue }
            for file in files { unlink("\(folder)/\(file)") }
            guard rmdir(folder) == 0 else { throw SoftHSM.failure("remove folder '\(folder)'") }
        }
    }

    /// `CKA_OS_USERPIN` (2.6.1, OSAttributes.h): the token's key, sealed by the user's PIN.
    private static let userPIN = 0x8000_534D

    static func isWhole(_ bytes: [UInt8]) -> Bool { attributes(of: bytes)?.isEmpty == false }

    /// The types of a token object's attributes; `nil` when it is cut short or damaged. A count of writes, then
    /// attributes to the end: type, kind, and a value as long as its kind says (ObjectFile.cpp).
    private static func attributes(of bytes: [UInt8]) -> Set<Int>? {
        func number(_ offset: Int) -> Int? {
            guard offset + 8 <= bytes.count, bytes[offset] == 0 else { return nil }
            return bytes[offset..<offset + 8].reduce(0) { $0 << 8 | Int($1) }
        }
        var types: Set<Int> = []
        var offset = 8
        while let type = number(offset), let kind = number(offset + 8) {
            types.insert(type)
            offset += 16
            switch kind {
            case 1: offset += 1
            case 2: offset += 8
            case 3:
                guard let length = number(offset), length <= bytes.count else { return nil }
                offset += 8 + length
            default: return nil
            }
        }
        return offset == bytes.count ? types : nil
    }

    private static func entries(of folder: String) throws(KeyStoreError) -> [String] {
        guard let stream = opendir(folder) else { throw SoftHSM.failure("read folder '\(folder)'") }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// `nil` when there is no such file.
    private static func contents(of path: String) throws(KeyStoreError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw SoftHSM.failure("open '\(path)'")
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SoftHSM.failure("read '\(path)'") }
            guard count > 0 else { return bytes }
            bytes += chunk.prefix(count)
        }
    }

    /// Whole and durable before it has the name.
    private static func replace(_ path: String, by bytes: [UInt8]) throws(KeyStoreError) {
        let new = path + ".new"
        let descriptor = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw SoftHSM.failure("write '\(new)'") }
        let isDurable = write(descriptor, bytes, bytes.count) == bytes.count && fsync(descriptor) == 0
        guard close(descriptor) == 0, isDurable, rename(new, path) == 0 else {
            throw SoftHSM.failure("write '\(path)'")
        }
        let folder = open(
            String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if folder >= 0 { close(folder) } }
        guard folder >= 0, fsync(folder) == 0 else { throw SoftHSM.failure("sync the folder of '\(path)'") }
    }
}
