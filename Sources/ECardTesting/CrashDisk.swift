import Foundation

/// The states in which a power cut may leave a folder, made from a trace of what was done to it.
///
/// What a completed `fsync` or `fdatasync` of a file covers is there. Of later writes and changes of length any part may
/// be there: none, all, some, or some sectors of 512 bytes. A new, changed or removed name is there for certain once its
/// folder was synced; of later ones each folder keeps the first so many, as the journals of ext4 and XFS keep order
/// (POSIX itself promises nothing of names).
public struct CrashDisk: Sendable {
    /// Which of what was not synced reaches the medium.
    public enum Luck: CaseIterable, Sendable { case nothing, everything, some, sectors }

    /// A folder's content: files by path relative to the folder, folders as `nil`.
    public typealias State = [String: [UInt8]?]

    private enum Change: Sendable {
        case write(at: Int, [UInt8])
        case truncate(to: Int)
    }
    private enum Naming: Sendable {
        case add(String, Int)
        case folder(String)
        case remove(String)
        case rename(String, String)
    }
    private struct Step<What: Sendable>: Sendable {
        let what: What
        /// When it was done, in events.
        let at: Int
        /// When it became durable; `nil`: never.
        var durable: Int?
    }
    private struct Inode: Sendable {
        var before: [UInt8]
        var changes: [Step<Change>] = []
    }

    private let root: String
    private var inodes: [Inode] = []
    private var before: [String: Int?] = [:]
    private var namings: [String: [Step<Naming>]] = [:]

    /// - Parameters:
    ///   - before: what was in the folder when the trace began, all of it durable.
    ///   - honoursSync: whether a sync means anything. A disk that lies loses what was answered, and a harness that does
    ///     not see that sees nothing.
    public init(_ trace: SystemCallTrace, root: String, before: State, honoursSync: Bool = true) {
        self.root = root
        var names: [String: Int?] = [:]
        for (path, bytes) in before {
            var inode: Int?
            if let bytes {
                inode = inodes.count
                inodes.append(Inode(before: bytes))
            }
            names.updateValue(inode, forKey: "\(root)/\(path)")
        }
        names.updateValue(nil, forKey: root)
        self.before = names
        for (index, event) in trace.events.enumerated() {
            apply(event, at: index, &names, honoursSync)
        }
    }

    private static func parent(_ path: String) -> String {
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }

    private mutating func apply(
        _ event: SystemCallTrace.Event, at index: Int, _ names: inout [String: Int?], _ honoursSync: Bool
    ) {
        func name(_ path: String, _ naming: Naming) {
            namings[Self.parent(path), default: []].append(Step(what: naming, at: index))
        }
        switch event {
        case .create(let path):
            inodes.append(Inode(before: []))
            names[path] = inodes.count - 1
            name(path, .add(path, inodes.count - 1))
        case .makeFolder(let path):
            names.updateValue(nil, forKey: path)
            name(path, .folder(path))
        case .link(let old, let new):
            guard let inode = names[old] ?? nil else { return }
            names[new] = inode
            name(new, .add(new, inode))
        case .rename(let old, let new):
            names[new] = names.removeValue(forKey: old)
            name(new, .rename(old, new))
        case .remove(let path):
            names[path] = nil
            name(path, .remove(path))
        case .write(let path, let offset, let bytes):
            guard let inode = names[path] ?? nil else { return }
            inodes[inode].changes.append(Step(what: .write(at: offset, bytes), at: index))
        case .truncate(let path, let length):
            guard let inode = names[path] ?? nil else { return }
            inodes[inode].changes.append(Step(what: .truncate(to: length), at: index))
        case .sync(let path, let began):
            guard honoursSync else { return }
            if let inode = names[path] ?? nil {
                Self.sync(&inodes[inode].changes, began: began, ended: index)
            } else {
                Self.sync(&namings[path, default: []], began: began, ended: index)
            }
        case .answer: return
        }
    }

    private static func sync<What>(_ steps: inout [Step<What>], began: Int, ended: Int) {
        for index in steps.indices where steps[index].durable == nil && steps[index].at < began {
            steps[index].durable = ended
        }
    }

    // MARK: States

    /// What may be on the medium when power goes after the first `point` events.
    public func state(at point: Int, _ luck: Luck, _ generator: inout SeededGenerator) -> State {
        var names = before
        let kept = namings.sorted { $0.key < $1.key }.flatMap { keep($0.value, point, luck, &generator) }
        for step in kept.sorted(by: { $0.at < $1.at }) {
            switch step.what {
            case .add(let path, let inode): names[path] = inode
            case .folder(let path): names.updateValue(nil, forKey: path)
            case .remove(let path): names[path] = nil
            case .rename(let old, let new): if let inode = names.removeValue(forKey: old) { names[new] = inode }
            }
        }
        var state: State = [:]
        for (path, inode) in names.sorted(by: { $0.key < $1.key }) where path != root && isReachable(path, names) {
            state.updateValue(
                inode.map { content(of: inodes[$0], point, luck, &generator) },
                forKey: String(path.dropFirst(root.count + 1)))
        }
        return state
    }

    /// A name in a folder that is gone is gone.
    private func isReachable(_ path: String, _ names: [String: Int?]) -> Bool {
        var folder = Self.parent(path)
        while folder.count > root.count {
            guard names[folder] == .some(nil) else { return false }
            folder = Self.parent(folder)
        }
        return true
    }

    private func keep(
        _ steps: [Step<Naming>], _ point: Int, _ luck: Luck, _ generator: inout SeededGenerator
    ) -> ArraySlice<Step<Naming>> {
        let done = steps.prefix { $0.at < point }
        let durable = (done.lastIndex { $0.durable.map { $0 < point } == true } ?? -1) + 1
        return switch luck {
        case .nothing: done.prefix(durable)
        case .everything: done
        case .some, .sectors: done.prefix(Int.random(in: durable...done.count, using: &generator))
        }
    }

    private func content(
        of inode: Inode, _ point: Int, _ luck: Luck, _ generator: inout SeededGenerator
    ) -> [UInt8] {
        var bytes = inode.before
        for step in inode.changes where step.at < point {
            let isDurable = step.durable.map { $0 < point } ?? false
            switch step.what {
            case .truncate(let length):
                guard isDurable || keeps(luck, &generator) else { continue }
                if length < bytes.count { bytes.removeLast(bytes.count - length) }
                Self.extend(&bytes, to: length)
            case .write(let offset, let data):
                if isDurable || luck == .everything {
                    Self.put(data[...], at: offset, in: &bytes)
                } else if luck == .sectors {
                    var start = 0
                    while start < data.count {
                        let end = min(data.count, (((offset + start) / 512 + 1) * 512) - offset)
                        if Bool.random(using: &generator) {
                            Self.put(data[start..<end], at: offset + start, in: &bytes)
                        }
                        start = end
                    }
                } else if keeps(luck, &generator) {
                    Self.put(data[...], at: offset, in: &bytes)
                }
            }
        }
        return bytes
    }

    private func keeps(_ luck: Luck, _ generator: inout SeededGenerator) -> Bool {
        switch luck {
        case .nothing: false
        case .everything: true
        case .some, .sectors: Bool.random(using: &generator)
        }
    }

    private static func extend(_ bytes: inout [UInt8], to length: Int) {
        if bytes.count < length { bytes += [UInt8](repeating: 0, count: length - bytes.count) }
    }

    private static func put(_ data: ArraySlice<UInt8>, at offset: Int, in bytes: inout [UInt8]) {
        extend(&bytes, to: offset + data.count)
        bytes.replaceSubrange(offset..<offset + data.count, with: data)
    }
}

extension CrashDisk.State {
    /// Reads a folder.
    public init(of folder: String) throws {
        self.init()
        for case let path as String in FileManager.default.enumerator(atPath: folder) ?? .init() {
            var isFolder: ObjCBool = false
            FileManager.default.fileExists(atPath: "\(folder)/\(path)", isDirectory: &isFolder)
            let bytes =
                isFolder.boolValue ? nil : [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(path)")))
            updateValue(bytes, forKey: path)
        }
    }

    /// Makes a folder of it, for its owner alone.
    public func write(to folder: String) throws {
        let private700: [FileAttributeKey: Any] = [.posixPermissions: 0o700]
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: false, attributes: private700)
        for (path, bytes) in sorted(by: { $0.key < $1.key }) {
            if let bytes {
                guard
                    FileManager.default.createFile(
                        atPath: "\(folder)/\(path)", contents: Data(bytes), attributes: [.posixPermissions: 0o600])
                else { throw CocoaError(.fileWriteUnknown) }
            } else {
                try FileManager.default.createDirectory(
                    atPath: "\(folder)/\(path)", withIntermediateDirectories: false, attributes: private700)
            }
        }
    }
}
