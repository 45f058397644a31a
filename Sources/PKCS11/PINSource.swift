public import ByteCoding
import Glibc
public import KeyCustody

/// Where the user PIN comes from. Never an argument of a command: those are seen by every process of the machine.
public enum PINSource: Sendable {
    /// Already in memory.
    case given(SecretBytes)
    /// The first line of a file that only its owner can read (mode 0600 or less).
    case file(String)
    /// The first line that an open file descriptor gives. Read once and left open.
    case descriptor(Int32)
    /// Asked for when it is needed, such as by a prompt without echo.
    case prompt(@Sendable () throws -> SecretBytes)

    /// A PIN longer than this is none: no token takes it, and a wrong file would be read whole.
    static let maximumLength = 255

    /// Gets the PIN.
    ///
    /// - Throws: ``KeyStoreError`` `.pinIncorrect` when there is none, or when the file is open to others.
    public func read() throws(KeyStoreError) -> SecretBytes {
        switch self {
        case .given(let pin): return pin
        case .file(let path): return try Self.readFile(path)
        case .descriptor(let descriptor):
            return try Self.readLine(descriptor, place: "file descriptor \(descriptor)")
        case .prompt(let ask):
            do {
                return try ask()
            } catch let error as KeyStoreError {
                throw error
            } catch {
                throw KeyStoreError(.pinIncorrect, call: "ask for the PIN", advice: "\(error)")
            }
        }
    }

    private static func readFile(_ path: String) throws(KeyStoreError) -> SecretBytes {
        func refused(_ code: String, _ advice: String) -> KeyStoreError {
            KeyStoreError(.pinIncorrect, call: "open PIN file '\(path)'", code: code, advice: advice)
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else {
            throw refused(String(cString: strerror(errno)), "Check the path and who may read it")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw refused("", "It is no regular file")
        }
        guard status.st_mode & 0o077 == 0 else {
            let mode = String(status.st_mode & 0o777, radix: 8)
            throw refused("", "Its mode is \(mode): others can read the PIN. Run: chmod 600 '\(path)'")
        }
        return try readLine(descriptor, place: "PIN file '\(path)'")
    }

    private static func readLine(_ descriptor: Int32, place: String) throws(KeyStoreError) -> SecretBytes {
        var bytes = [UInt8](repeating: 0, count: maximumLength + 2)
        defer { SecretBytes.wipe(&bytes) }
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress?.advanced(by: count), $0.count - count)
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else {
                throw KeyStoreError(.pinIncorrect, call: "read \(place)", code: String(cString: strerror(errno)))
            }
            if got == 0 { break }
            count += got
            if bytes[..<count].contains(UInt8(ascii: "\n")) { break }
        }
        // Positions, not slices: a slice that is still alive would keep an unwiped copy.
        var end = bytes[..<count].firstIndex(of: UInt8(ascii: "\n")) ?? count
        if end > 0, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        guard end > 0, end <= maximumLength else {
            throw KeyStoreError(
                .pinIncorrect, call: "read \(place)", advice: "It must hold the PIN alone, 1 to \(maximumLength) bytes")
        }
        return SecretBytes(bytes[..<end])
    }
}
