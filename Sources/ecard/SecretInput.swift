import ByteCoding
import Foundation

/// Reads a PIN, a code or a PAN from where it does not show: never from the command line's words.
enum SecretInput {
    /// Longest secret taken, in bytes.
    private static let limit = 256

    /// From an open file descriptor, up to the first newline or its end.
    static func read(descriptor: Int32, what: String) throws -> SecretBytes {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while bytes.count <= limit {
            let count = Foundation.read(descriptor, &byte, 1)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else {
                throw UsageFailure("cannot read \(what) from descriptor \(descriptor): \(String(cString: strerror(errno)))")
            }
            if count == 0 || byte == UInt8(ascii: "\n") { break }
            bytes.append(byte)
        }
        defer { SecretBytes.wipe(&bytes) }
        guard !bytes.isEmpty, bytes.count <= limit else {
            throw UsageFailure("descriptor \(descriptor) gave no usable \(what): one line of 1 to \(limit) characters wanted")
        }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        return SecretBytes(bytes)
    }

    /// From the terminal, without echo.
    static func prompt(_ text: String) throws -> SecretBytes {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC)
        guard terminal >= 0 else {
            throw UsageFailure("no terminal to ask on; give it by a descriptor, as in --code-fd 3 3<file")
        }
        defer { close(terminal) }
        var before = termios()
        guard tcgetattr(terminal, &before) == 0 else { throw UsageFailure("the terminal cannot be set to hide what is typed") }
        var silent = before
        silent.c_lflag &= ~tcflag_t(ECHO)
        _ = text.withCString { write(terminal, $0, strlen($0)) }
        tcsetattr(terminal, TCSAFLUSH, &silent)
        defer {
            tcsetattr(terminal, TCSAFLUSH, &before)
            _ = write(terminal, "\n", 1)
        }
        return try read(descriptor: terminal, what: "answer")
    }
}

extension SecretBytes {
    /// As text, where an interface takes nothing else.
    var exposedText: String { withBytes { String(decoding: $0, as: UTF8.self) } }
}
