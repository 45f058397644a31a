import Glibc
import Synchronization

/// A TCP socket at a port of loopback that nobody else is given, also when it is closed. It does not listen.
struct BoundSocket {
    let descriptor: CInt
    let port: Int

    /// Below the ports that Linux gives to whoever asks for any, 32768 to 60999.
    private static let next = Atomic(Int.random(in: 10_000..<30_000))

    init() throws {
        while true {
            let port = Self.next.add(1, ordering: .relaxed).newValue
            guard port < 32_768 else { throw ServiceChild.Failure(description: "no port below 32768 is free") }
            let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else {
                throw ServiceChild.Failure(description: "no socket: \(String(cString: strerror(errno)))")
            }
            // A child between its fork and its program holds what we have closed: it keeps nobody from the port this way.
            var yes: CInt = 1
            setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout.size(ofValue: yes)))
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            address.sin_addr.s_addr = inet_addr("127.0.0.1")
            let isBound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            if isBound {
                (self.descriptor, self.port) = (descriptor, port)
                return
            }
            close(descriptor)
        }
    }
}
