import Glibc

/// Recordings as files, which only their owner may read.
extension Recording {
    /// The largest file that is read, in bytes.
    public static let maximumFileSize = 64 << 20

    /// Writes the text form to a new file with mode 0600. A file, link or folder of that name is never touched.
    /// - Throws: ``RecordingError`` with the path and the system's reason; nothing of the file is left then.
    public func write(toNewFile path: String) throws(RecordingError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw RecordingError(
                "cannot create \(path): \(Self.systemError(errno))\(errno == EEXIST ? ". Choose another name" : "")")
        }
        var failure: Int32 = 0
        var text = text
        text.withUTF8 { buffer in
            var rest = UnsafeRawBufferPointer(buffer)
            while failure == 0, let start = rest.baseAddress, rest.count > 0 {
                let count = Glibc.write(descriptor, start, rest.count)
                if count > 0 {
                    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
                } else if errno != EINTR {
                    failure = errno
                }
            }
        }
        if failure == 0, fsync(descriptor) != 0 { failure = errno }
        close(descriptor)
        guard failure == 0 else {
            unlink(path)
            throw RecordingError("cannot write \(path): \(Self.systemError(failure))")
        }
    }

    /// Reads a file of the text form.
    /// - Throws: ``RecordingError`` with the path, and the line that is wrong.
    public init(contentsOfFile path: String) throws(RecordingError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw RecordingError("cannot open \(path): \(Self.systemError(errno))") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count == 0 { break }
            guard count > 0 else {
                if errno == EINTR { continue }
                throw RecordingError("cannot read \(path): \(Self.systemError(errno))")
            }
            bytes += chunk.prefix(count)
            guard bytes.count <= Self.maximumFileSize else {
                throw RecordingError("\(path) is larger than \(Self.maximumFileSize) bytes")
            }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw RecordingError("\(path) is not UTF-8 text")
        }
        do {
            try self.init(text: text)
        } catch {
            throw RecordingError("\(path): \(error.reason)", line: error.line)
        }
    }

    private static func systemError(_ code: Int32) -> String { String(cString: strerror(code)) }
}
