public import Foundation

/// A folder of a test's own that goes away with its owner, and everything in it.
public final class TemporaryFolder: Sendable {
    public let path: String

    /// - Throws: the system's refusal.
    public init() throws {
        var template = Array((NSTemporaryDirectory() + "ecard-test-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    public func file(_ name: String) -> String { path + "/" + name }

    /// What is in it, in order.
    public var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path))?.sorted() ?? [] }
}
