import Foundation
import Glibc

/// What came back.
struct HTTPAnswer {
    let status: Int
    let text: String
}

/// One kept-alive HTTP/1.1 connection to loopback, blocking: a load that costs little beside what it measures.
final class HTTPConnection {
    private let descriptor: Int32
    private var buffer = [UInt8](repeating: 0, count: 16_384)

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port).bigEndian)
        address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw Floor.Failure(description: "port \(port): \(String(cString: strerror(errno)))") }
    }

    deinit { close(descriptor) }

    func post(
        _ path: String, type: String, authorization: String, headers: [String] = [], body: String
    ) throws -> HTTPAnswer {
        let head =
            [
                "POST \(path) HTTP/1.1", "Host: 127.0.0.1", "Authorization: Bearer \(authorization)",
                "Content-Type: \(type)", "Content-Length: \(body.utf8.count)",
            ] + headers
        try send(Array((head.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8))
        return try receive()
    }

    private func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { throw Floor.Failure(description: "write: \(String(cString: strerror(errno)))") }
            rest = rest.dropFirst(count)
        }
    }

    private func receive() throws -> HTTPAnswer {
        var bytes: [UInt8] = []
        var wanted: Int?
        while wanted.map({ bytes.count < $0 }) ?? true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { throw Floor.Failure(description: "the server closed the connection") }
            bytes += buffer[..<count]
            if wanted == nil { wanted = Self.length(of: bytes) }
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let parts = text.split(separator: " ", maxSplits: 2)
        guard parts.count == 3, let status = Int(parts[1]), let end = text.range(of: "\r\n\r\n") else {
            throw Floor.Failure(description: "no HTTP answer: \(text.prefix(80))")
        }
        return HTTPAnswer(status: status, text: String(text[end.upperBound...]))
    }

    /// Of head and body; `nil` before the head is whole. Our server always says a body's length.
    private static func length(of bytes: [UInt8]) -> Int? {
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n") else { return nil }
        let head = text[..<end.lowerBound]
        let line = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
        let length = line.flatMap { Int($0.dropFirst("content-length:".count).trimmed) } ?? 0
        return head.utf8.count + 4 + length
    }
}

extension Substring {
    fileprivate var trimmed: Substring { drop { $0 == " " } }
}
