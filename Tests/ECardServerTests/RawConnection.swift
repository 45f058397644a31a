import ECardTesting
import Foundation
import NIOCore
import Testing

/// A socket on which a test writes what no client would.
final class RawConnection: Sendable {
    private let descriptor: Int32

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let connected = try SocketAddress(ipAddress: "127.0.0.1", port: port).withSockAddr { address, length in
            connect(descriptor, address, socklen_t(length))
        }
        try #require(connected == 0, "cannot connect: \(String(cString: strerror(errno)))")
        // A test that waits for what never comes fails rather than hangs.
        var limit = timeval(tv_sec: 240, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// - Returns: whether the other end still takes it.
    @discardableResult
    func write(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return Foundation.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    /// All that comes until the other end closes; `nil` when it does not close.
    func readToEnd() async -> String? { await onOwnThread { self.blockingReadToEnd() } }

    /// What comes until `count` answers have begun.
    func read(answers count: Int) async -> String { await onOwnThread { self.blockingRead(answers: count) } }

    private func blockingReadToEnd() -> String? {
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count == 0 || (count < 0 && errno == ECONNRESET) { return String(decoding: text, as: UTF8.self) }
            guard count > 0 else { return nil }
            text += buffer[..<count]
        }
    }

    private func blockingRead(answers count: Int) -> String {
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while text.components(separatedBy: "HTTP/1.1 ").count <= count {
            let received = recv(descriptor, &buffer, buffer.count, 0)
            guard received > 0 else { break }
            text += String(decoding: buffer[..<received], as: UTF8.self)
        }
        return text
    }
}
