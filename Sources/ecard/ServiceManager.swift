import Foundation
import Logging

/// The service manager that started this process and waits to be told how it goes, as systemd does (sd_notify(3)): a datagram
/// to the socket that `NOTIFY_SOCKET` names. Without one nobody asks, and nothing is told.
enum ServiceManager {
    enum News: String {
        /// The port listens.
        case ready = "READY=1"
        /// What has begun is finished, and nothing new is begun.
        case stopping = "STOPPING=1"
    }

    /// Tells it. What cannot be told is logged: the service goes on, and its manager may give it up for slow.
    static func tell(_ news: News, _ logger: Logger) {
        guard let socket = ProcessInfo.processInfo.environment["NOTIFY_SOCKET"], !socket.isEmpty else { return }
        do {
            try send(news.rawValue, to: socket)
        } catch {
            logger.warning(
                "the service manager was not told", metadata: ["news": "\(news.rawValue)", "error": "\(error)"])
        }
    }

    private static func send(_ text: String, to name: String) throws {
        // '@' stands for the NUL that an abstract address begins with (unix(7)).
        let path: [UInt8] = name.hasPrefix("@") ? [0] + Array(name.utf8.dropFirst()) : Array(name.utf8)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard name.hasPrefix("@") || name.hasPrefix("/"), path.count < room else {
            throw EnvironmentFailure("NOTIFY_SOCKET is no address of a socket: \(name)")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let length = socklen_t(MemoryLayout<sockaddr_un>.size - room + path.count)
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw failure(name) }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        let sent = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, bytes, bytes.count, 0, $0, length)
            }
        }
        guard sent == bytes.count else { throw failure(name) }
    }

    private static func failure(_ name: String) -> EnvironmentFailure {
        EnvironmentFailure("\(name): \(String(cString: strerror(errno)))")
    }
}
